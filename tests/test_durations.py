"""The table of the slowest files at the end of a run of the tests."""

import pytest

from tests.support.durations import by_file, slowest_files


def report(test: str, when: str, seconds: float) -> pytest.TestReport:
    return pytest.TestReport(test, (test, None, test), {}, "passed", None, when, duration=seconds)


def test_every_phase_counts_and_the_slowest_come_first():
    parts = [
        ("a.py::x", "setup", 4.0),
        ("a.py::x", "call", 2.5),
        ("b.py::y[1::2]", "call", 7.0),
        ("c.py::z", "call", 1),
    ]
    seconds = by_file(report(*part) for part in parts)
    assert seconds == {"a.py": 6.5, "b.py": 7.0, "c.py": 1.0}
    assert slowest_files(seconds) == ["    7.0 s  b.py", "    6.5 s  a.py", "   14.5 s  all 3 files"]
    assert slowest_files(seconds, most=1) == ["    7.0 s  b.py", "   14.5 s  all 3 files"]
    assert slowest_files(seconds, least=8.0) == []

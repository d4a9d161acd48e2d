"""The files that a run of the tests spent its time in, so that their growth is seen."""

from collections import Counter
from collections.abc import Iterable

import pytest


def by_file(reports: Iterable[pytest.TestReport]) -> Counter[str]:
    """Seconds of each file: setup, call and teardown of its tests."""
    seconds: Counter[str] = Counter()
    for report in reports:
        seconds[report.nodeid.partition("::")[0]] += report.duration
    return seconds


def slowest_files(seconds: Counter[str], most: int = 12, least: float = 5.0) -> list[str]:
    """A line for each of at most `most` files that took `least` seconds or more, the slowest first, and their sum."""
    lines = [f"{took:7.1f} s  {name}" for name, took in seconds.most_common(most) if took >= least]
    return [*lines, f"{seconds.total():7.1f} s  all {len(seconds)} files"] if lines else []

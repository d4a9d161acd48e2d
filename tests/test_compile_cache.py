"""Compiled programs that one run of the tests keeps for the next."""

import os

from tests.support.compile_cache import drop_unread


def test_what_nobody_read_for_long_is_dropped(tmp_path):
    for name, read in (("old", 1_000), ("new", 3_000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (read, 500))
    drop_unread(tmp_path, 2_000)
    assert [file.name for file in tmp_path.iterdir()] == ["new"]
    drop_unread(tmp_path / "none", 2_000)

"""A manifest of three rows beside its images."""

from pathlib import Path

import pytest

HEADER = "image,lot,supplier,product,line,machine,time,shift"
LINES = (
    "a.png,L1,North,coil,1,M7,2026-11-21T08:30Z,early",
    "sub/b.png,L1,North,coil,1,M7,2026-11-21T09:30:00+01:00,early",
    "c.png,L2,South,coil,2,M8,,late",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.png", "c.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def write(root: Path, lines=LINES, header=HEADER) -> Path:
    file = root / "lots.csv"
    file.write_text("\n".join([header, *lines]) + "\n")
    return file

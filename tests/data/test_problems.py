"""Names as text: which characters are escaped, and which belong to a name."""

import pytest

from jaxqc.data.problems import one_line, printable, seen_alike

SPACES = "\u00a0\u1680\u2002\u2009\u202f\u205f\u3000"


@pytest.mark.parametrize("kept", [*SPACES, "\u200c", "\u200d", "\u00ad", "\ue000", "外", "é", "👩\u200d🔧"])
def test_what_belongs_to_a_name_is_not_escaped(kept: str) -> None:
    assert printable(f"a{kept}b") == one_line(f"a{kept}b") == f"a{kept}b"


@pytest.mark.parametrize("bad", ["\n", "\t", "\0", "\x1b", "\x85", "\u2028", "\udcff", "\u202e"])
def test_what_would_spoil_a_line_is_escaped(bad: str) -> None:
    shown = printable(f"a{bad}b")
    assert shown.isascii()
    assert shown.startswith("a\\")
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["L 7", "L\n7", " L\r\n 7", "L\t7\ufeff", "\u3000L\u20287\u200b"])
def test_a_broken_line_is_one_name(text: str) -> None:
    assert one_line(text) == "L 7"


@pytest.mark.parametrize("space", SPACES)
def test_names_that_look_alike(space: str) -> None:
    assert seen_alike(f"L{space}{space}7\u200d") == "L 7"
    assert seen_alike("Gro\u0308\u00dfe") == "Gr\u00f6\u00dfe"
    assert one_line(f"{space}L7{space}") == "L7"

"""Pieces: worst views against a plain model over sets, the rule on file names, people's word before the model's."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.pieces import NOBODY, pieces_of
from jaxqc.inspection.findings import VERDICTS
from jaxqc.inspection.manifest import Delivery, Item
from jaxqc.inspection.piece_rule import piece_count, with_pieces

view = st.tuples(
    st.integers(0, 3), st.sampled_from(range(3)), st.sampled_from((NOBODY, 0, 2)), st.sampled_from((0.0, 0.1, 0.4))
)


@settings(max_examples=60, deadline=None)
@given(st.lists(view, min_size=1, max_size=8), st.data())
def test_a_piece_is_its_worst_view_as_people_see_it(views, data):
    numbers = {piece: i for i, piece in enumerate(dict.fromkeys(piece for piece, *_ in views))}
    image = np.arange(len(views))
    shown = np.array([numbers[piece] for piece, *_ in views])
    # One picture may stand for a second piece.
    again = data.draw(st.lists(st.tuples(st.sampled_from(image.tolist()), st.sampled_from(sorted(numbers.values())))))
    image, shown = np.append(image, [i for i, _ in again]).astype(int), np.append(shown, [p for _, p in again])
    model, people, q = (np.array([v[k] for v in views]) for k in (1, 2, 3))
    found = pieces_of(image, shown.astype(int), model, people, q, reject=0.2)
    for piece in numbers.values():
        own = {i for i, p in zip(image.tolist(), shown.tolist(), strict=True) if p == piece}
        last = {i: views[i][1] if views[i][2] == NOBODY else views[i][2] for i in own}
        said = [views[i][2] for i in own]
        severities = {NOBODY: lambda s: s, 0: lambda s: 0.0, 2: lambda s: max(s, 0.2)}
        assert found.verdicts[piece] == VERDICTS[max(last.values())]
        assert found.severities[piece] == max(severities[views[i][2]](views[i][3]) for i in own)
        assert found.called[piece] == any(views[i][1] for i in own)
        assert found.judged[piece] == (2 in said or NOBODY not in said)


def delivery(*names, **pieces):
    items = (Item(Path("in") / name, name, name.partition("/")[0], piece=pieces.get(Path(name).stem, ""))
             for name in names)  # fmt: skip
    return Delivery("in", tuple(items))


@pytest.mark.parametrize(
    ("rule", "pieces"),
    [
        (r"^(\d+)_", ["17", "17", "18"]),
        (r"^\d+", ["17", "17", "18"]),  # without a group, all of the match
        (r"[^/]+/", ["A/", "A/", "B/"]),  # with a / the path
        (r"(\d)(\d)_", ["1", "1", "1"]),
        (r"(\d+)_top|_side", ["17", "", "18"]),  # a group without a part in the match is no id
    ],
)
def test_a_rule_on_file_names_gives_the_pieces(rule, pieces):
    found = with_pieces(delivery("A/17_top.png", "A/17_side.png", "B/18_top.png"), rule)
    assert [item.piece for item in found.items] == pieces
    assert [p.kind for p in found.problems] == ["no-piece"] * ("" in pieces)


def test_the_manifest_s_piece_stays_and_what_does_not_match_is_named():
    found = with_pieces(delivery("A/17_top.png", "A/x.png", "A/y.png", y="9"), r"^(\d+)_")
    assert [item.piece for item in found.items] == ["17", "", "9"]
    (problem,) = found.problems
    assert "1 of 3 file names does not match and is a piece of its own, such as 'A/x.png'" in problem.message
    assert piece_count(found.items) == "3 images show 3 pieces"
    assert piece_count(delivery("A/1.png").items) == ""


@pytest.mark.parametrize(
    ("rule", "message"),
    [("(", r"--piece: '\(' is no regular expression \(missing \)"), ("Q", r"'Q' matches none of the 2 file names")],
)
def test_a_rule_that_cannot_be_meant_is_an_error(rule, message):
    with pytest.raises(UserError, match=message):
        with_pieces(delivery("A/1.png", "A/2.png"), rule)

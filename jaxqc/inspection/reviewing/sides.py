"""Whole lots on one side of a split: which of them are held out, and which pictures belong together."""

from collections.abc import Iterable, Mapping, Sequence

from jaxqc.data.problems import one_line, printable
from jaxqc.data.splits import rank
from jaxqc.errors import UserError

SIDES = ("train", "test")


def groups_of(lots: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The group of each picture: its lot; lots that share a picture are one group, named after the first of them.

    Args:
      lots: names of the lots of each picture, by SHA-256; a picture without a lot is a group of its own.

    Examples:
      >>> groups_of({"a": ["L-1"], "b": ["L-2", "L-1"], "c": ["L-3"], "d": []})
      {'a': 'lot L-1', 'b': 'lot L-1', 'c': 'lot L-3', 'd': 'picture d'}
    """
    above: dict[str, str] = {}

    def first(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = name = above[above[name]]
        return name

    keys = {sha256: [f"lot {printable(one_line(lot))}" for lot in own] or [f"picture {sha256[:16]}"]
            for sha256, own in lots.items()}  # fmt: skip
    for own in keys.values():
        for name in own[1:]:
            one, other = sorted((first(own[0]), first(name)))
            above[other] = one
    return {sha256: first(own[0]) for sha256, own in keys.items()}


def held_out(groups: Mapping[str, frozenset[str]], share: float, seed: int = 0) -> frozenset[str]:
    """The groups that are kept from learning, about this share of them.

    A group's side follows from its name and the seed alone, so it stays there when other groups come. Where one side
    would lack good or defective pictures though two groups have them, the nearest group changes sides.

    Args:
      groups: of each its kinds of picture, `good` and `defective`. share: 0 holds none out.

    Raises:
      UserError: a share outside [0, 1), or one group alone.

    Examples:
      >>> lots = {f"lot {i}": frozenset({"good"} if i else {"good", "defective"}) for i in range(10)}
      >>> sorted(held_out(lots, 0.3))
      ['lot 3', 'lot 6']
      >>> held_out({f"lot {i}": frozenset({"good"}) for i in range(2)}, 0.001)
      frozenset({'lot 1'})
    """
    if not 0 <= share < 1:
        raise UserError(f"--held-out: {share:g} must be from 0 to below 1")
    if not share:
        return frozenset()
    if len(groups) < 2:
        only = "".join(f" ({printable(name)})" for name in groups)
        raise UserError(f"--held-out: {len(groups)} group of pictures{only}, and it cannot be on both sides; judge"
                        " pictures of another lot, or give --held-out 0")  # fmt: skip
    places = {name: int.from_bytes(rank(seed, name)[:8], "big") / 2**64 for name in groups}
    ranked = sorted(groups, key=lambda name: (places[name], name))
    held = {name for name in ranked if places[name] < share}
    for kind in ("good", "defective"):
        own = [name for name in ranked if kind in groups[name]]
        if len(own) < 2:  # one group of good ones is learned from, and one of defects stays where it is
            held -= set(own) if kind == "good" else set()
        elif not held & set(own):
            held |= {next((name for name in own if _left(groups, held | {name}, "good")), own[0])}
        elif held >= set(own):
            held -= {own[-1]}
    return frozenset(held)


def _left(groups: Mapping[str, frozenset[str]], held: Iterable[str], kind: str) -> bool:
    """True where pictures of this kind stay on the other side."""
    return any(kind in kinds for name, kinds in groups.items() if name not in set(held))

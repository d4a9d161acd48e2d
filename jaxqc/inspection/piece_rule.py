"""Pieces by a rule on file names, for deliveries whose manifest has no column `piece`."""

import re
from dataclasses import replace

from jaxqc.data.problems import Problem, one_line, printable
from jaxqc.errors import UserError
from jaxqc.inspection.manifest import Delivery, Item

NAMED = 3
"""Files of a line that are named."""


def with_pieces(delivery: Delivery, rule: str) -> Delivery:
    """The delivery with the piece that each image shows.

    The rule is a regular expression, looked for in the file's name; one with a "/" in it, in the path as the delivery
    gives it. Its first group, or all that it matches where it has none, is the piece's id within its lot. A piece that
    the manifest names stays. Images that do not match are pieces of their own, and one warning names them.

    Raises:
      UserError: no regular expression, or one that matches no image.

    Examples:
      >>> from pathlib import Path
      >>> names = ("A/17_top.png", "A/17_side.png", "A/extra.png")
      >>> images = Delivery("A", tuple(Item(Path(name), name, "A") for name in names))
      >>> found = with_pieces(images, r"^(\\d+)_")
      >>> [item.piece for item in found.items]
      ['17', '17', '']
      >>> found.problems[0].message
      "--piece: 1 of 3 file names does not match and is a piece of its own, such as 'A/extra.png'"
    """
    pattern = pattern_of(rule)
    items = tuple(item if item.piece else replace(item, piece=_piece(item, pattern)) for item in delivery.items)
    alone = [item.id for item in items if not item.piece]
    if not alone:
        return replace(delivery, items=items)
    names = ", ".join(f"'{printable(name)}'" for name in alone[:NAMED])
    if len(alone) == len(items):
        raise UserError(f"--piece: {printable(rule)!r} matches none of the {len(items)} file names, such as {names}")
    verbs = "does not match and is a piece of its" if len(alone) == 1 else "do not match and are pieces of their"
    message = f"--piece: {len(alone)} of {len(items)} file names {verbs} own, such as {names}"
    return replace(delivery, items=items, problems=(*delivery.problems, Problem(delivery.name, "no-piece", message,
                                                                                "warning")))  # fmt: skip


def pattern_of(rule: str) -> re.Pattern[str]:
    """The rule as a pattern. Raises UserError where it is no regular expression."""
    try:
        return re.compile(rule)
    except re.error as e:
        message = f"--piece: {printable(rule)!r} is no regular expression ({e})"
        raise UserError(f"{message}; such as '^([^_]+)_' for 17_top.png and 17_side.png") from e


def piece_count(items: tuple[Item, ...]) -> str:
    """A line on how many pieces the images show; "" where each image is one.

    Examples:
      >>> from pathlib import Path
      >>> piece_count(tuple(Item(Path(name), name, "A", piece="17") for name in ("top.png", "side.png")))
      '2 images show 1 piece'
    """
    named = {(item.lot, item.piece) for item in items if item.piece}
    if not named:
        return ""
    pieces = len(named) + sum(not item.piece for item in items)
    return f"{len(items)} images show {pieces} piece{'s' if pieces > 1 else ''}"


def _piece(item: Item, pattern: re.Pattern[str]) -> str:
    found = pattern.search(item.id if "/" in pattern.pattern else item.image.name)
    return printable(one_line(found[min(1, pattern.groups)] or "")) if found else ""

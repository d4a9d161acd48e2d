"""Pictures shown to a person one by one in a terminal, each answer kept at once."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from jaxqc.data.problems import one_line, printable
from jaxqc.inspection.ledger.reviews import Review
from jaxqc.inspection.reviewing.waiting import Picture

QUESTION = "p(ass), r(eject) [CLASS] [# NOTE], s(kip), u(ndo), q(uit): "


def ask_each(
    waiting: Sequence[Picture],
    ask: Callable[[str], str],
    keep: Callable[[Review], object],
    show: Callable[[str], object],
    person: str = "",
) -> tuple[int, int]:
    """Asks for a verdict on each picture, in their order, until the last or `q`; the end of the input is a `q`.

    `u` takes the last verdict back, by an event of its own, and asks for that picture again.

    Args:
      ask: takes the question, gives the answer. keep: takes each verdict, before the next question.
      show: takes lines to print. person: who answers.

    Returns:
      How many pictures have a verdict of this call, and how many were skipped.

    Examples:
      >>> answers, kept = iter(["r crack # at the edge", "p"]), []
      >>> row = [Picture(name, "", "review", 1.0, 0.1, 1, {}) for name in "ab"]
      >>> ask_each(row, lambda question: next(answers), kept.append, lambda line: None)
      (2, 0)
      >>> kept[0].verdict, kept[0].class_name, kept[0].note, kept[1].verdict
      ('reject', 'crack', 'at the edge', 'pass')
    """
    said: dict[int, Review] = {}
    order: list[int] = []
    skipped: set[int] = set()
    at = 0
    while at < len(waiting):
        show(f"{at + 1} of {len(waiting)}, {len(said)} reviewed")
        for line in described(waiting[at]):
            show(line)
        try:
            answer, _, note = ask(QUESTION).partition("#")
        except EOFError:
            show("")  # the question's line is still open
            break
        word, _, name = answer.strip().partition(" ")
        word, name, note = word.lower(), one_line(name), one_line(note)
        if word in ("p", "pass", "r", "reject"):
            verdict = "pass" if word[0] == "p" else "reject"
            if name and verdict == "pass":
                show(f"a class ({printable(name)}) goes with reject; nothing was kept")
                continue
            said[at] = Review(waiting[at].sha256, verdict, name, person, note)
            keep(said[at])
            order.append(at)
            at += 1
        elif word in ("u", "undo"):
            if not order:
                show("nothing to undo")
                continue
            at = order.pop()
            keep(replace(said.pop(at), verdict="undone", class_name="", note=""))
            show("taken back:")
        elif word in ("s", "skip"):
            skipped.add(at)
            at += 1
        elif word in ("q", "quit"):
            break
        else:
            show(f"{printable(word)!r} is none of the answers" if word else "no answer")
    return len(said), len(skipped - set(said))


def described(picture: Picture) -> list[str]:
    """Lines on a picture: its lot and file, the model's verdict, its defects."""
    place = f"lot {', '.join(map(printable, picture.lots)) or '(none)'}"
    place += f", piece {printable(picture.piece)}" if picture.piece else ""
    place += f", supplier {printable(picture.supplier)}" if picture.supplier else ""
    classes = ", ".join(f"{printable(name)} {n}" for name, n in sorted(picture.composition.items()))
    found = f"{picture.count} defect{'s' * (picture.count != 1)}" + (f" ({classes})" if classes else "")
    seen = f"{picture.verdict} by the model: score {picture.score:.4g}, severity {picture.severity:.3f}, {found}"
    return [place, printable(picture.path or picture.image), seen]

"""A data set of what people confirmed and corrected: images, masks, classes, and lots that no split divides.

The folder has the layout `index`: index.csv, images/ and masks/. left_out.csv names each judged picture that is not in
it, with the reason, and export.json has the counts.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxqc.data.decode import read_bytes
from jaxqc.data.normals import NORMAL, means_normal
from jaxqc.data.problems import one_line, printable
from jaxqc.data.readers.index_csv import FILE
from jaxqc.data.readers.matching import DEFECT
from jaxqc.data.tables.write import write_table
from jaxqc.data.whole_folder import whole_folder
from jaxqc.errors import UserError
from jaxqc.inspection.ledger.masks import png_of
from jaxqc.inspection.ledger.pictures import Place, places_on, verdicts_of_models
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.ledger.truths import Truth, truths
from jaxqc.inspection.reviewing.sides import SIDES, groups_of, held_out
from jaxqc.progress import Progress

HELD_OUT = 0.3
"""Share of the lots that is kept from learning by default."""
COLUMNS = ("id", "cls", "image", "mask", "split", "group", "product", "lots", "supplier", "reviewed", "model_said")
LEFT_OUT, COUNTS = "left_out.csv", "export.json"
REASONS = {
    "withdrawn": "the verdict was taken back",
    "no-mask": "rejected, and nobody marked the defect",
    "missing-file": "the picture's file is gone",
    "changed-bytes": "the picture's file is another one now",
}
"""Reasons for which a judged picture is not in the data set."""
LOST = ("missing-file", "changed-bytes")
"""Reasons that nobody intended."""


@dataclass(frozen=True)
class Exported:
    """The counts of an export: `used + sum(left_out.values()) == judged`."""

    judged: int
    """Pictures on which people said something."""
    good: int
    overturned: int
    """Those of the good ones that the model had called."""
    defective: int
    masks: int
    """Those of the defective ones whose defect people marked."""
    classes: Mapping[str, int]
    """Defective pictures by class."""
    left_out: Mapping[str, int]
    """Pictures that are not in the data set, by reason (`REASONS`)."""
    sides: Mapping[str, Mapping[str, int]]
    """Groups, good and defective pictures of each split."""

    @property
    def used(self) -> int:
        """Pictures in the data set."""
        return self.good + self.defective

    @property
    def lost(self) -> int:
        """Pictures that could not be read again."""
        return sum(self.left_out.get(reason, 0) for reason in LOST)

    def lines(self) -> tuple[str, ...]:
        """Lines for people."""
        kinds = ", ".join(f"{printable(name)} {count}" for name, count in self.classes.items())
        split = (f"{name}: {own['good']} good and {own['defective']} defective of {own['groups']} lots"
                 for name, own in self.sides.items() if own["groups"])  # fmt: skip
        left = (f"{count} not used: {REASONS[reason]}" for reason, count in self.left_out.items() if count)
        return (
            f"{self.judged} judged pictures, {self.used} used: {self.good} good (of them {self.overturned} called by"
            f" the model), {self.defective} defective ({self.masks} with a mask" + (f"; {kinds})" if kinds else ")"),
            *split,
            *left,
        )


def export_reviewed(
    ledger: Ledger,
    out: str | Path,
    *,
    share: float = HELD_OUT,
    seed: int = 0,
    without_mask: bool = False,
    progress: bool = True,
) -> Exported:
    """Writes the pictures that people judged, as their last word has them, as a data set into the new folder `out`.

    A passed picture is good, whatever the model said. A rejected one has the class that people gave, and the mask that
    they drew, byte by byte; one without a mask is used only with `without_mask`. Images are copied as they are, once
    their SHA-256 is found to be that of the inspected ones. The folder appears whole or not at all.

    Args:
      share: of the lots that are in split `test`; 0 = all pictures are in split `train`.
      seed: draws these lots. without_mask: rejected pictures without a mask are used too.

    Raises:
      UserError: nobody has judged a picture, none can be used, or one lot alone; `out` is there or cannot be written.
    """
    if not 0 <= share < 1:
        raise UserError(f"--held-out: {share:g} must be from 0 to below 1")
    judged = list(truths(ledger))
    if not judged:
        raise UserError(f"{printable(ledger.name)}: people have judged no picture; `jaxqc review` asks them")
    sums = [truth.sha256 for truth in judged]
    places, said = places_on(ledger, sums), verdicts_of_models(ledger, sums)
    rows: list[dict[str, str]] = []
    left: list[dict[str, str]] = []
    with whole_folder(out, "--dataset") as part, Progress("copying", len(judged), progress) as counter:
        for truth in judged:
            own = places.get(truth.sha256, [])
            reason, detail, suffix = _bring(ledger, truth, own, part, without_mask)
            if reason:
                left.append({"sha256": truth.sha256, "image": own[0].image if own else "", "reason": reason,
                             "detail": detail, "reviewed": truth.time})  # fmt: skip
            else:
                rows.append(_row(truth, own, suffix, said.get(truth.sha256, "")))
            counter.add(1)
        reasons = Counter(line["reason"] for line in left)
        if not rows:
            why = "; ".join(f"{count}: {REASONS[reason]}" for reason, count in reasons.items())
            raise UserError(f"{printable(ledger.name)}: none of {len(judged)} judged pictures can be used ({why})")
        _divide(rows, places, share, seed)
        done = _counted(rows, reasons, len(judged))
        write_table(part / FILE, COLUMNS, rows)
        write_table(part / LEFT_OUT, ("sha256", "image", "reason", "detail", "reviewed"), left)
        about = {"ledger": Path(printable(ledger.name)).name, "held_out": share, "seed": seed, **asdict(done)}
        (part / COUNTS).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return done


def _bring(
    ledger: Ledger, truth: Truth, places: Sequence[Place], part: Path, without_mask: bool
) -> tuple[str, str, str]:
    """Copies a picture and its mask. The reason why it is left out and what it says of the file, or its ending."""
    if truth.verdict == "undone":
        return "withdrawn", "", ""
    if truth.verdict == "reject" and truth.mask is None and not without_mask:
        return "no-mask", "", ""
    there = False
    for path in dict.fromkeys(place.path for place in places):
        try:
            found, data = read_bytes(path)
        except UserError:
            continue
        there = True
        if found != truth.sha256:
            continue
        suffix = Path(path).suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", Path(path).suffix) else ".png"
        _write(part / "images" / f"{truth.sha256}{suffix}", data)
        if truth.mask is not None:
            _write(part / "masks" / f"{truth.sha256}.png", png_of(ledger, truth.mask))
        return "", "", suffix
    return "changed-bytes" if there else "missing-file", printable(places[0].path if places else ""), ""


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)


def _row(truth: Truth, places: Sequence[Place], suffix: str, said: str) -> dict[str, str]:
    """A picture's row of the index, but for its side."""
    name = printable(one_line(truth.class_name))
    if truth.verdict == "pass":
        name = NORMAL
    elif not name or means_normal(name):  # a defect that is called `good` is none of the good ones
        name = DEFECT
    first = lambda field: next((printable(one_line(v)) for place in places if (v := getattr(place, field))), "")
    lots = "; ".join(sorted({printable(one_line(place.lot)) for place in places if place.lot}))
    mask = "" if truth.mask is None else f"masks/{truth.sha256}.png"
    return {"id": truth.sha256, "cls": name, "image": f"images/{truth.sha256}{suffix}", "mask": mask, "lots": lots,
            "product": first("product"), "supplier": first("supplier"), "reviewed": truth.time,
            "model_said": said}  # fmt: skip


def _divide(rows: Iterable[dict[str, str]], places: Mapping[str, Sequence[Place]], share: float, seed: int) -> None:
    """Gives each row its group and its side."""
    rows = list(rows)
    lots = {row["id"]: [place.lot for place in places.get(row["id"], ()) if place.lot] for row in rows}
    groups = groups_of(lots)
    kinds: dict[str, frozenset[str]] = {}
    for row in rows:
        row["group"] = groups[row["id"]]
        kinds[row["group"]] = kinds.get(row["group"], frozenset()) | {_kind(row)}
    held = held_out(kinds, share, seed)
    for row in rows:
        row["split"] = SIDES[row["group"] in held]


def _kind(row: Mapping[str, str]) -> str:
    return "good" if row["cls"] == NORMAL else "defective"


def _counted(rows: Sequence[Mapping[str, str]], reasons: Mapping[str, int], judged: int) -> Exported:
    good = [row for row in rows if _kind(row) == "good"]
    bad = [row for row in rows if _kind(row) != "good"]
    classes = Counter(row["cls"] for row in bad)
    sides: dict[str, dict[str, Any]] = {}
    for name in SIDES:
        own = [row for row in rows if row["split"] == name]
        kinds = Counter(map(_kind, own))
        sides[name] = {"groups": len({row["group"] for row in own}), "good": kinds["good"],
                       "defective": kinds["defective"]}  # fmt: skip
    return Exported(
        judged,
        len(good),
        sum(row["model_said"] not in ("", "pass") for row in good),
        len(bad),
        sum(bool(row["mask"]) for row in bad),
        dict(sorted(classes.items())),
        {reason: reasons.get(reason, 0) for reason in REASONS},
        sides,
    )

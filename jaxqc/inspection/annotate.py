"""A model's regions of a folder of images, or those of a ledger, as annotations that people's tools open to correct."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from jaxqc.data.annotations.marked import Found, Marked
from jaxqc.data.annotations.polygons import even_odd
from jaxqc.data.annotations.writers import WRITERS
from jaxqc.data.predict_folder import FolderResult, answered, images_in
from jaxqc.data.problems import printable
from jaxqc.errors import UserError, suggest
from jaxqc.inspection.defects import Regions, find_regions, opencv
from jaxqc.inspection.ledger.queries import entries
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import make_scorer
from jaxqc.lock import locked


def predict_annotations(
    model: Any, images: str | Path, out: str | Path, form: str, *, progress: bool = True
) -> FolderResult:
    """Writes the regions that an inspection by the usual rules would find, in the form `form` of `WRITERS`.

    Raises:
      UserError: an unknown form, no images there, two images of one name, or `out` cannot be written.
    """
    write = _writer(form)
    samples, account = images_in(images, [out])
    root, rules = Path(images) if Path(images).is_dir() else Path(images).parent, GradeRules().defects
    names = {sample.image: sample.image.relative_to(root).as_posix() for sample in samples}
    _refuse_twins(list(names.values()))
    scorer = make_scorer(model, devices=1)

    def predict(group: list[np.ndarray]) -> Sequence[Regions]:
        scored = scorer.score([scorer.prepare(image) for image in group], 0)
        sizes = (image.shape[:2] for image in group)
        answers = [scorer.answer(h, w, one) for (h, w), one in zip(sizes, scored, strict=True)]
        return [find_regions(answer.scored, scorer.threshold, rules, scorer.classes) for answer in answers]

    written = []
    with ExitStack() as stack:
        stack.enter_context(locked(out))
        try:
            classes = (*scorer.classes, *[c for c in ("defect",) if c not in scorer.classes])
            put = stack.enter_context(write(Path(out), classes))
            found = answered(samples, account, predict, scorer.batch, scorer.kind, progress, scorer.rendering)
            for sample, _, regions in found:
                marked = Marked(names[sample.image], regions.height, regions.width, _parts(regions), sample.image)
                put(marked)
                written.append(sample.image)
        except OSError as e:
            raise UserError(f"{printable(e.filename or out)}: cannot be written ({e.strerror or e})") from e
    return FolderResult(tuple(written), tuple(account.unreadable), account.images_per_second, account.notes)


def export_annotations(ledger: Ledger, out: str | Path, form: str, model: str = "") -> int:
    """Writes one model's findings of a ledger, whose defects are outlines; returns the number of images.

    model: digest; "" = the ledger's only one. A picture in several lots stands once. Outlines are simplified and have
    no holes, so that the pixels are not those of the inspection to the last.

    Raises:
      UserError: an unknown form, several models and none named, two images of one name, or an unwritable file.
    """
    write, known = _writer(form), [m.digest for m in ledger.models()]
    if not model and len(known) != 1:
        raise UserError(f"--model: {ledger.name} has {len(known)} models; an export holds one's findings: name one")
    model = model or known[0]
    classes, names = set[str](), dict[int, str]()
    for entry in entries(ledger, model):
        names[entry.id] = _inside(entry.finding.image)
        classes |= {d.class_name for d in entry.finding.defects if d.area}
    _refuse_twins(list(names.values()))
    done = set[int]()
    with write(Path(out), sorted(classes)) as put:
        for entry in entries(ledger, model):
            f = entry.finding
            if entry.id in done:
                continue
            done.add(entry.id)
            regions = [
                Found(even_odd([d.polygon], f.height, f.width), d.class_name, d.probability)
                for d in f.defects
                if d.area and d.polygon
            ]
            put(Marked(names[entry.id], f.height, f.width, tuple(r for r in regions if r.mask.any())))
    return len(done)


def _writer(form: str) -> Any:
    if form not in WRITERS:
        raise UserError(f"--format: {form!r}{suggest(form, WRITERS)}")
    return WRITERS[form]


def _parts(regions: Regions) -> tuple[Found, ...]:
    """Each region with its pixels, in the order of `regions.areas`; those beyond the ones kept in detail too."""
    if not regions.count or regions.mask is None:
        return ()
    pixels = np.ascontiguousarray(regions.mask).view(np.uint8)
    _, numbers, stats, _ = opencv().connectedComponentsWithStats(pixels, connectivity=8)
    left, top, area = stats[1:, 0], stats[1:, 1], stats[1:, 4]
    order = np.lexsort((np.arange(len(area)), left, top, -area))
    sure = [defect.probability for defect in regions.defects]
    return tuple(
        Found(numbers == i + 1, regions.classes[c], sure[n] if n < len(sure) else 1.0)
        for n, (i, c) in enumerate(zip(order.tolist(), regions.class_index.tolist(), strict=True))
    )


def _inside(name: str) -> str:
    """An image's name as a path that stays in a folder."""
    path = PurePosixPath(PureWindowsPath(name).as_posix())
    return "/".join(part for part in path.parts if part not in ("..", "/", ".") and not part.endswith((":", ":/")))


def _refuse_twins(names: Sequence[str]) -> None:
    """Raises UserError where two images differ only in their ending: their annotations would have one name."""
    stems: dict[str, str] = {}
    for name in names:
        stem = str(PurePosixPath(name).with_suffix(""))
        if stems.setdefault(stem, name) != name:
            raise UserError(f"{printable(stems[stem])} and {printable(name)}: annotations would have one name; rename"
                            " one")  # fmt: skip

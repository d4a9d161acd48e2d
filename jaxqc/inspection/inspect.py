"""An inspection from a model and a manifest to lots, suppliers and files for people (the streaming: `stream`)."""

import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxqc.data.decode import pixel_count
from jaxqc.data.depth import LOOKED_AT, dark_values, spread
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers import Reader
from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.sampling import plan_for
from jaxqc.inspection.acceptance.suppliers import summarise
from jaxqc.inspection.ledger.copies import copies
from jaxqc.inspection.ledger.listings import listings
from jaxqc.inspection.ledger.queries import lot_findings, supplier_rows
from jaxqc.inspection.ledger.rows import storable
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.manifest import Delivery, read_manifest
from jaxqc.inspection.of_data_set import open_delivery
from jaxqc.inspection.piece_rule import piece_count, with_pieces
from jaxqc.inspection.report.acceptance import AQL
from jaxqc.inspection.report.gallery import Gallery
from jaxqc.inspection.report.page import write_report
from jaxqc.inspection.results import (
    GALLERY,
    LEDGER,
    REPORT,
    Findings,
    Inspection,
    Problems,
    check_claim,
    claim,
    claim_of,
    write_results,
)
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import info_of, make_scorer
from jaxqc.inspection.stream import Stream, memory_needed
from jaxqc.lock import locked, without_login
from jaxqc.memory import free_bytes, shortage
from jaxqc.progress import Progress
from jaxqc.scorer import Scorer
from jaxqc.training.stop import Sigterm


def inspect(
    model: Any,
    images: str | Path,
    out: str | Path,
    *,
    rules: GradeRules | None = None,
    ledger: str | Path | None = None,
    layout: str | Reader = "",
    piece: str | None = None,
    mm_per_pixel: float | None = None,
    threshold: float | None = None,
    devices: int = 0,
    worst: int = 12,
    aql: float = AQL,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
) -> Inspection:
    """Inspects every image that the ledger does not have yet, and grades the lots.

    The same call again goes on where it ended: what the ledger has, by the file's SHA-256 and the model's digest, is
    passed over. Killed at any moment, it loses the batches in flight. What the delivery says of an image's lot,
    supplier or time counts, also where the image is not inspected again; a picture may lie in several lots.

    Args:
      images: a manifest (`jaxqc.inspection.manifest`), a folder, or one image.
      out: folder of the results (`jaxqc.inspection.results`).
      rules: None takes the usual ones. ledger: a file or URL; None takes `out / "ledger.sqlite"`.
      layout: of a data set, whose images alone are inspected, as lots by their split; "" = all images of the folder.
      piece: a rule on file names that gives the piece of each image (`jaxqc.inspection.piece_rule`); None: the
        manifest's column alone. mm_per_pixel: scale of the images; None leaves lengths in mm unknown.
      threshold, devices: as `jaxqc.inspection.scorers.make_scorer`.
      worst: pictures that the report has of each lot. aql: of its sampling plans, percent nonconforming.
      note: takes lines worth showing; None prints nothing.

    Raises:
      UserError: manifest, folder, rule of pieces, ledger, threshold, scale or AQL are wrong, or `out` is another
        inspection's.
      SystemExit: 143 after SIGTERM, once the batches in flight are kept.
    """
    out, rules, note = Path(out), rules or GradeRules(), note or (lambda text: None)
    if mm_per_pixel is not None and not 0 < mm_per_pixel < math.inf:
        raise UserError(f"--mm-per-pixel: {mm_per_pixel!r} must be above 0")
    mm_per_pixel = None if mm_per_pixel is None else float(mm_per_pixel)  # 1 and 1.0 are one setting
    if worst < 1:
        raise UserError(f"--worst: {worst} must be 1 or more")
    plan_for(1000, aql)  # refuses an AQL that the standard does not have now rather than at the end
    manifest = _delivery(Path(images), layout, out)
    manifest = manifest if piece is None else with_pieces(manifest, piece)
    scorer = make_scorer(model, threshold, devices, rules, note)
    rules.check_classes(scorer.classes, "rules")
    info = info_of(scorer, rules, mm_per_pixel)
    mine = claim_of(LEDGER if ledger is None else _name(ledger), info)
    with ExitStack() as stack:
        stack.enter_context(locked(out, note))
        check_claim(out, mine)
        kept = stack.enter_context(open_ledger(out / LEDGER if ledger is None else ledger, note=note))
        claim(out, mine)
        kept.refresh(info)
        findings = stack.enter_context(Findings(out / "findings.jsonl", kept, info.digest))
        problems = stack.enter_context(Problems(out / "problems.csv"))
        for problem in manifest.problems:
            problems.add(problem)
        note(f"{scorer.name} {info.digest[:12]}, threshold {scorer.threshold:.4g} ({scorer.how})")
        if shown := piece_count(manifest.items):
            note(shown)
        for line in dark_values([item.image for item in manifest.items], scorer.span):
            problems.add(Problem(printable(images), "dark-values", line, "warning"))
            note(line)
        for line in _short_of_memory(manifest, scorer):
            note(line)
        counter = stack.enter_context(Progress("inspecting", len(manifest), progress))
        gallery = Gallery(out / GALLERY, worst)
        stop = stack.enter_context(Sigterm())
        stream = Stream(scorer, rules, mm_per_pixel, info, kept, findings, problems, gallery, counter, stop.asked,
                        root=_root(Path(images)))  # fmt: skip
        stream.run(manifest.items)
        if not stop.asked():
            kept.leave_out(printable(os.path.abspath(images)), (*manifest.left_out, *stream.left_out))
            return _finish(stream, manifest, out, aql)
    note(f"SIGTERM: {stream.new} images were kept in {kept.name}; the same command goes on from there")
    raise SystemExit(143)


def _finish(stream: Stream, manifest: Delivery, out: Path, aql: float) -> Inspection:
    """Lots, suppliers and the files at the end."""
    names = {storable(lot).strip() for lot in manifest.lots}.union(*stream.guesses.values())
    ledger, rules, digest = stream.ledger, stream.rules, stream.info.digest
    lots = tuple((lot, figures) for lot, figures in lot_findings(ledger, rules, digest, aql) if lot.name in names)
    suppliers = tuple(summarise(supplier_rows(lot_findings(ledger, rules))))
    problems, there = stream.problems, {lot.name for lot, _ in lots}
    for copy in copies(ledger, digest):
        if not names.isdisjoint(copy.by_lot()):
            where = printable(copy.places[0].image)
            problems.add(Problem(where, f"copy-{copy.kind}", copy.words(), "warning"))
    incomplete = tuple(
        f"{printable(name)!r}: {one.words()}"
        for name, one in listings(ledger).items()
        if name in there and not one.complete
    )
    found = Inspection(out, ledger.name, stream.info, stream.new, stream.known, problems.errors,
                       tuple(problems.first), lots, suppliers, stream.progress.rate, warnings=problems.summary(),
                       corrected=stream.corrected, empty=tuple(sorted(names - there - {*stream.guesses})),
                       incomplete=incomplete)  # fmt: skip
    write_results(found, rules)
    write_report(ledger, stream.gallery, out / REPORT, rules=rules, model=digest, title=manifest.name, aql=aql)
    return found


def _root(images: Path) -> str:
    """Folder of a delivery: that of the images, or the manifest's."""
    return os.path.abspath(images if images.is_dir() else images.parent)


def _short_of_memory(manifest: Delivery, scorer: Scorer) -> tuple[str, ...]:
    """A line where the images in flight will need more than is free, by the headers of some of them."""
    counts = [pixel_count(item.image) for item in spread(manifest.items, LOOKED_AT)]
    needed = memory_needed(counts, len(manifest), scorer.devices)
    advice = "make the images smaller, or cut them into parts"
    return shortage("this inspection", needed, free_bytes(), advice)


def _name(ledger: str | Path) -> str:
    """A ledger's name for a later call to compare; of a URL without what may hold a password."""
    return without_login(str(ledger)) if "://" in str(ledger) else str(Path(ledger).resolve())


def _own(images: Path, out: Path) -> list[Path]:
    """The resolved folders of results; where the results lie among the images, only that of their pictures."""
    place = out.resolve()
    return [place / GALLERY if place in (images.resolve(), *images.resolve().parents) else place]


def _delivery(images: Path, layout: str | Reader, out: Path) -> Delivery:
    """The images to inspect."""
    found = open_delivery(images, layout) if layout else read_manifest(images, _own(images, out))
    return _without_pictures(found, out)


def _without_pictures(manifest: Delivery, out: Path) -> Delivery:
    """Without those that an earlier call left in `out`, where that lies in the folder of images."""
    pictures = (out / GALLERY).resolve()
    if not pictures.is_dir():
        return manifest
    items = tuple(item for item in manifest.items if not item.image.resolve().is_relative_to(pictures))
    return replace(manifest, items=items)

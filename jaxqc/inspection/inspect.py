"""An inspection from a model and a manifest to lots, suppliers and files for people (the streaming: `stream`)."""

import math
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
from jaxqc.inspection.arriving import together
from jaxqc.inspection.ledger.copies import copies
from jaxqc.inspection.ledger.listings import listings
from jaxqc.inspection.ledger.queries import lot_findings, supplier_rows
from jaxqc.inspection.ledger.rows import storable
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.manifest import Delivery
from jaxqc.inspection.piece_rule import pattern_of, piece_count, with_pieces
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
from jaxqc.inspection.sources import source_of
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
    watch: float | None = None,
    every: int | None = None,
) -> Inspection:
    """Inspects every image that the ledger does not have yet, and grades the lots.

    The same call again goes on where it ended: what the ledger has, by the file's SHA-256 and the model's digest, is
    passed over. Killed at any moment, it loses the batches in flight. What the delivery says of an image's lot,
    supplier or time counts, also where the image is not inspected again; a picture may lie in several lots.

    Args:
      images: a manifest (`jaxqc.inspection.manifest`), a folder, one image, a video file, or a camera's address.
      out: folder of the results (`jaxqc.inspection.results`).
      rules: None takes the usual ones. ledger: a file or URL; None takes `out / "ledger.sqlite"`.
      layout: of a data set, whose images alone are inspected, as lots by their split; "" = all images of the folder.
      piece: a rule on file names that gives the piece of each image (`jaxqc.inspection.piece_rule`); None: the
        manifest's column alone. mm_per_pixel: scale of the images; None leaves lengths in mm unknown.
      threshold, devices: as `jaxqc.inspection.scorers.make_scorer`.
      worst: pictures that the report has of each lot. aql: of its sampling plans, percent nonconforming.
      note: takes lines worth showing; None prints nothing.
      watch: `images` is a folder whose files are taken as they become complete (`jaxqc.inspection.arriving`); lots and
        report are renewed after each of them. It ends after so many seconds without a new file; 0 = never.
      every: `images` is a video file or a camera's address, of which each so many-th frame is inspected
        (`jaxqc.inspection.frames`); None = each.

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
    if piece is not None:
        pattern_of(piece)
    source = source_of(images, out, _own(Path(images), out), watch, every, layout)
    first = _described(source.manifest, out, piece, source.grows)
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
        note(f"{scorer.name} {info.digest[:12]}, threshold {scorer.threshold:.4g} ({scorer.how})")
        counter = stack.enter_context(Progress("inspecting", len(first), progress and not source.grows))
        gallery = Gallery(out / GALLERY, worst)
        stop = stack.enter_context(Sigterm())
        stream = Stream(scorer, rules, mm_per_pixel, info, kept, findings, problems, gallery, counter, stop.asked,
                        root=source.root)  # fmt: skip
        found, whole = None, Delivery(first.name, ())
        for part in source.parts(stop.asked) if source.grows else [first]:
            part = _described(part, out, piece, True) if source.grows else part
            for line in _told(part, scorer, source.where, problems):
                note(line)
            whole = together(whole, part)
            stream.run(part.items)
            if stop.asked():
                break
            kept.leave_out(source.where, (*whole.left_out, *stream.left_out))
            found = _finish(stream, whole, out, aql)
            if source.grows:
                note(f"{stream.new} images so far; the report is renewed: {found.report}")
        if not stop.asked():
            return _finish(stream, whole, out, aql) if found is None else found
    note(f"SIGTERM: {stream.new} images were kept in {kept.name}; the same command goes on from there")
    raise SystemExit(143)


def _described(part: Delivery, out: Path, piece: str | None, grows: bool) -> Delivery:
    """A delivery without earlier results, with the pieces that a rule names; one that grows may match later."""
    part = _without_pictures(part, out)
    if piece is None or not part.items:
        return part
    try:
        return with_pieces(part, piece)
    except UserError as e:
        if not grows:
            raise
        return replace(part, problems=(*part.problems, Problem(part.name, "no-piece", str(e), "warning")))


def _told(part: Delivery, scorer: Scorer, where: str, problems: Problems) -> list[str]:
    """Lines worth showing of a delivery; its problems are written down."""
    for problem in part.problems:
        problems.add(problem)
    shown = piece_count(part.items)
    dark = dark_values([item.image for item in part.items], scorer.rendering)
    for line in dark:
        problems.add(Problem(where, "dark-values", line, "warning"))
    return [*([shown] if shown else []), *dark, *_short_of_memory(part, scorer)]


def _finish(stream: Stream, manifest: Delivery, out: Path, aql: float) -> Inspection:
    """Lots, suppliers and the files at the end."""
    names = {storable(lot).strip() for lot in manifest.lots}.union(*stream.guesses.values())
    ledger, rules, digest = stream.ledger, stream.rules, stream.info.digest
    lots = tuple((lot, figures) for lot, figures in lot_findings(ledger, rules, digest, aql) if lot.name in names)
    suppliers = tuple(summarise(supplier_rows(lot_findings(ledger, rules))))
    problems, there = stream.problems, {lot.name for lot, _ in lots}
    for copy in copies(ledger, digest):
        if not names.isdisjoint(copy.by_lot()):
            problem = Problem(printable(copy.places[0].image), f"copy-{copy.kind}", copy.words(), "warning")
            if problem not in stream.told:
                problems.add(problem)
            stream.told.add(problem)
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


def _without_pictures(manifest: Delivery, out: Path) -> Delivery:
    """Without those that an earlier call left in `out`, where that lies in the folder of images."""
    pictures = (out / GALLERY).resolve()
    if not pictures.is_dir():
        return manifest
    items = tuple(item for item in manifest.items if not item.image.resolve().is_relative_to(pictures))
    return replace(manifest, items=items)

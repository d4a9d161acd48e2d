"""Images through a model into the ledger, streaming: memory does not grow with their number.

files → bytes and SHA-256 (threads) → those that the ledger lacks → decoded (threads) → batches → scored (devices) →
defects and findings (threads) → findings.jsonl and the ledger, batch by batch. At each arrow a bounded number of pixels
waits. A file that cannot be inspected is written down and passed over.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxqc.data.batches import HEAVIEST, by_size, decoded, grouped, in_flight
from jaxqc.data.batching import MAX_PIXELS
from jaxqc.data.decode import file_size, pixel_count, read_bytes, read_image
from jaxqc.data.problems import Problem, printable
from jaxqc.errors import UserError
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.ledger.rows import check, row_of
from jaxqc.inspection.ledger.sightings import Correction, Sighting, sighting_of
from jaxqc.inspection.ledger.store import Ledger, ModelInfo
from jaxqc.inspection.manifest import Item, LeftOut
from jaxqc.inspection.report.gallery import Gallery
from jaxqc.inspection.results import Findings, Problems
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import finding_of
from jaxqc.progress import Progress
from jaxqc.scorer import Scored, Scorer

THREADS = min(16, os.cpu_count() or 1)
"""Threads that judge."""
PROGRAM = 1.5e9
"""Bytes that the program and a usual network take."""
BYTES_A_PIXEL = 23
"""Bytes that a pixel takes between its decoding and the ledger: of the image, its map and its regions."""
MAX_BYTES = 2**28
"""Bytes of files that wait to be decoded; a larger file waits alone."""


@dataclass(frozen=True)
class Line:
    """An image on its way. `prepared`: what the scorer takes."""

    item: Item
    sha256: str
    image: np.ndarray
    prepared: np.ndarray


@dataclass(frozen=True)
class Judged:
    """An image at its end. finding: or why there is none."""

    line: Line
    scored: Scored
    """With the decided mask."""
    finding: Finding | UserError


@dataclass
class Stream:
    """One sitting: what it works with, and what it counts. Images that were `known` are not inspected again."""

    scorer: Scorer
    rules: GradeRules
    mm_per_pixel: float | None
    info: ModelInfo
    ledger: Ledger
    findings: Findings
    problems: Problems
    gallery: Gallery
    progress: Progress
    asked_to_stop: Callable[[], bool] = lambda: False
    root: str = ""
    """Folder of the delivery."""
    new: int = 0
    known: int = 0
    corrected: int = 0
    """Images that lay in another lot before, or of which the delivery says something else now."""
    left_out: list[LeftOut] = field(default_factory=list)
    """Images that could not be inspected."""
    guesses: dict[str, set[str]] = field(default_factory=dict)
    """Folders' names that were no lots, since a manifest had named others, with these."""
    told: set[Problem] = field(default_factory=set)
    """Problems of copies that were said: a watched folder is asked again and again."""
    underway: dict[str, list[Item]] = field(default_factory=dict)
    """Sums of the images between the ledger's answer and the ledger, with the copies that wait for their result."""
    kept: set[str] = field(default_factory=set)
    """Sums that reached the ledger since it answered last."""

    def run(self, items: Sequence[Item]) -> None:
        """All of the images, or those up to where it is asked to stop; what is begun is ended."""
        devices, batch = self.scorer.devices, self.scorer.batch
        scoring: deque[tuple[list[Line], Future[Sequence[Any]]]] = deque()
        judging: deque[list[Future[Judged]]] = deque()
        held: deque[int] = deque()  # pixels of each group, those that are judged first
        with ExitStack() as stack:
            pools = [ThreadPoolExecutor(1, f"device{i}") for i in range(devices)]
            judges = ThreadPoolExecutor(THREADS, "judge")
            for pool in (*pools, judges):
                stack.callback(pool.shutdown, cancel_futures=True)  # an interrupt need not wait for what is queued

            def advance(most_scoring: int, most_judging: int) -> None:
                while len(scoring) > most_scoring:
                    group, answers = scoring.popleft()
                    pairs = zip(group, answers.result(), strict=True)
                    judging.append([judges.submit(self.examine, line, raw) for line, raw in pairs])
                while len(judging) > most_judging:
                    self.keep([one.result() for one in judging.popleft()])
                    held.popleft()

            lines = ((self.scorer.kind(line.image.shape), line) for line in self._lines(items))
            for number, group in enumerate(by_size(lines, batch, 2 * batch, _pixels, MAX_PIXELS)):
                device = number % devices
                prepared = [line.prepared for line in group]
                scoring.append((group, pools[device].submit(self.scorer.score, prepared, device)))
                # Each device has one batch to work on and one to go on with.
                held.append(sum(map(_pixels, group)))
                advance(2 * devices, devices)
                while held and (sum(held) > 3 * MAX_PIXELS * devices or _pixels(group[0]) >= MAX_PIXELS):
                    advance(len(scoring) - (not judging), max(0, len(judging) - 1))
                if self.asked_to_stop():
                    break
            advance(0, 0)

    def _lines(self, items: Sequence[Item]) -> Iterator[Line]:
        """The images that are to be scored, decoded; what cannot be is written down."""
        ahead = 2 * self.scorer.batch * self.scorer.devices
        weigh = lambda source: in_flight(source[3])
        for (item, sha256, *_), result in decoded(self._fresh(items), self.decode, ahead, weigh, HEAVIEST):
            if isinstance(result, UserError):
                self._bad(item, "undecodable", result)
                for one in self.underway.pop(sha256, ()):
                    self._bad(one, "undecodable", _same_as(item, one, result))
            else:
                yield Line(item, sha256, *result)

    def decode(self, source: tuple[Item, str, bytes, int]) -> tuple[np.ndarray, np.ndarray]:
        """A file's bytes → its pixels, and what the scorer takes."""
        item, _, data, _ = source
        image = read_image(item.image, data=data, rendering=self.scorer.rendering)
        return image, self.scorer.prepare(image)

    def _fresh(self, items: Sequence[Item]) -> Iterator[tuple[Item, str, bytes, int]]:
        """Files whose images the ledger lacks, with their sums, bytes and pixels."""
        batch = self.scorer.batch
        files = decoded(items, read_item, batch, lambda item: file_size(item.image), MAX_BYTES)
        length = lambda pair: 0 if isinstance(pair[1], UserError) else len(pair[1][1])
        for some in grouped(files, batch, length, MAX_BYTES):
            sums = [result[0] for _, result in some if not isinstance(result, UserError)]
            self.kept.clear()
            known, seen = self.ledger.has(sums, self.info.digest), list[Sighting]()
            for item, result in some:
                if isinstance(result, UserError):
                    self._bad(item, "unreadable", result)
                elif result[0] in known or result[0] in self.kept:
                    seen.append(sighting_of(item, result[0], self.root))
                    self._pass()
                elif result[0] in self.underway:
                    self.underway[result[0]].append(item)
                else:
                    self.underway[result[0]] = []
                    yield item, *result
            self._note_corrected(self.ledger.place(seen))
            if self.asked_to_stop():
                return

    def examine(self, line: Line, raw: Any) -> Judged:
        """The scorer's answer → the finding."""
        answer = self.scorer.answer(line.image.shape[0], line.image.shape[1], raw)
        try:
            scored, finding = finding_of(self.scorer, self.rules, answer, image=line.item.id, sha256=line.sha256,
                                         mm_per_pixel=self.mm_per_pixel)  # fmt: skip
            check(finding)
        except UserError as e:
            return Judged(line, answer.scored, e)
        return Judged(line, scored, finding)

    def keep(self, batch: Sequence[Judged]) -> None:
        """Keeps a batch, first what stands beside the ledger: a crash may leave too much of that, which the next call
        mends, but never too little."""
        findings, rows, seen = [], [], list[Sighting]()
        for one in batch:
            item, sha256 = one.line.item, one.line.sha256
            copies = self.underway.pop(sha256, [])
            if isinstance(one.finding, UserError):
                self._bad(item, "not-judged", one.finding, passed=False)
                for copy in copies:
                    self._bad(copy, "not-judged", _same_as(item, copy, one.finding))
                continue
            mask: Any = one.scored.mask
            for lot in dict.fromkeys((item.lot, *(copy.lot for copy in copies))):
                self.gallery.offer(one.finding, lot, one.line.image, one.scored.map, mask, self.scorer.threshold)
            if one.finding.verdict == "review":
                self.gallery.thumbnails.offer(sha256, one.line.image)
            findings.append(one.finding)
            rows.append(row_of(item))
            seen += [sighting_of(each, sha256, self.root) for each in (item, *copies)]
            for _ in copies:
                self._pass()
            self.progress.add(1)
        self.findings.add(findings, rows)
        done = self.ledger.add(findings, self.info, seen=seen)
        self.new += done.new
        self.kept |= {finding.sha256 for finding in findings}
        self._note_corrected(done.corrected)

    def _pass(self) -> None:
        self.known += 1
        self.progress.add(1, passed=True)

    def _note_corrected(self, corrections: Sequence[Correction]) -> None:
        self.corrected += sum(one.made for one in corrections)
        for one in corrections:
            image, old, new = printable(one.image), printable(one.old), printable(one.new)
            kind, text = "corrected", f"{image}: {one.column} was {old!r}, is {new!r} now"
            if not one.made:
                kind, text = "kept", f"{image}: {one.column} {old!r} of its manifest stays; its folder says {new!r}"
            self.problems.add(Problem(image, kind, text, "warning"))
            if one.column != "lot":
                continue
            if one.made:
                self.gallery.move(one.sha256, one.old, one.new)
            else:
                self.guesses.setdefault(one.new, set()).add(one.old)
                self.gallery.move(one.sha256, one.new, one.old)

    def _bad(self, item: Item, kind: str, error: UserError, passed: bool = True) -> None:
        self.problems.add(Problem(printable(item.id), kind, str(error)))
        path = printable(os.path.abspath(item.image))
        self.left_out.append(LeftOut(path, printable(item.id), item.lot, kind, str(error), item.source))
        self.progress.add(1, passed=passed)


def memory_needed(pixels: Sequence[int], images: int, devices: int) -> float:
    """Bytes of host memory that an inspection takes at most, by the pixels of its images (docs/guide/memory).

    pixels: of some of the `images`, the largest among them.

    Examples:
      >>> round(memory_needed([110_000_000], 6, 1) / 1e9, 1)
      4.0
      >>> round(memory_needed([60_000_000, 110_000_000], 6, 1) / 1e9, 1)
      6.1
    """
    usual = max((count for count in pixels if count < MAX_PIXELS), default=0)  # a larger one goes alone
    together = min(usual * images, 3 * MAX_PIXELS * devices)
    return PROGRAM + BYTES_A_PIXEL * max(together, *pixels, 0)


def _same_as(first: Item, copy: Item, error: UserError) -> UserError:
    """The error of a copy, which is that of the file that was tried."""
    return UserError(f"{printable(copy.id)}: the same bytes as {printable(first.id)}; {error}")


def _pixels(line: Line) -> int:
    return line.image.shape[0] * line.image.shape[1]


def read_item(item: Item) -> tuple[str, bytes, int]:
    """A file's sum, bytes and pixels."""
    sha256, data = read_bytes(item.image)
    return sha256, data, pixel_count(item.image, data)

"""The way of one image: bytes, sum, the ledger's answer or decoding, a batch, defects, file and ledger.

Nothing here waits on the event loop: sums, decoding and judging go to threads, scoring to the device's thread, the
ledger's reads and writes in groups to theirs.
"""

import asyncio
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxqc.data.decode import pixel_count, read_image
from jaxqc.errors import UserError
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.ledger.pictures import findings_on
from jaxqc.inspection.ledger.rows import check
from jaxqc.inspection.ledger.sightings import Sighting
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.scorers import finding_of
from jaxqc.scorer import Scored
from jaxqc.serve.batcher import Batcher
from jaxqc.serve.door import Budget
from jaxqc.serve.engine import Engine, digest_of
from jaxqc.serve.faults import Bad, Late, LedgerDown, TooLarge
from jaxqc.serve.grouped import Grouped
from jaxqc.serve.measures import Measures
from jaxqc.serve.posted import Posted
from jaxqc.serve.settings import Settings
from jaxqc.serve.store import Store, kind_of


@dataclass(frozen=True)
class Seen:
    """A picture as the model saw it, with its map; nothing of it need be kept."""

    image: np.ndarray
    scored: Scored
    finding: Finding


@dataclass(frozen=True)
class Done:
    """An image's answer. known: the ledger had it. stages: milliseconds. seen: None where nothing was scored."""

    finding: Finding
    known: bool
    stages: dict[str, float]
    seen: Seen | None = None


class Record(NamedTuple):
    """A write of the ledger: a sighting, and a finding that is new."""

    finding: Finding | None
    sighting: Sighting


class Pipeline:
    """One model's way. Use within a running loop as `async with`; at its end all that was begun is kept.

    readers, workers, writer: threads for the ledger's reads, for decoding and judging, and the one that writes.
    pixels: what is decoded at once, of all models.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        store: Store,
        settings: Settings,
        measures: Measures,
        pixels: Budget,
        readers: Executor,
        workers: Executor,
        writer: Executor,
        news: Callable[[Finding | None, Sighting], None] = lambda finding, sighting: None,
    ) -> None:
        self.engine, self.ledger, self.store, self.settings = engine, ledger, store, settings
        self.measures, self.pixels, self.workers, self._news = measures, pixels, workers, news
        self.rules_digest = digest_of(engine.rules)
        self.name = engine.info.digest[:12]
        batches = settings.batches
        self.batcher: Batcher[np.ndarray, Any] = Batcher(
            engine.score, most=batches.most, wait=batches.wait_ms / 1000, devices=engine.scorer.devices,
            observe=self._batch, sizes=engine.sizes,
        )  # fmt: skip
        self._lookup: Grouped[str, Finding | None] = Grouped(self._find, readers)
        self._keeping: Grouped[Record, None] = Grouped(self._write, writer)

    async def __aenter__(self) -> "Pipeline":
        for part in (self._lookup, self._keeping, self.batcher):
            await part.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for part in (self.batcher, self._lookup, self._keeping):
            await part.__aexit__()

    async def inspect(self, posted: Posted, deadline: float, with_map: bool = False) -> Done:
        """Inspects an image and keeps it, or answers from the ledger. deadline: of the loop's clock.

        Raises:
          Bad: it cannot be decoded or judged. TooLarge: too many pixels. Late: the deadline passed first.
          LedgerDown: it could not be kept. Closing: the server is being stopped.
        """
        clock = _Clock()
        try:
            async with asyncio.timeout_at(deadline if deadline < float("inf") else None):
                sha256 = await self._thread(lambda: hashlib.sha256(posted.data).hexdigest())
                try:
                    known = await self._lookup.keep(sha256)
                except UserError as e:
                    raise LedgerDown(str(e), 5) from e
                clock.lap("lookup")
                seen, name = None, posted.name or f"{sha256}{kind_of(posted.data)[0]}"
                if known is None or with_map:
                    seen = await self.look(posted.data, name, sha256, deadline, clock)
                finding = known if known is not None or seen is None else seen.finding
                assert finding is not None
                # What is being written when the deadline passes is written: sent again, it is known.
                await self._keep(posted, name, sha256, None if known is not None else finding)
        except TimeoutError as e:
            raise Late from e
        clock.lap("keep")
        self._count(finding, known is not None, seen, clock)
        return Done(finding, known is not None, clock.stages(), seen)

    async def look(self, data: bytes, name: str, sha256: str, deadline: float, clock: "_Clock | None" = None) -> Seen:
        """Scores an image and judges it; nothing is kept. Raises as `inspect`."""
        clock = clock or _Clock()
        count = await self._thread(lambda: pixel_count(name, data, sys.maxsize))
        most = self.settings.limits.pixels
        if count > most:
            raise TooLarge(f"{name}: {count:,} pixels is above the limit of {most:,}; make it smaller")
        async with self.pixels.share(max(1, count)):
            try:
                image, prepared, kind = await self._thread(lambda: self._decode(data, name, most))
                clock.lap("decode")
                raw = await self.batcher.submit(prepared, kind, deadline)
                clock.lap("score")
                seen = await self._thread(lambda: self._judge(image, raw, name, sha256))
                clock.lap("judge")
            except UserError as e:
                raise Bad(str(e)) from e
        return seen

    async def _keep(self, posted: Posted, name: str, sha256: str, finding: Finding | None) -> None:
        """Keeps an image's file, then its finding and sighting: a crash may leave a file too many, never too few."""
        key = (posted.row.get("lot", ""), posted.row.get("piece", ""), name)
        try:
            path = await self._thread(lambda: self.store.keep(sha256, posted.data, *key))
        except OSError as e:
            raise LedgerDown(f"the picture could not be kept ({e.strerror or e}); make room and try again", 10) from e
        sighting = Sighting(sha256, name, posted.row, str(path))
        try:
            await self._keeping.keep(Record(finding, sighting))
        except UserError as e:
            raise LedgerDown(str(e), 5) from e
        self._news(finding, sighting)

    def _decode(self, data: bytes, name: str, most: int) -> tuple[np.ndarray, np.ndarray, Any]:
        scorer = self.engine.scorer
        image = read_image(name, max_pixels=most, data=data, rendering=scorer.rendering)
        return image, scorer.prepare(image), scorer.kind(image.shape)

    def _judge(self, image: np.ndarray, raw: Any, name: str, sha256: str) -> Seen:
        engine = self.engine
        answer = engine.scorer.answer(image.shape[0], image.shape[1], raw)
        scored, finding = finding_of(engine.scorer, engine.rules, answer, image=name, sha256=sha256,
                                     mm_per_pixel=engine.mm_per_pixel)  # fmt: skip
        check(finding)
        return Seen(image, scored, finding)

    def _find(self, sums: Sequence[str]) -> list[Finding | None]:
        found = findings_on(self.ledger, sums, self.engine.info.digest)
        return [found.get(sha256) for sha256 in sums]

    def _write(self, records: Sequence[Record]) -> list[None]:
        findings = [record.finding for record in records if record.finding is not None]
        self.ledger.add(findings, self.engine.info, seen=[record.sighting for record in records])
        return [None] * len(records)

    def _count(self, finding: Finding, known: bool, seen: Seen | None, clock: "_Clock") -> None:
        self.measures.verdicts.labels(self.name, finding.verdict).inc()
        if known:
            self.measures.known.labels(self.name).inc()
        elif seen is not None:
            self.measures.peaks.labels(self.name).observe(float(seen.scored.map.max()) / self.engine.scorer.threshold)
        for stage, ms in clock.stages().items():
            self.measures.stages.labels(stage).observe(ms / 1000)

    def _batch(self, size: int, seconds: float) -> None:
        self.measures.batches.labels(self.name).observe(size)
        self.measures.batch_seconds.labels(self.name).observe(seconds)

    async def _thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.workers, work)


class _Clock:
    """Times of an image's stages."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name], self._last = 1000 * (now - self._last), now

    def stages(self) -> dict[str, float]:
        laps = {**self._laps, "total": 1000 * (self._last - self._start)}
        return {name: round(ms, 3) for name, ms in laps.items()}

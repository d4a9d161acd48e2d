"""A server without its HTTP: models, ledger, pictures, news and threads, opened and closed together."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

from jaxqc.errors import UserError
from jaxqc.inspection.drift import Following
from jaxqc.inspection.drift_report import follow
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.ledger import masks
from jaxqc.inspection.ledger.queries import lot_findings
from jaxqc.inspection.ledger.sightings import Sighting
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.rules import GradeRules
from jaxqc.serve.door import Budget, Door
from jaxqc.serve.engine import Engine
from jaxqc.serve.events import Events
from jaxqc.serve.faults import Bad, LedgerDown, NotReady
from jaxqc.serve.line import retry_after
from jaxqc.serve.measures import Measures
from jaxqc.serve.pipeline import Pipeline
from jaxqc.serve.settings import Settings
from jaxqc.serve.store import Store

T = TypeVar("T")
LOTS_EVERY = 1.0
"""Seconds between two gradings of a lot that fills up."""


class Service:
    """All that the calls of a server use. Use within a running loop as `async with`.

    engines: the models, the first one for requests that name none. shapes: heights and widths of the images to come;
    for these everything is compiled before the server is ready. note: takes lines worth showing.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        ledger: Ledger,
        store: Store,
        settings: Settings,
        shapes: Sequence[tuple[int, int]],
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.engines, self.ledger, self.store, self.settings = tuple(engines), ledger, store, settings
        self.shapes, self._note = tuple(shapes), note
        self.measures, self.events = Measures(), Events(settings.limits.listeners)
        batches = settings.batches
        self.door = Door(batches.line, batches.line_bytes, self._later)
        self.pixels = Budget(batches.line_pixels)
        self.pipelines: dict[str, Pipeline] = {}
        self.following: dict[str, Following] = {}
        """The search for drift in each model's scores, by digest."""
        self.compiled = self.stopping = False
        self.failed: Exception | None = None
        """The error that kept the server from becoming ready."""
        self.give_up: Callable[[], None] = self.stop
        """Called at such an error; who runs the server puts its end here."""
        self._changed: set[str] = set()

    @property
    def rules(self) -> GradeRules:
        """Rules by which lots are graded."""
        return self.engines[0].rules

    async def __aenter__(self) -> "Service":
        cores = os.cpu_count() or 1
        self._stack = AsyncExitStack()
        pool = lambda count, name: self._stack.enter_context(ThreadPoolExecutor(count, name))
        # The lookups of images have a thread of their own, so that no long list holds them up.
        self._readers, lookups, workers = pool(2, "read"), pool(1, "lookup"), pool(cores + 1, "work")
        self._workers, self._writer, self._starter = workers, pool(1, "write"), pool(1, "start")
        for engine in self.engines:
            made = Pipeline(engine, self.ledger, self.store, self.settings, self.measures, self.pixels, lookups,
                            workers, self._writer, partial(self._news, engine.info.digest))  # fmt: skip
            self.pipelines[engine.info.digest] = await self._stack.enter_async_context(made)
        self._tasks = [asyncio.create_task(self._start()), asyncio.create_task(self._grade())]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    def stop(self) -> None:
        """Ends what never ends by itself: news, and the compiling."""
        self.stopping = True
        self.events.close()

    def pipeline(self, model: str = "") -> Pipeline:
        """The way of the model whose digest or name begins so; "" = the first.

        Raises:
          NotReady: it is not compiled yet. Bad: none or several.
        """
        if not self.compiled:
            raise NotReady(retry_after=5)
        found = [p for digest, p in self.pipelines.items() if digest.startswith(model)]
        found = found[:1] if not model else found or [p for p in self.pipelines.values() if p.engine.info.name == model]
        if len(found) != 1:
            known = ", ".join(f"{p.engine.info.digest[:12]} {p.engine.info.name}" for p in self.pipelines.values())
            raise Bad(f"model: {len(found)} models are {model[:80]!r}; this server has: {known}")
        return found[0]

    async def read(self, work: Callable[[], T]) -> T:
        """A read of the ledger, in a thread. Raises LedgerDown."""
        return await self._run(self._readers, work)

    async def write(self, work: Callable[[], T]) -> T:
        """A write of the ledger, after those that are waiting. Raises what `work` raises."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def work(self, work: Callable[[], T]) -> T:
        """Pixels or bytes, in a thread. Raises what `work` raises."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        except UserError as e:
            raise LedgerDown(str(e), 5) from e

    async def reachable(self) -> bool:
        """True where the ledger answers within two seconds."""
        try:
            await asyncio.wait_for(self.read(self.ledger.models), 2)
        except (LedgerDown, TimeoutError):
            return False
        return True

    def gauges(self) -> None:
        """Brings the figures that are not counted event by event up to date."""
        self.measures.inside.set(self.door.images)
        self.measures.listeners.set(self.events.listeners)
        for pipeline in self.pipelines.values():
            self.measures.waiting.labels(pipeline.name).set(pipeline.batcher.waiting)
        for digest, following in self.following.items():
            self.measures.drifting(digest[:12], following.watch)

    def lots_changed(self, names: Sequence[str]) -> None:
        """Has lots graded again for those who listen."""
        self._changed.update(name for name in names if name)

    def _later(self, images: int) -> int:
        return retry_after(images, sum(pipeline.batcher.rate for pipeline in self.pipelines.values()))

    def _news(self, digest: str, finding: Finding | None, sighting: Sighting) -> None:
        """Hands on what was kept. finding: None = the picture was known; the lot that holds it now may be another."""
        lot = sighting.row.get("lot", "")
        self.lots_changed([lot])
        if finding is None:
            return
        self.following[digest].add(finding.score)
        facts = {"sha256": finding.sha256, "image": sighting.image, "lot": lot, "verdict": finding.verdict,
                 "severity": finding.severity, "score": finding.score, "count": finding.count}  # fmt: skip
        self.events.publish("image", facts)

    async def _start(self) -> None:
        """Compiles everything, in a thread."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._starter, self._compile)
            await loop.run_in_executor(self._writer, masks.prepare, self.ledger)
            for engine in self.engines:
                await loop.run_in_executor(self._writer, self.ledger.refresh, engine.info)
                digest = engine.info.digest
                self.following[digest] = await loop.run_in_executor(self._readers, follow, self.ledger, engine.info)
        except Exception as e:
            self.failed = e
            self.give_up()
            return
        self.compiled = not self.stopping
        self._note("ready")

    def _compile(self) -> None:
        for engine in self.engines:
            for device, size, _ in engine.warm(self.shapes):
                if self.stopping:
                    return
                self._note(f"{engine.info.name}: compiling batches of {size}, device {device}")

    async def _grade(self) -> None:
        """Grades the lots that changed, for those who listen."""
        while True:
            await asyncio.sleep(LOTS_EVERY)
            names, self._changed = sorted(self._changed), set[str]()
            if not names or not self.events.listeners:
                continue
            work = lambda names=names: list(lot_findings(self.ledger, self.rules, names=names))
            try:
                found: list[tuple[Any, Any]] = await self.read(work)
            except Exception as e:  # lots are graded again when the next image comes
                self._note(f"lots could not be graded for those who listen: {e}")
                continue
            for lot, figures in found:
                facts = {"lot": lot.name, "supplier": lot.supplier, "product": lot.product, "images": figures.images,
                         "pieces": figures.pieces, "verdicts": dict(figures.verdicts), "grade": figures.grade,
                         "risk": figures.risk}  # fmt: skip
                self.events.publish("lot", facts)

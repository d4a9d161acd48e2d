"""Fits of one recipe to parts of a data set, and their answers to other parts: each image is embedded once.

Folds and trials fit the same images again and again. The backbone's features of an image do not change with the
fit. They are kept on the host, where there is room. What is left of a fold is the collection and the distances.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from jaxqc.anomaly.aligned import Aligned, score_at
from jaxqc.anomaly.calibration import Measured, Scored, measure, measured_of
from jaxqc.anomaly.collecting import collect_state, copies_of, embed_all, embedded, spread_over, state_of
from jaxqc.anomaly.detectors.base import Collecting
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.ops.rows import on_host
from jaxqc.anomaly.recipe import FitConfig, FitDataConfig
from jaxqc.anomaly.seen_in_tiles import joined
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import Parts
from jaxqc.data.load import in_threads
from jaxqc.data.resizing import sides
from jaxqc.data.tile_samples import one_size, size_of, tile_samples
from jaxqc.errors import UserError
from jaxqc.memory import free_bytes
from jaxqc.progress import Progress

ROOM = 0.3
"""Share of the free memory that the images' embeddings may take."""
TOGETHER, MOST_TOGETHER = 2**28, 64
"""Bytes and number of embeddings that are collected at once, or a recipe's batch. Each time the whole collection, which
is far larger than an image's embedding, is read and written."""


def fitted_samples(part: Dataset, data: FitDataConfig) -> tuple[Sample, ...]:
    """The samples that a detector is fitted to: the images', or those of their tiles."""
    return tuple(tile_samples(part.samples, data.tiling)) if data.tile and data.tiling else part.samples


def readable(parts: Parts, data: FitDataConfig) -> tuple[Parts, tuple[str, ...]]:
    """The good images whose sizes can be read, by which they are cut into tiles, and a line for each of the others.

    All of them where images are seen whole, or where none is to be left out (`skip_bad`): then a fit refuses them.
    """
    if not (data.tile and data.skip_bad):
        return parts, ()
    lines: list[str] = []

    def sound(part: Dataset) -> Dataset:
        found = list(in_threads(_size_or_fault, part.samples))
        lines.extend(str(size) for size in found if isinstance(size, UserError))
        kept = (s for s, size in zip(part.samples, found, strict=True) if not isinstance(size, UserError))
        return replace(part, samples=tuple(kept))

    return replace(parts, fit=sound(parts.fit), calibrate=sound(parts.calibrate)), tuple(lines)


def _size_or_fault(sample: Sample) -> tuple[int, int] | UserError:
    try:
        return size_of(sample)
    except UserError as e:
        return e


def collecting(config: FitConfig, part: Dataset) -> Collecting:
    """The detector that is fitted to these images in one pass.

    Raises:
      UserError: aligned images that differ in size.
    """
    detector, tiling = cast(Collecting, config.ready), config.data.tiling
    if not config.aligned or tiling is None:
        return detector
    size = one_size(part.samples)
    return Aligned(detector, size, tiling.count(*size))


def uncalibrated(config: FitConfig, state: Any, backbone: Backbone) -> AnomalyModel:
    """A model whose thresholds are not known yet."""
    return AnomalyModel(config, state, backbone.variables, Thresholds(np.inf, np.inf, "not calibrated", 0.0, 1.0), {})


def with_state(model: AnomalyModel | None, config: FitConfig, state: Any, backbone: Backbone) -> AnomalyModel:
    """The uncalibrated model of another fit; `model`, one of the same recipe, takes its state: it is compiled once."""
    if model is None:
        return uncalibrated(config, state, backbone)
    model.state = jax.tree.map(jnp.asarray, state)
    return model


def collected(
    config: FitConfig,
    backbone: Backbone,
    part: Dataset,
    bad: list[str],
    done: Callable[[int], None] = lambda n: None,
) -> Any:
    """The state of a detector that is fitted in one pass, as host arrays, whole in every process.

    bad: takes a line for each image that cannot be used.

    Raises:
      UserError: there is such an image, unless `data.skip_bad`; or none can be used.
    """
    detector, samples = collecting(config, part), fitted_samples(part, config.data)
    spread = spread_over(config.devices)
    state = collect_state(detector, backbone, samples, config.data.size, config.batch, spread, bad, done)
    if bad and not config.data.skip_bad:
        raise _unusable(bad, part)
    return on_host(state)


def _unusable(lines: Sequence[str], part: Dataset) -> UserError:
    count = len(dict.fromkeys(lines))  # once per image
    return UserError(f"{lines[0]}; {count} unusable of {len(part)}; --data.skip-bad leaves them out")


@dataclass(frozen=True)
class Fits:
    """The way to fits of some images of a data set, and to their answers to others of it.

    fit: the state of a fit to these; the list takes a line for each that cannot be used. measure: as
    `jaxqc.anomaly.calibration.measure`, of images of that data set.
    """

    fit: Callable[[Dataset, list[str]], Any]
    measure: Callable[[AnomalyModel, Dataset, list[str], Callable[[int], None]], Measured]


def kept_bytes(config: FitConfig, backbone: Backbone, samples: int) -> int:
    """Bytes of the samples' embeddings, which the fits of all folds share; 0 where they are not kept."""
    return _room_for(config, backbone, samples) if config.folds > 1 else 0


def _room_for(config: FitConfig, backbone: Backbone, samples: int) -> int:
    """Bytes of the samples' embeddings; 0 where there is no room for them, or several devices share them."""
    detector, size = cast(Collecting, config.ready), config.data.size
    image = jax.ShapeDtypeStruct((1, *sides(size), 3), np.uint8)
    row = jax.eval_shape(partial(embedded, detector, backbone), backbone.variables, image)
    needed = samples * sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(row))
    room = spread_over(config.devices).devices == 1 and needed <= ROOM * (free_bytes() or 0)
    return needed if room else 0


def fits_of(config: FitConfig, backbone: Backbone, part: Dataset, progress: bool, title: str = "embedding") -> Fits:
    """The way to fits of many parts of a data set: each image goes through the backbone once, where there is room.

    Raises:
      UserError: as `collected`.
    """
    detector, size = collecting(config, part), config.data.size
    samples, shapes = fitted_samples(part, config.data), backbone.shapes(size)
    needed = _room_for(config, backbone, len(samples))
    if not needed:
        return Fits(lambda some, bad: collected(config, backbone, some, bad), measure)
    lines: list[str] = []
    with Progress(title, len(samples), progress) as counter:
        inputs, used = embed_all(detector, backbone, samples, size, config.batch, lines, counter.add)
    if lines and not config.data.skip_bad:
        raise _unusable(lines, part)
    number = {(s.id, s.crop): i for i, s in enumerate(samples)}
    unusable = dict(zip(np.setdiff1d(np.arange(len(samples)), used).tolist(), lines, strict=True))
    together = int(np.clip(TOGETHER * len(samples) // needed, config.batch, max(config.batch, MOST_TOGETHER)))
    copied = copies_of(detector, size) > 1  # of which the first is the image as it is
    collect = jax.jit(detector.collect, donate_argnums=0)
    if isinstance(detector, Aligned):
        inner, places = detector.detector, detector.places
        score_rows = jax.jit(lambda state, rows, at: score_at(inner.score, state, rows, size, at % places))
    else:
        score_rows = jax.jit(lambda state, rows, at: detector.score(state, rows, size))

    def rows_of(some: Dataset, bad: list[str]) -> list[tuple[Sample, list[int]]]:
        """Numbers of each image's rows, of those that can be used."""
        found = [
            (s, [number[t.id, t.crop] for t in fitted_samples(replace(some, samples=(s,)), config.data)])
            for s in some.samples
        ]
        bad += dict.fromkeys(
            unusable[i] for _, at in found for i in at if i in unusable
        )  # an image's tiles say the same
        return [(s, at) for s, at in found if not unusable.keys() & set(at)]

    def fit(some: Dataset, bad: list[str]) -> Any:
        rows = np.array([i for _, at in rows_of(some, bad) for i in at], np.int32)
        if not len(rows):
            raise UserError(f"none of {len(some)} normal images can be used; the first: {bad[0]}")
        return on_host(state_of(detector, shapes, inputs, rows, together, collect))

    def answered(model: AnomalyModel, some: Dataset, bad: list[str], done: Callable[[int], None]) -> Measured:
        call = lambda at: score_rows(model.state, jax.tree.map(lambda x: x[at, 0] if copied else x[at], inputs), at)
        return measured_of(model, _scored(model, call, rows_of(some, bad)), done)

    return Fits(fit, answered)


def _scored(
    model: AnomalyModel,
    call: Callable[[Int[np.ndarray, " b"]], tuple[Any, Any]],
    images: Sequence[tuple[Sample, list[int]]],
) -> Iterator[Scored[Sample]]:
    """The answers to images by the numbers of their rows; call: maps and scores of a batch of rows."""
    for start in range(0, len(images), model.batch):
        some = images[start : start + model.batch]
        rows = np.concatenate([at for _, at in some]).astype(np.int32)
        padded = np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % model.batch)])
        parts = [call(at) for at in padded.reshape(-1, model.batch)]
        maps, scores = (np.concatenate([np.asarray(x) for x in each]) for each in zip(*parts, strict=True))
        ends = np.cumsum([len(at) for _, at in some])
        for (sample, at), end in zip(some, ends, strict=True):
            height, width = size_of(sample)
            own = slice(end - len(at), end)
            if model.tile:
                yield Scored(
                    sample, height, width, *joined(model, zip(maps[own], scores[own], strict=True), height, width)
                )
            else:
                yield Scored(sample, height, width, maps[end - 1], float(scores[end - 1]))

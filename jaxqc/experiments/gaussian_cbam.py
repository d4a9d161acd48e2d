"""Many fits of one data set beside each other: features computed once, every finished fit a row of a file.

A cell is a recipe and gives what `jaxqc fit --decision.folds 1` and `jaxqc evaluate` give for it. Cells of the same
backbone and images share their features, which lie on disk while they are needed.
"""

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.evaluate import bin_edges, kind_of, kinds_of
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.anomaly.thresholds import Thresholds, by_quantile
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import Parts
from jaxqc.data.screening import usable
from jaxqc.errors import UserError
from jaxqc.experiments.feature_cache import Features, LayeredBackbone, load_network
from jaxqc.fields import to_dict
from jaxqc.metrics import anomaly as metrics
from jaxqc.metrics.aupro import region_weights
from jaxqc.progress import Progress
from jaxqc.training.cache import enable_compilation_cache
from jaxqc.training.logs import append_row, finished_rows
from jaxqc.training.record import data_digest

ROWS = "rows.jsonl"
Row = dict[str, Any]
Outcome = Row | str
"""A finished cell's row, or why the cell cannot be measured."""


def measure(config: FitConfig, features: Features, parts: Parts) -> Row:
    """Fits, calibrates and measures one cell: `jaxqc.metrics.anomaly.compute` and seconds."""
    detector: Any = config.ready
    layers, began = config.backbone.layers, time.monotonic()
    shapes = features.shapes(layers)
    collected = detector.begin(shapes, len(parts.fit))
    collect = jax.jit(
        lambda collected, x, number: detector.collect(collected, detector.embed(x, None), number), donate_argnums=0
    )
    for x, _, number in features.batches(parts.fit.samples, layers):
        collected = collect(collected, x, number)
    state = jax.block_until_ready(detector.finish(collected, shapes))
    fitted = time.monotonic()
    score = jax.jit(lambda state, x: detector.score(state, detector.embed(x, None), features.size))
    scores, peaks = [], []
    for x, _, number in features.batches(parts.calibrate.samples, layers):
        maps, values = score(state, x)
        scores.append(np.asarray(values)[number >= 0])
        peaks.append(np.asarray(maps.max((1, 2)))[number >= 0])
    thresholds = by_quantile(np.concatenate(scores), np.concatenate(peaks), config.decision.false_alarm)
    found = _tested(parts.test, thresholds, ((score(state, x), *rest) for x, *rest in features.batches(
        parts.test.samples, layers)))  # fmt: skip
    seconds = {"fit": round(fitted - began, 2), "score": round(time.monotonic() - fitted, 2)}
    return {"fit": len(parts.fit), "test": len(parts.test), "seconds": seconds, "metrics": found}


def _tested(test: Dataset, thresholds: Thresholds, scored: Iterator[Any]) -> dict[str, float | None]:
    kinds = kinds_of(test)
    sums = metrics.empty(bin_edges(thresholds), len(test), len(kinds))
    add = jax.jit(metrics.update)
    for (maps, scores), masks, at in scored:
        names = ("good", *kinds)
        kind = [0 if i < 0 else names.index(kind_of(test.samples[i], test, m)) for i, m in zip(at, masks, strict=True)]
        regions, _ = region_weights(masks > 0, [test.samples[i].id if i >= 0 else "" for i in at])
        weight = (at >= 0).astype(np.float32)
        sums = add(sums, maps, masks, regions, weight, scores=scores, kind=np.array(kind, np.int32), position=at)
    found = metrics.compute(sums, kinds, image_threshold=thresholds.image, pixel_threshold=thresholds.pixel)
    with_images = [k for k in kinds if math.isfinite(found[f"{k}/image_auroc"])]
    for key in ("image_auroc", "pixel_auroc", "au_pro"):
        found[f"mean of kinds/{key}"] = float(np.mean([found[f"{k}/{key}"] for k in with_images]))
    return {k: v if math.isfinite(v) else None for k, v in found.items()}


def run_cells(
    cells: Sequence[FitConfig],
    data: Dataset,
    folder: Path,
    cache_bytes: float = 8e9,
    progress: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> dict[FitConfig, Outcome]:
    """Measures every cell that has no row in `folder/rows.jsonl` yet, and adds its row there as soon as it is done.

    cache_bytes: most that features of one backbone may take on disk, in a folder inside `folder` that is removed after.

    Raises:
      UserError: the data cannot be divided or used (`data.skip_bad` of the first cell leaves unusable samples out of
        all), or the folder cannot be written. What only keeps a cell from being
        measured (no weights, a layer that they lack, too few normal images) is its outcome.
    """
    enable_compilation_cache()
    if cells and cells[0].data.skip_bad:
        rest, bad = usable(data, cells[0].data.size, skip_bad=True)
        assert isinstance(rest, Dataset)
        data = rest
        for line in bad:
            note(f"left out: {line}")
    rows = {row["key"]: row for row in finished_rows(folder / ROWS) if "key" in row}
    digest = data_digest(data)
    found: dict[FitConfig, Outcome] = {}
    networks: dict[Any, LayeredBackbone | str] = {}
    groups: dict[Any, list[tuple[FitConfig, Parts, str]]] = {}
    for config in dict.fromkeys(cells):
        source = replace(config.backbone, layers=(1,))
        network = networks.get(source)
        if network is None:
            network = networks[source] = _attempt(lambda c=config: load_network(c.backbone))
        parts = _attempt(lambda c=config: divide(data, c.data, c.seed)[0])
        reason = network if isinstance(network, str) else network.lacks(config)
        if isinstance(network, str) or isinstance(parts, str) or reason:
            found[config] = reason or str(parts)
            continue
        key = key_of(config, digest, network)
        if key in rows:
            found[config] = rows[key]
        else:
            groups.setdefault((source, config.data.size, config.data.crop), []).append((config, parts, key))
    pools = {group: _pool(todo) for group, todo in groups.items()}
    total = sum(map(len, pools.values())) + sum(_images(parts) for todo in groups.values() for _, parts, _ in todo)
    with Progress("tables", total, progress) as counter:
        for (source, size, crop), todo in groups.items():
            network = networks[source]
            assert isinstance(network, LayeredBackbone)
            with tempfile.TemporaryDirectory(prefix=".features-", dir=folder) as kept:
                pool = pools[source, size, crop]
                features = Features(network, pool, size, todo[0][0].batch, Path(kept), cache_bytes, counter.add)
                for config, parts, key in todo:
                    row = {"key": key, "weights": network.backbone.source, "recipe": to_dict(config)}
                    row |= measure(config, features, parts)
                    append_row(folder / ROWS, row)
                    found[config] = row
                    counter.add(_images(parts))
                    note(f"{describe(config)}: image AUROC {row['metrics']['image_auroc']:.4f}")
    return {config: found[config] for config in cells}


def describe(config: FitConfig) -> str:
    """A cell in a few words."""
    layers = "".join(map(str, config.backbone.layers))
    width = f" d {config.detector.channels}" if isinstance(config.detector, Gaussian) else ""
    return f"{config.name} {config.backbone.name} L{layers}{width} n {config.data.samples} seed {config.seed}"


def key_of(config: FitConfig, digest: str, network: LayeredBackbone) -> str:
    """The key of a row: all that its numbers depend on."""
    recipe = to_dict(config)
    for name in ("batch", "devices"):
        del recipe[name]
    for name in ("folds", "unit", "minutes"):  # a cell's images are held out once
        del recipe["decision"][name]
    recipe["backbone"]["weights"] = network.backbone.source["sha256"]
    detector = recipe.pop("detector")
    name = detector.pop("name")
    recipe |= {"method": name, name: detector}  # as recipes were spelt when the first rows were measured
    return json.dumps({"data": digest, **recipe}, sort_keys=True)


def _attempt(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except UserError as e:
        return str(e)


def _images(parts: Parts) -> int:
    return len(parts.fit) + len(parts.calibrate) + len(parts.test)


def _pool(todo: Sequence[tuple[FitConfig, Parts, str]]) -> list[Sample]:
    """Every sample that some cell needs, once."""
    parts = [part for _, p, _ in todo for part in (p.fit, p.calibrate, p.test)]
    return list({s.id: s for part in parts for s in part.samples}.values())

"""Our exact savings, each beside the same work without it, with equal results. A part of learned.py.

A saving that is built is undone by putting the plain form in its place while a program is compiled. One that is not
built is tried where it can be, or has a row that only says so.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Candidate, interleave, result
from benchmarks.lib.learned_candidates import MEMBERS, Ours
from benchmarks.lib.machine import Row
from jaxqc.anomaly.distillation.described import Described
from jaxqc.anomaly.distillation.score import Distilled
from jaxqc.anomaly.flow import coupling, detector, network, objective
from jaxqc.anomaly.flow.coupling import order
from jaxqc.anomaly.learned.cache import Cache
from jaxqc.models import backbones
from jaxqc.nn.resizing import resize_align_corners

ROWS = 64
"""Cells that anomalib's CFLOW takes at a time."""
Noise = Callable[[int, int], np.ndarray]


def reordered_otherwise(x: Any, kind: str, index: int, back: bool = False) -> jax.Array:
    """A hard permutation in the way that is not this device's: on CPU a gather, elsewhere FrEIA's product with a matrix
    of zeros and ones."""
    del kind
    places = order(x.shape[-1], index)
    if jax.default_backend() == "cpu":
        return jnp.asarray(x)[..., np.argsort(places) if back else places]
    matrix = np.eye(x.shape[-1], dtype=np.float32)[places]
    return jnp.matmul(x, matrix if back else matrix.T)


def on_every_cell(config: Any, layers: Any) -> Any:
    """Each cell's position in full, image by image, so that no part of a product is shared between cells."""
    whole = []
    for x, parts in zip(layers, network.conditions(config, layers), strict=True):
        wide = [jnp.broadcast_to(part, (*x.shape[:3], part.shape[-1])) for part in parts]
        whole.append((jax.lax.optimization_barrier(jnp.concatenate(wide, -1)),))
    return tuple(whole)


@dataclass(frozen=True)
class Sliced:
    """A flow whose layers go apart, so many cells at a time one after another."""

    config: Any
    channels: tuple[int, ...]

    def apply(self, variables: Any, xs: Any, conditions: Any) -> Any:
        out, count = [], self.config.blocks[0]
        for i, (x, (whole,)) in enumerate(zip(xs, conditions, strict=True)):
            own = {f"couplings_{k}": variables["params"][f"couplings_{i * count + k}"] for k in range(count)}
            flow: Any = network.Flow(self.config, (x.shape[-1],))
            each = math.gcd(int(np.prod(x.shape[:3])), ROWS)
            rows = tuple(y.reshape(-1, each, 1, 1, y.shape[-1]) for y in (x, whole))
            (z,), (det,) = jax.lax.map(
                lambda pair, own=own, flow=flow: flow.apply({"params": own}, (pair[0],), ((pair[1],),)), rows
            )
            out.append((z.reshape(x.shape), det.reshape(x.shape[:3])))
        return tuple(zip(*out, strict=True))


def one_by_one(answers: Callable[..., Any]) -> Callable[..., Any]:
    """EfficientAD's student on three kinds of images in three passes."""

    def apart(self: Described, params: Any, image: Any) -> Any:
        parts = [answers(self, params, x) for x in jnp.split(image, 3)]
        return tuple(jnp.concatenate(x) for x in zip(*parts, strict=True))

    return apart


def features_enlarged(maps: Callable[..., Any]) -> Callable[..., Any]:
    """Distances of features that are brought to the finest grid, in place of distances that are."""

    def on_the_finest(self: Distilled, teacher: Any, student: Any, size: Any) -> Any:
        height, width = teacher[0].shape[1:3]
        finest = lambda layers: tuple(resize_align_corners(x, height, width) for x in layers)
        return maps(self, finest(teacher), finest(student), size)

    return on_the_finest


@dataclass(frozen=True)
class Saving:
    """A saving that is built. undone: what stands in its place, as arguments of `mock.patch.object`. both: what stands
    in place of something else in both programs. exact: both give the same."""

    title: str
    member: str
    work: str
    undone: tuple[tuple[Any, str, Any], ...]
    both: tuple[tuple[Any, str, Any], ...] = ()
    exact: bool = True
    batch: int = 0


WHOLE = ((detector, "conditions", on_every_cell), (objective, "conditions", on_every_cell))
BUILT = {
    "a": Saving("permutations as gathers, on CPU as products", "fastflow", "score",
                ((coupling, "permuted", reordered_otherwise),)),
    "b": Saving("a position's part of a product once a batch", "cflow", "score", WHOLE),
    "c": Saving("all cells in one product, not 64", "cflow", "score", ((detector, "Flow", Sliced),), WHOLE),
    "e": Saving("three kinds of images in one batch", "efficient_ad", "none",
                ((Described, "answers", one_by_one(Described.answers)),), batch=1),
    "g": Saving("distances enlarged, not features", "rd4ad", "score",
                ((Distilled, "maps", features_enlarged(Distilled.maps)),), exact=False),
}  # fmt: skip
NOT_BUILT = {
    "d": "teacher's and student's first convolutions as one: not built",
    "h": "distances fused with the decoder's last layer: not built, left to XLA",
}


def compare(letter: str, images: np.ndarray, rounds: int, seconds: float, dtype: str = "float32") -> Row:
    """The row of a saving that is built. The difference is of maps, or of the loss after one step."""
    saving = BUILT[letter]
    made: dict[str, Candidate] = {}
    found: dict[str, np.ndarray] = {}
    for side, patches in (("with", ()), ("without", saving.undone)):
        with contextlib.ExitStack() as stack:
            for where in (*saving.both, *patches):
                stack.enter_context(mock.patch.object(*where))
            ours = Ours(MEMBERS[saving.member], images, dtype)
            made[side] = ours.score() if saving.work == "score" else ours.step("none")
            out = made[side].call()
            found[side] = np.asarray(out[0] if saving.work == "score" else out)
    row = _row(f"{letter}: {saving.title}", saving.member, saving.work, len(images), made, rounds, seconds)
    apart = np.abs(found["with"] - found["without"]).max() / np.abs(found["with"]).max()
    if saving.exact and not apart < 1e-3:
        raise ValueError(f"{row['name']}: results differ by {apart:.1%} with and without it")
    return row | {"difference": float(apart)} | ({} if saving.exact else {"note": "distances between cells differ"})


def cached(images: np.ndarray, rounds: int, seconds: float) -> list[Row]:
    """A step from cached features beside one from images, in float32 and in bfloat16, with what an image's take."""
    rows: list[Row] = []
    caches: tuple[Cache, ...] = ("float32", "bfloat16")
    ours = Ours(MEMBERS["stfpm"], images)
    steps = {"none": ours.step("none")} | {cache: ours.step(cache) for cache in caches}
    one = sum(int(np.prod(shape)) for shape in ours.method.shapes)
    for cache in caches:
        row = _row(f"f: cached features, {cache}", "stfpm", "step", len(images),
                   {"with": steps[cache], "without": steps["none"]}, rounds, seconds)  # fmt: skip
        rows.append(row | {"note": f"{one * jnp.dtype(cache).itemsize / 1e6:.2f} MB an image"})
    return rows


def stacked(images: np.ndarray, rounds: int, seconds: float) -> Row:
    """Two networks of one architecture as one mapped over their stacked weights, beside one after the other."""
    ours = Ours(replace(MEMBERS["stfpm"], changed={}), images)
    layers = MEMBERS["stfpm"].layers
    folded: nn.Module = backbones.build(MEMBERS["stfpm"].backbone, layers, folded=True)
    first, x = ours.frozen_network, jnp.asarray(images, jnp.float32) / 255
    second = {"params": ours.state.params}
    both = jax.tree.map(lambda a, b: jnp.stack([jnp.asarray(a), jnp.asarray(b)]), dict(first), second)
    apart = jax.jit(lambda a, b, x: (folded.apply(a, x), folded.apply(b, x)))
    together = jax.jit(lambda both, x: jax.vmap(folded.apply, (0, None))(both, x))
    made = {"with": Candidate(lambda: together(both, x)), "without": Candidate(lambda: apart(first, second, x))}
    one, other = jax.device_get((made["with"].call(), made["without"].call()))
    name = f"layer{layers[-1]}"
    gap = max(float(np.abs(one[name][i] - other[i][name]).max() / np.abs(other[i][name]).max()) for i in (0, 1))
    row = _row("d: teacher and student as one vmap", "stfpm", "forward", len(images), made, rounds, seconds)
    return row | {"difference": gap, "note": "not built, a trial"}


def savings_rows(
    letters: Sequence[str], noise: Noise, size: int, batch: int, rounds: int, seconds: float
) -> list[Row]:  # fmt: skip
    """Rows of the savings with these letters. noise: (batch, size) → images."""
    rows: list[Row] = []
    for letter in letters:
        images = noise(BUILT[letter].batch or batch if letter in BUILT else batch, size)
        if letter in BUILT:
            rows.append(compare(letter, images, rounds, seconds))
        rows += cached(images, rounds, seconds) if letter == "f" else []
        rows += [stacked(images, rounds, seconds)] if letter == "d" else []
        if letter in NOT_BUILT:
            rows.append({"benchmark": "learned-savings", "name": letter, "note": NOT_BUILT[letter]})
        print(f"saving {letter} done", flush=True)
    return rows


def _row(name: str, member: str, work: str, batch: int, made: dict[str, Candidate], rounds: int, seconds: float) -> Row:
    timings = interleave(made, rounds, seconds)
    more = {"model": member, "batch": batch, "work": "step, images" if work == "none" else work}
    row = result("learned-savings", name, timings["with"], images=batch, **more)
    without = timings["without"].median
    return row | {"without_ms": without * 1e3, "brings": without / timings["with"].median}

"""The fit of a `Collecting` detector: images from disk through the frozen backbone into a collection over devices."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int, UInt8

from jaxqc.anomaly.detectors.base import Collecting, Shapes
from jaxqc.anomaly.features import Backbone, normalised
from jaxqc.data.batches import decoded
from jaxqc.data.dataset import Sample
from jaxqc.data.load import load_sample
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.types import AXIS, ArrayLike, Variables

Loaded = tuple[UInt8[np.ndarray, "b h w 3"], UInt8[np.ndarray, "b h w"], Int[np.ndarray, " b"]]
"""Images, masks and each one's number in the list (-1 = padding)."""


def load_batches(
    samples: Sequence[Sample],
    size: Size,
    batch: int,
    bad: list[str],
    part: tuple[int, int] = (0, 1),
    unmasked: bool = False,
) -> Iterator[Loaded]:
    """Whole batches of RGB images and masks, resized, the last one padded; decoded ahead in threads.

    bad: takes a line for each file that cannot be used; such samples are left out. part: (index, count) of a process:
    it reads its share of every batch. unmasked: as of `load_sample`.
    """
    index, count = part
    height, width = sides(size)
    own = [(i, s) for i, s in enumerate(samples) if i % count == index]

    def empty() -> Loaded:
        images, masks = np.zeros((batch, height, width, 3), np.uint8), np.zeros((batch, height, width), np.uint8)
        return images, masks, np.full(batch, -1, np.int32)

    out, filled, given = empty(), 0, 0
    for (i, _), result in decoded(own, lambda pair: load_sample(pair[1], size, unmasked=unmasked), 2 * batch):
        if isinstance(result, UserError):
            bad.append(str(result))
            continue
        out[0][filled], out[1][filled], out[2][filled] = *result, i
        filled += 1
        if filled == batch:
            yield out
            out, filled, given = empty(), 0, given + 1
    # Every process gives as many batches as the one with most samples, so that all take part in each step.
    most = math.ceil(math.ceil(len(samples) / count) / batch)
    while filled or given < most:
        yield out
        out, filled, given = empty(), 0, given + 1


@dataclass(frozen=True)
class Spread:
    """The layout of a fit on the devices: batches by image, collections and states by their leading axis."""

    mesh: Mesh

    @property
    def devices(self) -> int:
        """Over all processes."""
        return self.mesh.devices.size

    def place(self, x: Any) -> NamedSharding:
        """Place of an array of a collection or state: positions (or samples) over the devices, small ones on all."""
        whole = x.ndim < 2 or x.shape[0] % self.devices
        return NamedSharding(self.mesh, PartitionSpec() if whole else PartitionSpec(AXIS))

    def by_image(self, x: np.ndarray) -> jax.Array:
        """This process's rows of a batch → the batch on the devices."""
        return jax.make_array_from_process_local_data(NamedSharding(self.mesh, PartitionSpec(AXIS)), x)


def spread_over(devices: int = 0) -> Spread:
    """The first `devices` devices of every process (0 = all).

    Raises:
      UserError: more are asked for than there are.
    """
    from jaxqc.training.parallel import make_parallel

    return Spread(Mesh(np.asarray(make_parallel("pmap", devices).devices), (AXIS,)))


def collect_state(
    detector: Collecting,
    backbone: Backbone,
    samples: Sequence[Sample],
    size: Size,
    batch: int,
    spread: Spread,
    bad: list[str],
    done: Callable[[int], None] = lambda n: None,
) -> Any:
    """The state of a detector fitted to images on disk, on the devices. Memory: see the detector's own collection.

    batch: images on a device at once. bad: takes a line for each file left out. done: told of images as they pass.

    Raises:
      UserError: not one image can be used.
    """
    shapes = backbone.shapes(size)
    begin = jax.jit(
        lambda: detector.begin(shapes, len(samples)),
        out_shardings=jax.tree.map(spread.place, jax.eval_shape(lambda: detector.begin(shapes, len(samples)))),
    )
    collected = begin()
    everywhere = NamedSharding(spread.mesh, PartitionSpec())
    variables = jax.tree.map(lambda x: jax.device_put(np.asarray(x), everywhere), backbone.variables)

    def step(collected: Any, variables: Any, images: Any, number: Any) -> Any:
        return detector.collect(collected, embedded(detector, backbone, variables, images), number)

    call = jax.jit(step, donate_argnums=0, out_shardings=jax.tree.map(lambda x: x.sharding, collected))
    here = batch * spread.devices // jax.process_count()
    used: list[int] = []
    part = jax.process_index(), jax.process_count()
    for images, _, number in load_batches(samples, size, here, bad, part, unmasked=True):
        collected = call(collected, variables, spread.by_image(images), spread.by_image(number))
        used += number[number >= 0].tolist()
        done(int((number >= 0).sum()))
    if not used:
        raise UserError(f"none of {len(samples)} normal images can be used" + (f"; the first: {bad[0]}" if bad else ""))
    if jax.process_count() == 1 and len(used) < len(samples):
        collected = detector.drop(collected, jnp.asarray(sorted(used)))
    if spread.mesh.devices.flat[0].platform == "cpu" and jax.process_count() == 1:
        # Devices of one CPU share its threads, and would wait for one another's in LAPACK (ops/blocks).
        collected = jax.device_put(collected, spread.mesh.devices.flat[0])
    return detector.finish(collected, shapes)


def copies_of(detector: Collecting, size: Size) -> int:
    """The number of `turned` copies of an image that a detector fits."""
    image = jax.ShapeDtypeStruct((1, *sides(size), 3), np.uint8)
    return len(jax.eval_shape(getattr(detector, "turned", lambda x: (x,)), image))


def embedded(
    detector: Collecting, backbone: Backbone, variables: Variables, images: UInt8[ArrayLike, "b h w c"]
) -> Any:
    """A detector's inputs of a batch to fit [b ...]; of one that fits `turned` copies of them, [b copies ...]."""
    one = lambda x: detector.embed(backbone.apply(variables, x), normalised(x))
    copies = getattr(detector, "turned", lambda x: (x,))(images)
    if len(copies) == 1:
        return one(copies[0])
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), lax.map(one, jnp.stack(copies)))


def embed_all(
    detector: Collecting,
    backbone: Backbone,
    samples: Sequence[Sample],
    size: Size,
    batch: int,
    bad: list[str],
    done: Callable[[int], None] = lambda n: None,
) -> tuple[Any, Int[np.ndarray, " used"]]:
    """A detector's inputs of every image, on the host [n ...], and the numbers of the images that can be used.

    bad: takes a line for each other one, in their order. done: told of images as they pass.

    Raises:
      UserError: not one image can be used.
    """
    call = jax.jit(partial(embedded, detector, backbone))
    variables = jax.tree.map(jnp.asarray, backbone.variables)
    kept: Any = None
    used: list[int] = []
    for images, _, number in load_batches(samples, size, batch, bad, unmasked=True):
        rows, at = jax.tree.map(np.asarray, call(variables, images)), number[number >= 0]
        if kept is None:
            kept = jax.tree.map(lambda x: np.zeros((len(samples), *x.shape[1:]), x.dtype), rows)
        for whole, part in zip(jax.tree.leaves(kept), jax.tree.leaves(rows), strict=True):
            whole[at] = part[number >= 0]
        used += at.tolist()
        done(len(at))
    if not used:
        raise UserError(f"none of {len(samples)} normal images can be used" + (f"; the first: {bad[0]}" if bad else ""))
    return kept, np.sort(np.array(used, np.int32))


def state_of(
    detector: Collecting,
    shapes: Shapes,
    inputs: Any,
    at: Int[np.ndarray, " used"],
    batch: int,
    collect: Callable[..., Any],
) -> Any:
    """The state of a detector fitted to some images. inputs: of `embed_all`. collect: the detector's, jitted."""
    collected = detector.begin(shapes, len(at))
    for start in range(0, len(at), batch):
        rows = at[start : start + batch]
        number = np.full(batch, -1, np.int32)
        number[: len(rows)] = np.arange(start, start + len(rows))
        padded = np.concatenate([rows, np.repeat(rows[-1:], batch - len(rows))])
        collected = collect(collected, jax.tree.map(lambda x, p=padded: x[p], inputs), number)
    return detector.finish(collected, shapes)

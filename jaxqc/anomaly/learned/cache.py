"""Features of frozen networks, computed once where nothing touches the image, from which each training step starts.

They lie in memory, or in files beside images that are streamed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxqc.data.dataset import ArrayDataset
from jaxqc.errors import UserError
from jaxqc.types import ArrayLike, Batch

PREFIX = "features/"
"""Beginning of the names of cached arrays in a batch."""
LIMIT = 2 * 2**30
"""Bytes of features of all images up to which `auto` caches them."""

Features = Callable[[Any, UInt8[ArrayLike, "b h w c"]], dict[str, Float[Array, "b ..."]]]
"""(frozen collections, images) → what is computed once, by name, image by image."""
Cache = Literal["auto", "none", "float32", "bfloat16"]


def bytes_of(features: Features, frozen: Any, data: ArrayDataset, dtype: Any) -> int:
    """Bytes that the features of all images take in `dtype`.

    Examples:
      >>> pixels = np.zeros((3, 4, 4, 1), np.uint8)
      >>> data = ArrayDataset("tiny", (), ("a", "b", "c"), pixels, pixels[..., 0], np.zeros(3, np.int32))
      >>> bytes_of(lambda frozen, images: {"mean": images.mean((1, 2))}, None, data, "float32")
      12
    """
    one = jax.eval_shape(features, frozen, jax.ShapeDtypeStruct((1, *data.images.shape[1:]), data.images.dtype))
    return len(data) * sum(x.size for x in jax.tree.leaves(one)) * jnp.dtype(dtype).itemsize


def with_features(
    data: ArrayDataset, features: Features, frozen: Any, batch: int, cache: Cache = "float32", place: Path | None = None
) -> ArrayDataset:
    """The data with the features of each image as further arrays, which a step gets with the image.

    batch: images on the device at once. cache: their dtype; `none` gives the data as they are, `auto` float32 up to
    `LIMIT` bytes and else nothing, so that the answer depends on the recipe and the data alone. place: a folder that
    gets the arrays as files, of which only the rows in use are read; None = they are held in memory.

    Raises:
      UserError: the files cannot be written.

    Examples:
      >>> pixels = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
      >>> data = ArrayDataset("tiny", (), ("a", "b", "c"), pixels, pixels[..., 0], np.zeros(3, np.int32))
      >>> once = lambda frozen, images: {"twice": frozen * images[:, 0, 0, 0]}
      >>> with_features(data, once, np.float32(2), batch=2).more["features/twice"].tolist()
      [0.0, 2.0, 4.0]
    """
    if cache == "auto":
        cache = "float32" if bytes_of(features, frozen, data, "float32") <= LIMIT else "none"
    if cache == "none" or not len(data):
        return data
    dtype = np.dtype(jnp.dtype(cache))
    there, call = jax.device_put(frozen), jax.jit(features)
    kept: dict[str, np.ndarray] = {}
    for start in range(0, len(data), batch):
        images = data.images[start : start + batch]
        whole = np.concatenate([images, np.repeat(images[-1:], batch - len(images), 0)])  # one shape, one compilation
        for name, found in jax.device_get(call(there, whole)).items():
            if name not in kept:
                kept[name] = _room((len(data), *found.shape[1:]), dtype, place and place / f"{len(kept)}.bin")
            kept[name][start : start + len(images)] = found[: len(images)].astype(dtype)
    return replace(data, more={**data.more, **{PREFIX + name: x for name, x in kept.items()}})


def _room(shape: tuple[int, ...], dtype: np.dtype, file: Path | None) -> np.ndarray:
    """An array in memory, or in a new file."""
    if file is None:
        return np.empty(shape, dtype)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as e:
        raise UserError(f"{file}: no room for cached features ({e.strerror or e}); set training.cache to none") from e


def at_hand(batch: Mapping[str, Any] | Batch, features: Features, frozen: Any) -> dict[str, Float[Array, "b ..."]]:
    """A batch's features in float32: those that came with it, else computed from its images.

    Examples:
      >>> once = lambda frozen, images: {"twice": frozen * images}
      >>> at_hand({"image": jnp.ones(1)}, once, 2.0)["twice"].tolist()
      [2.0]
      >>> at_hand({"image": jnp.ones(1), "features/twice": jnp.full(1, 7.0, jnp.bfloat16)}, once, 2.0)["twice"].tolist()
      [7.0]
    """
    kept = {k.removeprefix(PREFIX): jnp.asarray(v, jnp.float32) for k, v in batch.items() if k.startswith(PREFIX)}
    return kept or features(frozen, batch["image"])


def by_number(layers: Sequence[Float[ArrayLike, "b ..."]]) -> dict[str, Float[Array, "b ..."]]:
    """Layers as features, each named by its place.

    Examples:
      >>> sorted(by_number((jnp.ones((1, 2)), jnp.ones((1, 3)))))
      ['0', '1']
    """
    return {str(i): jnp.asarray(x) for i, x in enumerate(layers)}


def layers_at_hand(
    batch: Mapping[str, Any] | Batch, features: Features, frozen: Any
) -> tuple[Float[Array, "b ..."], ...]:
    """`at_hand` of features that `by_number` names, in their order.

    Examples:
      >>> once = lambda frozen, images: by_number((images, 2 * images))
      >>> [x.tolist() for x in layers_at_hand({"image": jnp.ones(1)}, once, None)]
      [[1.0], [2.0]]
    """
    found = at_hand(batch, features, frozen)
    return tuple(found[str(i)] for i in range(len(found)))

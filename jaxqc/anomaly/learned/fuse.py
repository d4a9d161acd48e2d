"""Maps of several layers as one of the image's size, at least 0 where 0 is most normal."""

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.resizing import resize, resize_align_corners
from jaxqc.types import ArrayLike

How = Literal["product", "sum", "mean"]

_JOINED: dict[str, Callable[[Any], Any]] = {
    "product": lambda x: jnp.prod(x, 0),
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(0),
}


def fuse(
    maps: tuple[Float[ArrayLike, "b _ _"], ...], how: How, height: int, width: int, aligned: bool = False
) -> Float[Array, "b {height} {width}"]:
    """Layers' maps, finest first, as one of height x width pixels (bilinear).

    how: `product`, as the geometric mean, of the layers' own unit; `sum`; `mean`. aligned: corner pixels are aligned,
    and each layer is brought to the image's size by itself; else centres lie half a pixel in, layers meet on the
    finest grid, and their map is brought to the image's size.

    Examples:
      >>> maps = jnp.full((1, 2, 2), 4.0), jnp.full((1, 1, 1), 9.0)
      >>> import jax
      >>> fused = jax.jit(fuse, static_argnums=(1, 2, 3))
      >>> [float(fused(maps, how, 4, 4).max()) for how in ("product", "sum", "mean")]
      [6.0, 13.0, 6.5]
    """
    grids = [jnp.asarray(x)[..., None] for x in maps]
    if aligned:
        whole = _JOINED[how](jnp.stack([resize_align_corners(x, height, width) for x in grids]))
    else:
        finest = grids[0].shape[1:3]
        whole = resize(_JOINED[how](jnp.stack([resize(x, *finest) for x in grids])), height, width)
    whole = jnp.maximum(whole[..., 0], 0.0)  # one less a cosine may round below 0
    return whole ** (1 / len(grids)) if how == "product" else whole

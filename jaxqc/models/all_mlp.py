"""SegFormer's head (arXiv 2105.15203): every layer by a linear map to one width, side by side, and two 1x1 more."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from jaxqc.models.dpt import Represent, logits_of, weight_init
from jaxqc.nn.conv import Norm, Pointwise, PointwiseBN
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike


class AllMlp(nn.Module):
    """Features, shallow to deep → float32 logits [n height width classes], or at the first map's size; with `both` also
    the features of places, if the head has them.

    features: width that each is brought to; published are 256 (B0, B1) and 768. Maps are brought to the first one's
    size with half-pixel centres; logits to `size` with corners aligned, as those of every head here. prior, represent:
    as of `jaxqc.models.dpt.DPT`. norm: folded = the 1x1 has a bias and no batch norm. The publication's dropout is
    left out.

    Examples:
      >>> import jax
      >>> head = AllMlp(classes=3, features=8)
      >>> features = [jnp.zeros((1, side, side, 8)) for side in (16, 8, 4, 2)]
      >>> logits, _ = jax.eval_shape(lambda key: head.init_with_output(key, features, (64, 64)), jax.random.key(0))
      >>> logits.shape
      (1, 64, 64, 3)
    """

    classes: int
    features: int = 768
    prior: tuple[float, ...] = ()
    represent: int = 0
    norm: Norm = Norm()

    @nn.compact
    def __call__(
        self, features: Sequence[Float[ArrayLike, "n _ _ _"]], size: tuple[int, int] | None = None, both: bool = False
    ) -> Any:
        dtype, (height, width) = self.norm.dtype, features[0].shape[1:3]
        maps = [
            resize(Pointwise(self.features, dtype, kernel_init=weight_init, name=f"linear{i}")(f), height, width)
            for i, f in enumerate((jnp.asarray(f, dtype) for f in features), start=1)
        ]
        x = PointwiseBN(self.features, self.norm, name="fuse")(jnp.concatenate(maps[::-1], -1))
        places = None
        if self.represent and (both or self.is_initializing()):
            places = Represent(self.represent, dtype, name="represent")(x)
        logits = logits_of(x, self.classes, self.prior, size)
        return (logits, places) if both else logits

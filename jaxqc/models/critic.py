"""Critics: networks that say whether an image is a real one, and give the features by which they do."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.autoencoder import leaky
from jaxqc.models.dcgan import Narrowing, Whole, start
from jaxqc.models.residual_gan import ResidualDown
from jaxqc.nn.conv import Conv, Norm, Pointwise
from jaxqc.types import ArrayLike

NUMBERS = 100
"""Size of a vector critic's features (1901.08954)."""
BESIDE, JOINED = 512, 1024
"""Units of a pair critic for the numbers, and for both (1802.06222)."""


class Critic(nn.Module):
    """Images in [-1, 1] [n s s c] → `logit` [n] that they are real, and `features` [n ...].

    `map`: of the last map, 4x4 (DCGAN). `vector`: of 100 numbers behind it.

    Examples:
      >>> import jax
      >>> x = jnp.zeros((2, 16, 16, 3))
      >>> out = jax.eval_shape(lambda: Critic(8).init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'features': (2, 4, 4, 16), 'logit': (2,)}
    """

    width: int = 64
    vector: bool = False
    norm: Norm = Norm()
    padding: int = 1

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n s s c"], train: bool = False) -> dict[str, Array]:
        narrowing = Narrowing(self.width, NUMBERS if self.vector else 0, self.norm, self.padding, name="narrow")
        out = narrowing(x, train)
        if not self.vector:
            return {"features": out["features"], "logit": Whole(1, name="out")(out["features"])[:, 0]}
        # Of a 3x3 kernel over one pixel, as published, only the middle sees anything.
        last = Conv(1, use_bias=False, kernel_init=start, name="out")(out["numbers"][:, None, None])
        return {"features": out["numbers"], "logit": last[:, 0, 0, 0]}


class PairCritic(nn.Module):
    """Images in [-1, 1] [n s s c] and numbers [n z] → `logit` [n] that the numbers are an encoder's, and `features`.

    The image's last map and a layer of the numbers side by side, then a layer of both (BiGAN).

    Examples:
      >>> import jax
      >>> x, z = jnp.zeros((2, 16, 16, 3)), jnp.zeros((2, 5))
      >>> out = jax.eval_shape(lambda: PairCritic(8).init_with_output(jax.random.key(0), x, z)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'features': (2, 1024), 'logit': (2,)}
    """

    width: int = 64
    norm: Norm = Norm()

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "n s s c"], z: Float[ArrayLike, "n z"], train: bool = False
    ) -> dict[str, Array]:
        seen = Narrowing(self.width, 0, self.norm, name="narrow")(x, train)["features"].reshape(x.shape[0], -1)
        beside = leaky(Pointwise(BESIDE, kernel_init=start, name="beside")(jnp.asarray(z)))
        features = leaky(Pointwise(JOINED, kernel_init=start, name="both")(jnp.concatenate([seen, beside], -1)))
        return {"features": features, "logit": Pointwise(1, kernel_init=start, name="out")(features)[:, 0]}


class ResidualCritic(nn.Module):
    """Images in [-1, 1] [n s s c] → `logit` [n], any number, and `features` [n 4 4 d], of residual blocks.

    Examples:
      >>> import jax
      >>> x = jnp.zeros((2, 16, 16, 3))
      >>> out = jax.eval_shape(lambda: ResidualCritic(8).init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'features': (2, 4, 4, 32), 'logit': (2,)}
    """

    width: int = 64

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n s s c"], train: bool = False) -> dict[str, Array]:
        out = ResidualDown(1, self.width, name="down")(x, train)
        return {"features": out["features"], "logit": out["numbers"][:, 0]}

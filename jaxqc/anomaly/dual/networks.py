"""DSR's networks by its settings, and their passes over codes that are known."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.dsr import Dsr
from jaxqc.models.codes import quantised
from jaxqc.models.dsr import MASK_WIDTH, MaskNet, ObjectDecoder, Subspace
from jaxqc.models.vq_vae import COARSE, FINE, WIDTH, VqVae
from jaxqc.types import ArrayLike, Variables

Map = Float[ArrayLike, "n _ _ _"]
MULTIPLE = 4 * COARSE
"""Pixels of which a side must be a multiple: the coarse subspace halves its map twice."""


def scaled(config: Dsr, channels: int) -> int:
    """A channel count times the recipe's factor, at least 4.

    Examples:
      >>> scaled(Dsr(width=0.125), 128)
      16
    """
    return max(4, round(config.width * channels))


def vq_vae(config: Dsr) -> VqVae:
    """The autoencoder through codes.

    Examples:
      >>> vq_vae(Dsr()).width
      128
    """
    return VqVae(scaled(config, WIDTH))


class Coded(NamedTuple):
    """An image's codes by the two maps [n h w d], coarse and fine."""

    lo: Float[Array, "n h w d"]
    hi: Float[Array, "n a b d"]


def slim(codebook: Variables) -> dict[str, Any]:
    """The trained VQ-VAE's parameters and codes, without what only its training needs.

    Examples:
      >>> books = {"lo": {"code": 1, "count": 2}, "hi": {"code": 3, "count": 4}}
      >>> slim({"params": {}, "codes": books, "textures": 5})
      {'params': {}, 'codes': {'lo': 1, 'hi': 3}}
    """
    codes = {name: codebook["codes"][name]["code"] for name in ("lo", "hi")}
    return {"params": codebook["params"], "codes": codes}


def coded(config: Dsr, codebook: Any, image: Map) -> Coded:
    """The codes of an image in [0, 1]."""
    network: Any = vq_vae(config)
    own, code = {"params": codebook["params"]}, codebook["codes"]
    fine, z = network.apply(own, image, method="encoded")
    lo = quantised(z, code["lo"])
    return Coded(lo, quantised(network.apply(own, fine, lo, method="beside"), code["hi"]))


def decoded(config: Dsr, codebook: Any, codes: Coded) -> Float[Array, "n _ _ 3"]:
    """The image of codes, defects and all."""
    image: Any = vq_vae(config).apply({"params": codebook["params"]}, *codes, method="decoded")
    return image


class Restored(NamedTuple):
    """vectors: near codes of a good image, by both maps. image: of the nearest codes. logits: that a pixel is bad."""

    vectors: Coded
    image: Float[Array, "n s t 3"]
    logits: Float[Array, "n s t"]


def restored(config: Dsr, codebook: Any, params: Any, codes: Coded, seen: Map) -> Restored:
    """Codes made normal. seen: the image of the codes as they are, beside which the mask's network sees the other.

    The mask's network does not move the others: it sees both images as they are.
    """
    run = lambda network, name, *x: network.apply({"params": params[name]}, *x)
    vectors = Coded(run(Subspace(), "lo", codes.lo), run(Subspace(), "hi", codes.hi))
    near = Coded(*(quantised(z, codebook["codes"][name]) for name, z in vectors._asdict().items()))
    network: Any = vq_vae(config)
    joined = network.apply({"params": codebook["params"]}, *near, method="joined")
    image = run(ObjectDecoder(scaled(config, MASK_WIDTH)), "decode", joined)
    both = tuple(lax.stop_gradient(x) for x in (image, jnp.asarray(seen)))
    return Restored(vectors, image, of_two(run(MaskNet(scaled(config, MASK_WIDTH)), "find", both)))


def drawn_restore(config: Dsr, key: jax.Array, size: int) -> dict[str, Any]:
    """Parameters drawn at random of the networks that make codes of images of `size` pixels normal."""
    d, (fine, coarse) = scaled(config, WIDTH), (size // FINE, size // COARSE)
    image, zeros = jnp.zeros((1, size, size, 3)), lambda side, c: jnp.zeros((1, side, side, c))
    narrow = scaled(config, MASK_WIDTH)
    parts: dict[str, tuple[Any, Any]] = {
        "lo": (Subspace(), zeros(coarse, d)),
        "hi": (Subspace(), zeros(fine, d)),
        "decode": (ObjectDecoder(narrow), zeros(fine, 2 * d)),
        "find": (MaskNet(narrow), (image, image)),
    }
    keys = jax.random.split(key, len(parts))
    return {name: one.init(own, x)["params"] for own, (name, (one, x)) in zip(keys, parts.items(), strict=True)}


def of_two(logits: Float[ArrayLike, "n h w 2"]) -> Float[Array, "n h w"]:
    """The logit of the second of two kinds.

    Examples:
      >>> of_two(jnp.array([1.0, 3.0]).reshape(1, 1, 1, 2)).item()
      2.0
    """
    logits = jnp.asarray(logits)
    return logits[..., 1] - logits[..., 0]


def finer(config: Dsr, params: Any, found: Restored, seen: Map) -> Float[Array, "n s t"]:
    """The fine mask's logits, of both images and the coarse mask. params: of that network."""
    bad = jax.nn.sigmoid(found.logits)[..., None]
    maps = (found.image, jnp.asarray(seen), jnp.concatenate([1 - bad, bad], -1))
    logits: Any = MaskNet(scaled(config, MASK_WIDTH)).apply({"params": params}, maps)
    return of_two(logits)

"""The frozen backbone: weights from a file, batch norm folded, uint8 images in, layer features out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.base import BackboneConfig, Image, Layers, Shapes, shapes_of
from jaxqc.anomaly.ops.filters import filter_layers, path_layers
from jaxqc.data.augment.geometry import to_float
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.models.backbones import build
from jaxqc.models.dinov2 import VITS, build_vit
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD
from jaxqc.types import ArrayLike, Variables
from jaxqc.weights.load import load_weights


def pixel_layer(images: Float[ArrayLike, "b h w 3"], layers: Sequence[int]) -> dict[str, Float[Array, "b h w 3"]]:
    """The image itself in [0, 1], from grey levels, as the one layer that there is.

    Examples:
      >>> pixel_layer(jnp.full((1, 1, 1, 3), 51.0), (1,))["layer1"].round(3).ravel().tolist()
      [0.20000000298023224, 0.20000000298023224, 0.20000000298023224]
    """
    return {"layer1": jnp.asarray(images) / 255.0}


PIXELS = "pixels"
FIXED: dict[str, Callable[..., dict[str, Any]]] = {"filters": filter_layers, "paths": path_layers, PIXELS: pixel_layer}
"""Backbones without weights, by name: (images in grey levels [b h w 3], layers) → features by `layerN`."""


def check_pixels(name: str) -> None:
    """Checks the backbone of a detector that sees the image itself.

    Raises:
      UserError: it is another one.

    Examples:
      >>> check_pixels("pixels")
    """
    if name != PIXELS:
        raise UserError(
            f"backbone.name={name}: this detector sees the image itself; take --backbone.name {PIXELS}"
            " --backbone.layers 1"
        )


@dataclass(frozen=True)
class Backbone:
    """Variables (folded, on the host) and the function that applies them."""

    variables: Variables
    apply: Callable[[Variables, Any], Layers]
    """(variables, uint8 images [b h w 1 or 3]) → layer features, finest first, float32."""
    source: dict[str, Any]
    """Name and SHA-256 of the weights' file."""
    report: LoadReport | None = None

    def shapes(self, size: Size) -> Shapes:
        """[h w c] of each layer for images of `size` pixels."""
        image = jax.ShapeDtypeStruct((1, *sides(size), 3), jnp.uint8)
        return shapes_of(jax.eval_shape(self.apply, self.variables, image))


def apply_function(
    config: BackboneConfig,
    embed: Callable[[Layers, Image], Any] = lambda layers, image: layers,
    views: Callable[[Float[Array, "b h w 3"]], tuple[Float[Array, "b _ _ 3"], ...]] | None = None,
) -> Callable[[Variables, Any], Any]:
    """The backbone of a recipe as a pure function of folded variables and uint8 images, which gives its layers.

    embed: what to make of layers and normalised images, image by image: then the halves (`by_halves`) meet after it,
    where they are smaller than whole layers. views: of images in [0, 1], those that the backbone sees instead; the
    layers are then those of the first one, of the second one, and so on.
    """
    if len(names := config.parts) > 1:
        parts = {name: apply_function(replace(config, name=name)) for name in names}

        def several(variables: Variables, images: UInt8[ArrayLike, "b h w c"]) -> Any:
            layers = tuple(x for name, part in parts.items() for x in part(variables.get(name, {}), images))
            return embed(layers, normalised(images))

        return several
    see = seeing(config, views)

    def apply(variables: Variables, images: UInt8[ArrayLike, "b h w c"]) -> Any:
        image = to_float(images)
        return embed(see(variables, image), _standard(image))

    # filters are no kernels of which there are too many for the cores
    return apply if config.name in FIXED else by_halves(apply)


def seeing(
    config: BackboneConfig,
    views: Callable[[Float[Array, "b h w 3"]], tuple[Float[Array, "b _ _ 3"], ...]] | None = None,
) -> Callable[[Variables, Float[Array, "b h w 3"]], Layers]:
    """One network's layers as a function of its folded variables and of images in [0, 1].

    views: as of `apply_function`.

    Examples:
      >>> see = seeing(BackboneConfig("filters", layers=(1,)), lambda image: (image, image[:, ::2, ::2]))
      >>> [x.shape[1] for x in jax.eval_shape(see, {}, jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32))]
      [4, 2]
    """
    layers = tuple(sorted(set(config.layers)))
    if views is None and config.scales != (1.0,):
        views = partial(at_scales, scales=config.scales)
    fixed = FIXED.get(config.name)
    network: Any = None if fixed else _network(config, layers)
    names = [f"block{i - 1}" if config.name in VITS else f"layer{i}" for i in layers]

    def see(variables: Variables, image: Float[Array, "b h w 3"]) -> Layers:
        shown = (image,) if views is None else views(image)
        found = [fixed(255 * x, layers) if fixed else network.apply(variables, _standard(x)) for x in shown]
        return tuple(out[name].astype(jnp.float32) for out in found for name in names)

    return see


def at_scales(image: Float[Array, "b h w 3"], scales: Sequence[float]) -> tuple[Float[Array, "b _ _ 3"], ...]:
    """Images at these shares of their size (bilinear with antialiasing).

    Examples:
      >>> half, whole = at_scales(jnp.arange(12.0).reshape(1, 1, 4, 3), (0.5, 1.0))
      >>> half.shape, whole.shape
      ((1, 1, 2, 3), (1, 1, 4, 3))
    """
    size = lambda scale: tuple(max(1, round(side * scale)) for side in image.shape[1:3])
    resized = lambda scale: jax.vmap(lambda x: jax.image.resize(x, (*size(scale), 3), "linear"))(image)
    return tuple(image if scale == 1 else resized(scale) for scale in scales)


def plain(image: Float[ArrayLike, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Normalised pixels back in [0, 1], but for rounding.

    Examples:
      >>> plain(normalised(jnp.full((1, 1, 1, 3), 51, jnp.uint8))).round(3).ravel().tolist()
      [0.20000000298023224, 0.20000000298023224, 0.20000000298023224]
    """
    return jnp.asarray(image) * jnp.asarray(IMAGENET_STD) + jnp.asarray(IMAGENET_MEAN)


def _network(config: BackboneConfig, layers: tuple[int, ...]) -> Any:
    """The network that gives these layers by name."""
    if config.name in VITS:
        return build_vit(config.name, config.dtype, blocks=[i - 1 for i in layers], tokens=config.tokens)
    return build(config.name, layers, dtype=config.dtype, folded=True)


def by_halves(apply: Callable[[Variables, Any], Any]) -> Callable[[Variables, Any], Any]:
    """A function of variables and a batch that, on CPU, takes the two halves of an even batch of four or more apart.

    A batch is an array or a pytree of such, image by image.

    Both halves stand in one program, where the runtime works on them side by side (docs/throughput): fewer kernels
    have to be divided among the cores and waited for.
    """

    def halves(variables: Variables, batch: Any) -> Any:
        half = jax.tree.leaves(batch)[0].shape[0] // 2
        cuts = (slice(None, half), slice(half, None))
        parts = [apply(variables, jax.tree.map(lambda x, cut=cut: x[cut], batch)) for cut in cuts]
        return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)

    def choose(variables: Variables, batch: Any) -> Any:
        n = jax.tree.leaves(batch)[0].shape[0]
        if is_symbolic_dim(n) or n < 4 or n % 2:
            return apply(variables, batch)
        return lax.platform_dependent(variables, batch, cpu=halves, default=apply)

    return choose


def normalised(images: UInt8[ArrayLike, "b h w c"]) -> Float[Array, "b h w 3"]:
    """Pixels as networks trained on ImageNet expect them; grey images are repeated over three channels."""
    return _standard(to_float(images))


def _standard(image: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h w 3"]:
    return (jnp.asarray(image) - jnp.asarray(IMAGENET_MEAN)) / jnp.asarray(IMAGENET_STD)


def load_backbone(config: BackboneConfig) -> Backbone:
    """The backbone with the weights of its file (see `BackboneConfig.weights`).

    Raises:
      UserError: no such file, or it lacks what the layers need.
    """
    if len(names := config.parts) > 1:
        return _several(config, names)
    if config.name in FIXED:
        if config.weights:
            raise UserError(f"backbone.weights={config.weights!r}: {config.name} has none; leave it out")
        if config.name == PIXELS and set(config.layers) != {1}:
            raise UserError(f"backbone.layers={config.layers!r}: pixels are one layer; set --backbone.layers 1")
        about = {"model": config.name, "source": "fixed, without weights", "sha256": ""}
        return Backbone({}, apply_function(config), about)
    source = config.weights or config.name.removesuffix("_cbam")
    if config.name in VITS:
        weights = load_weights(source, config.name)
        return Backbone(weights.variables, apply_function(config), weights.meta(), weights.report)
    weights = load_weights(source, config.name, sorted(set(config.layers)))
    return Backbone(weights.folded(), apply_function(config), weights.meta(), weights.report)


def _several(config: BackboneConfig, names: tuple[str, ...]) -> Backbone:
    """The parts beside one another; a file of weights is that of the one network among them, a folder has all."""
    networks, folder = [name for name in names if name not in FIXED], Path(config.weights)
    whole = bool(config.weights) and folder.is_dir()
    if config.weights and len(networks) != 1 and not whole:
        raise UserError(
            f"backbone.weights={config.weights!r}: one file for {len(networks)} networks; leave it out, or give a"
            f" folder that has {', '.join(f'{name}.npz' for name in networks)}"
        )
    given = lambda name: str(folder / f"{name}.npz") if whole else config.weights
    weights = lambda name: given(name) if name in networks else ""
    parts = {name: load_backbone(replace(config, name=name, weights=weights(name))) for name in names}
    join = lambda key: " + ".join(str(part.source[key]) for part in parts.values() if part.source[key])
    variables = {name: part.variables for name, part in parts.items() if part.variables}
    source = {"model": config.name, "source": join("source"), "sha256": join("sha256")}
    report = next((part.report for part in parts.values() if part.report), None)
    return Backbone(variables, apply_function(config), source, report)

"""A flow over the layers of a backbone: what enters it, its chains of couplings, and their inverse."""

from itertools import pairwise
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.flow import FlowConfig
from jaxqc.anomaly.flow.coupling import Conditions, Dets, Grids, OneSided, TwoSided
from jaxqc.anomaly.flow.subnets import Cross, Fusion, Perceptron
from jaxqc.errors import UserError


class Step(NamedTuple):
    """A coupling's layers, its place in its chain, and True where it joins layers that came alone so far."""

    layers: tuple[int, ...]
    place: int
    fuses: bool = False


def plan(config: FlowConfig, layers: int) -> tuple[Step, ...]:
    """The couplings of a flow over so many layers, in their order.

    Raises:
      UserError: numbers of couplings for another number of layers.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import FastFlow
      >>> [step.layers for step in plan(FastFlow(blocks=(2, 1)), 2)]
      [(0,), (0,), (1,)]
    """
    chains = 1 if config.together == "cross" else layers
    if len(config.blocks) not in (1, chains):
        raise UserError(f"detector.blocks={config.blocks!r}: {chains} chains; give one number, or one a layer")
    blocks = config.blocks * chains if len(config.blocks) == 1 else config.blocks
    whole = tuple(range(layers))
    each = [whole] if config.together == "cross" else [(i,) for i in whole]
    steps = [Step(part, k) for part, count in zip(each, blocks, strict=True) for k in range(count)]
    return (*steps, Step(whole, 0, fuses=True)) if config.together == "fusion" else tuple(steps)


def entering(config: FlowConfig, layers: Grids) -> tuple[Float[Array, "b _ _ _"], ...]:
    """A backbone's layers as the flow takes them: pooled, and each image's normalised over cells and channels.

    Means of whole layers stand side by side as channels of one cell, and an image's turns as cells of a row.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import FastFlow
      >>> x, = entering(FastFlow(), (jnp.arange(8.0).reshape(1, 2, 2, 2),))
      >>> x.shape, abs(float(x.mean())) < 1e-6, round(float(x.std()), 3)
      ((1, 2, 2, 2), True, 1.0)
    """
    xs = tuple(map(jnp.asarray, layers))
    if config.pool == "mean":
        each = len(xs) // config.turns
        means = [x.mean((1, 2), keepdims=True) for x in xs]
        turned = [jnp.concatenate(means[i : i + each], -1) for i in range(0, len(means), each)]
        xs = (jnp.concatenate(turned, 2),)
    elif config.pool == "half":
        padding: Any = ((1, 1), (1, 1))  # Flax takes pairs, too, and its annotation names words alone
        xs = tuple(nn.avg_pool(x, (3, 3), (2, 2), padding) for x in xs)
    return tuple(map(_normalised, xs)) if config.norm else xs


def _normalised(x: jax.Array) -> jax.Array:
    mean, variance = x.mean((1, 2, 3), keepdims=True), x.var((1, 2, 3), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5)


def conditions(config: FlowConfig, layers: Grids) -> Conditions:
    """The position of each cell as sines and cosines, in two parts that broadcast: its column's and its row's.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import Cflow
      >>> [part.shape for part in conditions(Cflow(), (jnp.zeros((2, 4, 8, 16)),))[0]]
      [(1, 1, 8, 64), (1, 4, 1, 64)]
    """
    if not config.condition:
        return ((),) * len(layers)
    half = config.condition // 2
    columns = tuple(jnp.asarray(waves(x.shape[2], half))[None, None] for x in layers)
    rows = tuple(jnp.asarray(waves(x.shape[1], half))[None, :, None] for x in layers)
    return tuple(zip(columns, rows, strict=True))


def waves(places: int, width: int) -> np.ndarray:
    """Sines and cosines in turn of 0, 1, ... at wavelengths from 2π to 20,000 π, float32 [places width].

    Examples:
      >>> waves(2, 4).round(3).tolist()
      [[0.0, 1.0, 0.0, 1.0], [0.8410000205039978, 0.5400000214576721, 0.009999999776482582, 1.0]]
    """
    angle = np.arange(places)[:, None] * 1e4 ** -(np.arange(0, width, 2) / width)
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(places, width).astype(np.float32)


class Flow(nn.Module):
    """The couplings of `plan` over layers of these channels: `__call__` gives z and ln|det| a cell, `inverse` features.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import FastFlow
      >>> flow, x = Flow(FastFlow(), (6,)), jnp.ones((1, 3, 3, 6))
      >>> (((z,), _), _) = jax.eval_shape(flow.init_with_output, jax.random.key(0), (x,), ((),))
      >>> z.shape
      (1, 3, 3, 6)
    """

    config: FlowConfig
    channels: tuple[int, ...]

    def setup(self) -> None:
        self.steps = plan(self.config, len(self.channels))
        self.couplings = [self._coupling(step) for step in self.steps]

    def __call__(self, xs: Grids, conditions: Conditions) -> tuple[Grids, Dets]:
        dets: list[Any] = [jnp.zeros(())] * len(xs)
        values = list(xs)
        for step, coupling in zip(self.steps, self.couplings, strict=True):
            given = tuple(values[i] for i in step.layers), tuple(conditions[i] for i in step.layers)
            for i, y, det in zip(step.layers, *coupling(*given), strict=True):
                values[i], dets[i] = y, dets[i] + det
        return tuple(values), tuple(dets)

    def inverse(self, zs: Grids, conditions: Conditions) -> Grids:
        values = list(zs)
        for step, coupling in zip(self.steps[::-1], self.couplings[::-1], strict=True):
            given = tuple(values[i] for i in step.layers), tuple(conditions[i] for i in step.layers)
            for i, x in zip(step.layers, coupling.inverse(*given), strict=True):
                values[i] = x
        return tuple(values)

    def _coupling(self, step: Step) -> Any:
        config, channels = self.config, tuple(self.channels[i] for i in step.layers)
        first = tuple(c // 2 for c in channels)
        second = tuple(c - c // 2 for c in channels)
        how = {"clamp": config.clamp, "permutation": config.permutation, "index": step.place}
        if config.coupling == "one_sided" and not step.fuses:
            net = self._subnet(step, second, tuple(2 * c for c in first))
            return OneSided(net, channels, **how)
        by_first = self._subnet(step, first, tuple(2 * c for c in second))
        return TwoSided(by_first, self._subnet(step, second, tuple(2 * c for c in first)), **how)

    def _subnet(self, step: Step, entering: tuple[int, ...], leaving: tuple[int, ...]) -> nn.Module:
        config = self.config
        if step.fuses:
            return Fusion(leaving)
        kernel = config.kernels[step.place % len(config.kernels)]
        if config.subnet == "cross":
            return Cross(leaving, config.width, kernel)
        hidden = config.width or int(config.hidden * (entering[0] + config.condition))
        kind = config.subnet
        return Perceptron(leaving[0], (hidden,) * config.depth, kernel, kind == "conv_norm", kind == "conv_edge")


def flow_of(config: FlowConfig, shapes: tuple[tuple[int, int, int], ...]) -> Flow:
    """The flow over a backbone's layers of these shapes [h w c].

    Raises:
      UserError: numbers of couplings for another number of layers; for `cross`, layers that do not halve their sides.
    """
    grids = tuple(jax.ShapeDtypeStruct((1, *shape), jnp.float32) for shape in shapes)
    entered = jax.eval_shape(lambda xs: entering(config, xs), grids)
    if config.together == "cross":
        for fine, coarse in pairwise(x.shape[1:3] for x in entered):
            if coarse != tuple(-(-side // 2) for side in fine):
                raise UserError(
                    f"detector.together=cross: layers of {fine} and {coarse} cells; each must halve the last"
                )
    plan(config, len(entered))
    return Flow(config, tuple(x.shape[-1] for x in entered))

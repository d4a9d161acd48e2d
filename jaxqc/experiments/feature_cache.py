"""A backbone's features of many samples, computed once for all fits that use them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.features import Backbone, load_backbone
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig
from jaxqc.data.dataset import Sample
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.weights.load import load_weights

Batch = tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]
"""Features of each layer [b h w c], masks [b s s] and each sample's number (-1 = padding)."""


@dataclass(frozen=True)
class LayeredBackbone:
    """A backbone with every layer that its weights have."""

    backbone: Backbone
    layers: tuple[int, ...]
    channels: dict[int, int]

    def lacks(self, config: FitConfig) -> str:
        """The reason why a cell cannot be measured with it; "" if it can."""
        if config.trains:
            return f"{config.name} is trained on images; fit it by jaxqc fit"
        absent = [str(i) for i in config.backbone.layers if i not in self.layers]
        if absent:
            return f"the weights have no layer {', '.join(absent)}"
        total = sum(self.channels[i] for i in config.backbone.layers)
        if isinstance(config.detector, Gaussian) and config.detector.channels > total:
            return f"its layers have {total} channels"
        return ""


def load_network(config: BackboneConfig) -> LayeredBackbone:
    """The backbone of a recipe with all layers of its file.

    Raises:
      UserError: no such file, or one that does not fit.
    """
    source = config.weights or config.name.removesuffix("_cbam")
    layers = tuple(load_weights(source, config.name).layers)
    backbone = load_backbone(replace(config, layers=layers))
    return LayeredBackbone(backbone, layers, dict(zip(layers, (c for _, _, c in backbone.shapes(64)), strict=True)))


class Features:
    """Layer features of samples: computed once and kept on disk, or computed anew each time where they take too much.

    limit: most bytes on disk. done: takes images as they pass the backbone.
    """

    def __init__(
        self,
        network: LayeredBackbone,
        samples: Sequence[Sample],
        size: Size,
        batch: int,
        folder: Path,
        limit: float,
        done: Callable[[int], None] = lambda n: None,
    ) -> None:
        self.network, self.size, self.batch, self._done = network, size, batch, done
        self._variables = jax.tree.map(jax.numpy.asarray, network.backbone.variables)
        self._apply = jax.jit(network.backbone.apply)
        shapes = network.backbone.shapes(size)
        self._at = {s.id: i for i, s in enumerate(samples)}
        self._kept: list[np.ndarray] | None = None
        if 4 * len(samples) * sum(map(math.prod, shapes)) > limit:
            return
        kept = [
            np.lib.format.open_memmap(folder / f"layer{i}.npy", "w+", np.float32, (len(samples), *shape))
            for i, shape in zip(network.layers, shapes, strict=True)
        ]
        self._masks = np.zeros((len(samples), *sides(size)), np.uint8)
        for layers, masks, number in self._computed(samples):
            used = number >= 0
            for array, values in zip(kept, layers, strict=True):
                array[number[used]] = values[used]
            self._masks[number[used]] = masks[used]
        self._kept = kept

    def shapes(self, layers: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
        """[h w c] of some layers."""
        whole = self.network.backbone.shapes(self.size)
        return tuple(whole[self.network.layers.index(i)] for i in sorted(layers))

    def batches(self, samples: Sequence[Sample], layers: Sequence[int]) -> Iterator[Batch]:
        """Whole batches, the last one padded, finest layer first.

        Raises:
          UserError: a file cannot be used.
        """
        places = [self.network.layers.index(i) for i in sorted(layers)]
        if self._kept is None:
            for features, masks, number in self._computed(samples):
                yield tuple(features[i] for i in places), masks, number
            return
        rows = np.array([self._at[s.id] for s in samples])
        for start in range(0, len(rows), self.batch):
            part = rows[start : start + self.batch]
            padded = np.concatenate([part, np.repeat(part[-1:], self.batch - len(part))])
            number = np.where(np.arange(self.batch) < len(part), start + np.arange(self.batch), -1).astype(np.int32)
            yield tuple(self._kept[i][padded] for i in places), self._masks[padded], number

    def _computed(self, samples: Sequence[Sample]) -> Iterator[Batch]:
        bad: list[str] = []
        for images, masks, number in load_batches(samples, self.size, self.batch, bad):
            yield tuple(np.asarray(x) for x in self._apply(self._variables, images)), masks, number
            self._done(int((number >= 0).sum()))
        if bad:
            raise UserError(f"{bad[0]}; {len(bad)} unusable of {len(samples)}; --data.skip-bad leaves them out")

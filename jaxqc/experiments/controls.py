"""Controls: a detector without what it learned, so that a figure says how much of it was learned."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import jax
import numpy as np

from jaxqc.anomaly.detectors.base import TrainingConfig, is_trained
from jaxqc.anomaly.features import Backbone, load_backbone
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.errors import UserError

STILL = 1e-12
"""A learning rate by which nothing moves."""


def untrained(settings: Any) -> Any:
    """A detector's settings with each training in them cut to one epoch in which nothing moves.

    Codes that are means of what they are given (`dsr`) move all the same: they have no rate.

    Examples:
      >>> from jaxqc.anomaly.detectors import Ast
      >>> still = untrained(Ast())
      >>> still.training.epochs, still.flow.training.optim.lr, still.width
      (1.0, 1e-12, 1024)
    """
    if isinstance(settings, TrainingConfig):
        optim = replace(settings.optim, lr=STILL, floor=0.0, warmup_epochs=0.0)
        return replace(settings, epochs=1.0, optim=optim)
    if not is_dataclass(settings) or isinstance(settings, type):
        return settings
    values = {f.name: getattr(settings, f.name) for f in fields(settings) if f.init}
    return replace(settings, **{name: untrained(value) for name, value in values.items()})


def at_random(backbone: Backbone, seed: int) -> Backbone:
    """A backbone whose kernels are drawn anew (He et al., 2015), with biases and means 0 and scales 1.

    Examples:
      >>> from jaxqc.anomaly.detectors.base import BackboneConfig
      >>> drawn = at_random(load_backbone(BackboneConfig("pixels", layers=(1,))), 0)
      >>> len(drawn.variables)
      0
    """
    rng = np.random.default_rng(seed)

    def draw(path: Any, x: Any) -> np.ndarray:
        name, shape = str(getattr(path[-1], "key", "")), np.shape(x)
        if len(shape) < 2:
            return np.full(shape, float(name in ("scale", "var")), np.float32)
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype(np.float32)

    return replace(backbone, variables=jax.tree_util.tree_map_with_path(draw, dict(backbone.variables)))


def control(config: FitConfig) -> tuple[FitConfig, Backbone | None]:
    """The recipe of a detector's control, and its backbone where that is another: untrained, or with drawn features.

    Raises:
      UserError: nothing of it is learned: it is not trained, and its features have no weights.
    """
    detector = config.detector.on(config.backbone) if hasattr(config.detector, "on") else config.detector
    if is_trained(detector):
        return replace(config, detector=untrained(config.detector)), None
    backbone = load_backbone(config.backbone)
    if not jax.tree.leaves(backbone.variables):
        raise UserError(f"backbone.name={config.backbone.name}: its features have no weights, so there is no control")
    return config, at_random(backbone, config.seed)

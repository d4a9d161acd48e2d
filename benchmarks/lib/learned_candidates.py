"""Our learned detectors as programs that are ready to be timed: scoring, and the loop's own step from images or from
cached features. A part of learned.py."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Candidate, compile_timed
from benchmarks.lib.networks import random_variables
from jaxqc.anomaly.detectors import DETECTORS
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.features import Backbone, apply_function
from jaxqc.anomaly.flow.coupling import GAIN
from jaxqc.anomaly.learned.cache import Cache, with_features
from jaxqc.anomaly.recipe import FitConfig, FitDataConfig
from jaxqc.anomaly.training import training_config
from jaxqc.data.dataset import ArrayDataset
from jaxqc.models import backbones
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.training import state as states
from jaxqc.training.optim import make_optimizer, make_schedule
from jaxqc.training.parallel import make_parallel
from jaxqc.training.step import make_step

STEPS = 1_000_000
"""Length of the schedule; no benchmark comes to its end."""


@dataclass(frozen=True)
class Member:
    """A detector on a backbone, as both sides run it.

    changed: settings that differ from the detector's own. batches: of a training step, where not any will do; () = any.
    """

    detector: str
    backbone: str
    layers: tuple[int, ...] = (1, 2, 3)
    changed: dict[str, Any] = field(default_factory=dict)
    batches: tuple[int, ...] = ()


MEMBERS = {
    "stfpm": Member("stfpm", "resnet18"),
    "rd4ad": Member("rd4ad", "resnet18"),
    "fastflow": Member("fastflow", "resnet18"),
    "cflow": Member("cflow", "resnet18", (2, 3, 4), {"cells": 0}),
    "efficient_ad": Member("efficient_ad", "pdn_small", (1,), batches=(1,)),
    "rd4ad_resnet50": Member("rd4ad", "resnet50"),
    "rd4ad_wide": Member("rd4ad", "wide_resnet50_2"),
}
"""By the name of a row's model. CFLOW's step takes every cell once, as the peer's does. The peer trains EfficientAD
with one image alone."""


class Ours:
    """A member at one size and batch: its random variables and its candidates.

    `compile_s` fills as they are made, under `score` and the names of caches.
    """

    def __init__(self, member: Member, images: np.ndarray, dtype: Any = "float32") -> None:
        self.images, size = images, images.shape[1]
        teacher = BackboneConfig(member.backbone, layers=member.layers, dtype=dtype)
        settings = replace(DETECTORS[member.detector](), **member.changed)
        settings = replace(settings, training=replace(settings.training, batch=len(images)))
        self.config = FitConfig(settings, teacher, FitDataConfig(size=size), batch=len(images))
        self.detector: Any = self.config.ready
        self.compile_s: dict[str, float] = {}
        self.frozen_network = jax.tree.map(jnp.asarray, _folded(member))

    @cached_property
    def method(self) -> Any:
        """The training, with what it measures on the images."""
        apply = apply_function(self.config.backbone)
        backbone = Backbone(jax.device_get(self.frozen_network), apply, {"sha256": ""})
        method: Any = self.detector.method(backbone, self.images.shape[1])
        measured = getattr(method, "measured", None)
        return measured(self.data, len(self.images)) if measured else method

    @cached_property
    def data(self) -> ArrayDataset:
        n, size = self.images.shape[:2]
        masks, ids = np.zeros((n, size, size), np.uint8), tuple(map(str, range(n)))
        return ArrayDataset("noise", (), ids, self.images, masks, np.zeros(n, np.int32))

    @cached_property
    def variables(self) -> dict[str, Any]:
        """Trainable and running ones, drawn by NumPy: a real initialisation would compile for half a minute."""
        method = self.method  # made here: inside of `random_variables` nothing can be measured
        drawn = random_variables(SimpleNamespace(init=lambda key, image, **_: method.init(key)), seed=1)
        return jax.tree_util.tree_map_with_path(_with_gain, drawn)

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(x.size for x in jax.tree.leaves(self.variables["params"]))

    @cached_property
    def state(self) -> Any:
        """The state that scores, of these variables."""
        return jax.tree.map(jnp.asarray, self.detector.trained({**self.variables, **(self.method.frozen() or {})}))

    @cached_property
    def scores(self) -> Callable[..., Any]:
        """State, frozen variables, uint8 images → maps and scores, as `AnomalyModel` compiles it; no mask."""
        embed = apply_function(self.config.backbone, self.detector.embed, getattr(self.detector, "views", None))
        whole = lambda state, v, images: self.detector.score(state, embed(v, images), self.images.shape[1])
        compiled, self.compile_s["score"] = compile_timed(jax.jit(whole), self.state, self.frozen_network, self.images)
        return compiled

    def score(self) -> Candidate:
        """Scoring of the images, which lie on the device."""
        given = self.scores, self.state, self.frozen_network, jnp.asarray(self.images)
        return Candidate(partial(*given))

    def step(self, cache: Cache) -> Candidate:
        """The loop's step on a batch that lies on the device, and its features where `cache` names a dtype."""
        parallel, recipe = make_parallel(devices=1), training_config(self.config, self.detector, "")
        frozen = self.method.frozen()
        optimizer, schedule = make_optimizer(recipe.optim), make_schedule(recipe.optim, STEPS)
        # In place of a real initialisation, which takes the compiler a minute.
        given = SimpleNamespace(init=lambda key: dict(self.variables), init_extra=self.method.init_extra)
        host = jax.device_get(jax.jit(lambda key: states.create(given, optimizer, key))(jax.random.key(0)))  # type: ignore[arg-type]
        state = parallel.replicate(dataclasses.replace(host, frozen=frozen))
        data = with_features(self.data, self.method.features, frozen, len(self.images), cache)
        batch = {"image": data.images, "mask": data.masks, "label": data.labels, **data.more}
        batch = parallel.shard(batch | {"weight": np.ones(len(data), np.float32)})
        step = make_step(self.method, optimizer, schedule, self.images.shape[1])
        call = parallel.map(lambda state, batch, seed: step(state, batch, jax.random.key(seed)), donate=(0,))
        seed, held = parallel.replicate(np.uint32(0)), [state]
        compiled, self.compile_s[cache] = compile_timed(call, state, batch, seed)

        def run() -> Any:
            held[0], logs = compiled(held[0], batch, seed)
            return logs["loss"]

        return Candidate(run)


def _with_gain(path: Any, x: Any) -> np.ndarray:
    """A coupling's gain of 1, and all else as drawn: a parameter of 1 is a gain of a fifth, and eight leave nothing."""
    coupling = len(path) > 1 and path[-2].key.startswith("couplings_") and path[-1].key == "scale"
    return np.full_like(x, GAIN) if coupling else np.asarray(x)


def _folded(member: Member) -> dict[str, Any]:
    """Random variables of the frozen network, batch norm folded in."""
    network = backbones.build(member.backbone, member.layers)
    drawn = random_variables(network, train=False)
    return fold_batch_norm(drawn, backbones.family(member.backbone).epsilon)

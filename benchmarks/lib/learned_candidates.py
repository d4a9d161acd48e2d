"""Our learned detectors as programs that are ready to be timed: scoring, and the loop's own step from images or from
cached features. A part of learned.py."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.lib.common import Candidate, compile_timed
from benchmarks.lib.networks import random_variables
from benchmarks.peers.served import IMAGES, LEARNED
from jaxqc.anomaly.detectors import DETECTORS
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.stage import stages_of
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
    stage: the training whose step is timed, where there are several; "" = the last one. server: the peer's.
    """

    detector: str
    backbone: str
    layers: tuple[int, ...] = (1, 2, 3)
    changed: dict[str, Any] = field(default_factory=dict)
    batches: tuple[int, ...] = ()
    stage: str = ""
    server: Path = LEARNED

    @property
    def sees_pixels(self) -> bool:
        """True where no frozen network stands before it."""
        return self.backbone == "pixels"


def _of_images(detector: str, batches: tuple[int, ...] = (), stage: str = "") -> Member:
    return Member(detector, "pixels", (1,), batches=batches, stage=stage, server=IMAGES)


MEMBERS = {
    "stfpm": Member("stfpm", "resnet18"),
    "rd4ad": Member("rd4ad", "resnet18"),
    "fastflow": Member("fastflow", "resnet18"),
    "cflow": Member("cflow", "resnet18", (2, 3, 4), {"cells": 0}),
    "efficient_ad": Member("efficient_ad", "pdn_small", (1,), batches=(1,)),
    "rd4ad_resnet50": Member("rd4ad", "resnet50"),
    "rd4ad_wide": Member("rd4ad", "wide_resnet50_2"),
    "conv_ae": _of_images("conv_ae"),
    "draem": _of_images("draem", (1, 2)),
    "ganomaly": _of_images("ganomaly", (2, 8)),
    "dsr": _of_images("dsr", (1, 2), "restore"),
}
"""By the name of a row's model. CFLOW's step takes every cell once, as the peer's does. The peer trains EfficientAD
with one image alone. GANomaly's batch norm at one pixel needs two images, and both of DRAEM's networks much memory."""


class Ours:
    """A member at one size and batch: its random variables and its candidates.

    `compile_s` fills as they are made, under `score` and the names of caches.
    """

    def __init__(self, member: Member, images: np.ndarray, dtype: Any = "float32") -> None:
        self.images, self.member, size = images, member, images.shape[1]
        teacher = BackboneConfig(member.backbone, layers=member.layers, dtype=dtype)
        settings = replace(DETECTORS[member.detector](), **member.changed)
        name = member.stage or "training"
        settings = replace(settings, **{name: replace(getattr(settings, name), batch=len(images))})
        self.config = FitConfig(settings, teacher, FitDataConfig(size=size), batch=len(images))
        self.detector: Any = self.config.ready
        self.compile_s: dict[str, float] = {}
        self.frozen_network = {} if member.sees_pixels else jax.tree.map(jnp.asarray, folded(member))

    @cached_property
    def methods(self) -> dict[str, Any]:
        """The trainings by their stages' names, the last one as "": each with drawn variables of those before."""
        apply = apply_function(self.config.backbone)
        backbone = Backbone(jax.device_get(self.frozen_network), apply, {"sha256": ""})
        known: dict[str, Any] = {}
        found: dict[str, Any] = {}
        for name, each in {**{stage.name: stage for stage in stages_of(self.detector)}, "": self.detector}.items():
            method: Any = each.method(backbone, self.images.shape[1])
            method = method.after(known) if known else method
            measured = getattr(method, "measured", None)
            found[name] = measured(self.data, len(self.images)) if measured else method
            if name:
                known[name] = {**_drawn(found[name]), **(found[name].frozen() or {})}
        return found

    @property
    def method(self) -> Any:
        """The training whose step is timed, with what it measures on the images."""
        return self.methods[self.member.stage]

    @cached_property
    def data(self) -> ArrayDataset:
        n, size = self.images.shape[:2]
        masks, ids = np.zeros((n, size, size), np.uint8), tuple(map(str, range(n)))
        return ArrayDataset("noise", (), ids, self.images, masks, np.zeros(n, np.int32))

    @cached_property
    def variables(self) -> dict[str, Any]:
        """Trainable and running ones of that training."""
        return _drawn(self.method)

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(x.size for x in jax.tree.leaves(self.variables["params"]))

    @cached_property
    def state(self) -> Any:
        """The state that scores, of these variables."""
        last = self.methods[""]
        variables = _drawn(last) if self.member.stage else self.variables
        return jax.tree.map(jnp.asarray, self.detector.trained({**variables, **(last.frozen() or {})}))

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
        stages: dict[str, Any] = {stage.name: stage for stage in stages_of(self.detector)}
        timed = stages.get(self.member.stage, self.detector)
        parallel, recipe = make_parallel(devices=1), training_config(self.config, timed, "")
        frozen = self.method.frozen()
        optimizer, schedule = make_optimizer(recipe.optim), make_schedule(recipe.optim, STEPS)
        # In place of a real initialisation, which takes the compiler a minute.
        given = SimpleNamespace(init=lambda key: dict(self.variables), init_extra=self.method.init_extra)
        host = jax.device_get(jax.jit(lambda key: states.create(given, optimizer, key))(jax.random.key(0)))  # type: ignore[arg-type]
        state = parallel.replicate(dataclasses.replace(host, frozen=frozen))
        features = getattr(self.method, "features", None)
        data = with_features(self.data, features, frozen, len(self.images), cache) if features else self.data
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


def _drawn(method: Any) -> dict[str, Any]:
    """A training's variables, drawn by NumPy: a real initialisation would compile for half a minute.

    Codes differ, since all alike would be no work. A coupling's gain is 1; as drawn it is a fifth, and eight leave 0.
    """
    drawn = random_variables(SimpleNamespace(init=lambda key, image, **_: method.init(key)), seed=1)
    rng = np.random.default_rng(1)

    def own(path: Any, x: Any) -> np.ndarray:
        if path[-1].key == "code":
            return rng.normal(0, 0.1, np.shape(x)).astype(np.float32)
        coupling = len(path) > 1 and path[-2].key.startswith("couplings_") and path[-1].key == "scale"
        return np.full(np.shape(x), GAIN, np.float32) if coupling else np.asarray(x, np.float32)

    return jax.tree_util.tree_map_with_path(own, drawn)


def folded(member: Member) -> dict[str, Any]:
    """Random variables of the frozen network, batch norm folded in."""
    network = backbones.build(member.backbone, member.layers)
    drawn = random_variables(network, train=False)
    return fold_batch_norm(drawn, backbones.family(member.backbone).epsilon)

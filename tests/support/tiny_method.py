"""The smallest honest method: conv, synchronised batch norm, conv, a flip as augmentation, an absolute-error metric."""

from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.config import OptimConfig, Phase, TrainConfig
from jaxqc.data.dataset import ArrayDataset
from jaxqc.training.method import SingleNetwork
from jaxqc.types import AXIS

SIDE = 12


class Net(nn.Module):
    norm: bool
    train: bool

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="first")(x)
        if self.norm:
            axis = AXIS if self.train else None
            x = nn.BatchNorm(use_running_average=not self.train, axis_name=axis, name="bn")(x)
        return nn.Conv(1, (3, 3), name="last")(nn.relu(x))[..., 0]


@dataclass(frozen=True)
class TinyMethod(SingleNetwork):
    norm: bool = True
    poison: int = 9
    """Label whose presence in a batch makes the loss NaN (see `tiny_data`)."""
    classes: tuple[str, ...] = ("dark", "bright")

    def init(self, key):
        variables = Net(self.norm, False).init(key, jnp.zeros((1, SIDE, SIDE, 1)))
        return {"batch_stats": {}, **variables}

    def prepare(self, batch, keys, size, train):
        image = batch["image"].astype(jnp.float32) / 255.0
        mask = batch["mask"].astype(jnp.float32)[..., None]
        if train:
            flip = jax.vmap(jax.random.bernoulli)(keys)[:, None, None, None]
            image, mask = (jnp.where(flip, x[:, :, ::-1], x) for x in (image, mask))
        b = image.shape[0]
        image = jax.image.resize(image, (b, size, size, image.shape[-1]), "bilinear")
        mask = jax.image.resize(mask, (b, size, size, 1), "bilinear")[..., 0]
        return {**batch, "image": image, "mask": mask}

    def loss(self, params, model_state, batch, key, extra=None):
        variables = {"params": params, **model_state}
        logits, new = Net(self.norm, True).apply(variables, batch["image"], mutable=["batch_stats"])
        loss = jnp.mean((jax.nn.sigmoid(logits) - batch["mask"]) ** 2)
        poisoned = jnp.any(batch["label"] == self.poison)
        loss = jnp.where(poisoned, jnp.nan, loss)
        return loss, ({"batch_stats": new.get("batch_stats", {})}, {"mean_logit": logits.mean()})

    def predict(self, variables, image):
        return {"map": jax.nn.sigmoid(Net(self.norm, False).apply(variables, image))}

    def init_metrics(self):
        return {"error": jnp.zeros(()), "weight": jnp.zeros(())}

    def update_metrics(self, metrics, variables, batch, size):
        prepared = self.prepare(batch, None, size, False)
        error = jnp.abs(self.predict(variables, prepared["image"])["map"] - prepared["mask"]).mean((1, 2))
        weight = batch["weight"]
        return {"error": metrics["error"] + (error * weight).sum(), "weight": metrics["weight"] + weight.sum()}

    def summarize(self, metrics):
        mae = float(metrics["error"] / np.maximum(metrics["weight"], 1))
        return {"mae": mae, "s_measure": 1.0 - mae}


def tiny_data(n: int = 24, seed: int = 0, poisoned: tuple[int, ...] = ()) -> ArrayDataset:
    """Dark blobs on a bright ground; samples in `poisoned` carry label 9."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, SIDE, SIDE), np.uint8)
    for i in range(n):
        y, x = rng.integers(0, SIDE - 4, 2)
        masks[i, y : y + 4, x : x + 4] = 1
    images = np.clip(170 - 90 * masks[..., None] + rng.normal(0, 12, (n, SIDE, SIDE, 1)), 0, 255).astype(np.uint8)
    labels = np.arange(n, dtype=np.int32) % 2
    labels[list(poisoned)] = 9
    return ArrayDataset("tiny", ("dark", "bright"), tuple(f"s{i:02d}" for i in range(n)), images, masks, labels)


def tiny_config(**changes: Any) -> TrainConfig:
    """Two phases (2 epochs at 8 px, 2 at 12 px) of batch 8: 12 steps over 24 samples."""
    config = TrainConfig(
        optim=OptimConfig(lr=0.1, warmup_epochs=0.5),
        phases=(Phase(2, 8, 8), Phase(2, SIDE, 8)),
        eval_size=SIDE,
        eval_batch=4,
        eval_every_epochs=1,
        checkpoint_every_epochs=1,
        best_metric="mae",
        devices=1,
        steps_per_call=4,
    )
    return replace(config, **changes)

"""A model of each kind that sees bright spots, made in a second, as the folders that training and fits leave."""

import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxqc.anomaly.detectors import Gaussian, PatchCore, Spade
from jaxqc.anomaly.features import Backbone, normalised
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.config import ModelConfig, TrainConfig
from jaxqc.data.readers import open_dataset
from jaxqc.fields import to_dict
from jaxqc.saliency.networks import NETWORKS, Network
from jaxqc.saliency.objectives.minet import MINetObjective
from jaxqc.semi.recipe import SemiTrainConfig
from jaxqc.training.checkpoint import Checkpoints
from tests.support.few_labels import Tiny
from tests.support.tiny_boards import SIDE, stripes

DETECTORS = {
    "gaussian": Gaussian(channels=10),
    "patchcore": PatchCore(width=8, coreset=0.05, projection=4),
    "spade": Spade(images=4),
}
KINDS = ("network", *DETECTORS, "segmentation")
BATCH = 4


class Bright(nn.Module):
    """Defective where the image is bright; the class by the mean of it."""

    classes: int

    @nn.compact
    def __call__(self, image: Any, train: bool = False, aux: bool = False) -> Any:
        steep = self.param("steep", nn.initializers.constant(25.0), ())
        grey = image.mean(-1)
        kinds = jnp.arange(self.classes) * grey.mean((1, 2))[:, None]
        return {"map": jax.nn.sigmoid(steep * (grey - 0.75)), "class": kinds}


def features(variables: Any, images: Any) -> Any:
    """In place of a backbone: two layers of random convolutions."""
    x, out = normalised(images), []
    for name in ("first", "second"):
        kernel = variables["params"][name]
        x = jnp.tanh(
            jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        )
        out.append(x)
    return tuple(out)


def use_small_models(patch: pytest.MonkeyPatch) -> None:
    """From here on these networks are what their checkpoints name."""
    bright = Network(lambda classes, width, norm, foreground: Bright(classes), MINetObjective())
    patch.setitem(NETWORKS, "bright", bright)
    patch.setattr("jaxqc.semi.model.make_network", lambda config, classes: Tiny(classes))
    patch.setattr(
        "jaxqc.anomaly.model.apply_function",
        lambda config, embed, views: lambda v, x: embed(features(v, x), normalised(x)),
    )


@pytest.fixture(autouse=True, scope="module")
def small_models():
    with pytest.MonkeyPatch.context() as patch:
        use_small_models(patch)
        yield


def write_network(folder: Path, classes: tuple[str, ...] = ("Hole", "good", "Spot"), **metrics: float) -> Path:
    """A saliency run. metrics: of its last evaluation, such as `threshold` and `f1`."""
    config = TrainConfig(model=ModelConfig("bright"), eval_size=64)
    meta = {"classes": classes, "mean": 0.0, "std": 1.0, "dataset": "boards", "data_digest": "d" * 64}
    return _write(folder, config, {"params": {"steep": np.float32(25.0)}}, meta, metrics)


def write_segmentation(folder: Path, classes: tuple[str, ...] = ("background", "bright", "dark")) -> Path:
    """A run of few labels: bright spots are class 1, black ones class 2."""
    taps, first = np.zeros((3, 3, 3, 8), np.float32), np.zeros(8, np.float32)
    taps[1, 1, :, 0], first[0] = 1 / 3, -0.75
    taps[1, 1, :, 1], first[1] = -1 / 3, 0.05
    last = np.zeros((8, 3), np.float32)
    last[0, 1] = last[1, 2] = 60.0
    logits = {"kernel": last, "bias": np.array([1.0, 0.0, 0.0], np.float32)}
    params = {"encoder": {"kernel": taps, "bias": first}, "head": {"logits": logits}}
    meta = {"classes": classes, "mean": [0.0] * 3, "std": [1.0] * 3, "dataset": "boards"}
    return _write(folder, SemiTrainConfig(model=ModelConfig("vit_tiny14")), {"params": params}, meta, {"miou": 0.5})


def _write(folder: Path, config: Any, variables: Any, meta: Any, metrics: Any) -> Path:
    record = {"config": to_dict(config), "data": "", "metrics": metrics, "best": {"step": 7}, "environment": {}}
    saves = Checkpoints(folder / "checkpoints")
    saves.save(7, {"model_state": {}, "extra": {}, **variables}, record, 7)
    saves.close()
    (folder / "meta.json").write_text(json.dumps(meta))
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    return folder


def write_detector(folder: Path, kind: str, boards: Path) -> Path:
    """A fit to the boards' normal images."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
    params = {"first": draw(3, 3, 3, 6), "second": draw(3, 3, 6, 8)}
    config = FitConfig(
        detector=DETECTORS[kind],
        backbone=BackboneConfig("resnet18", "none", (1, 2)),
        data=FitDataConfig(size=SIDE),
        decision=DecisionConfig(opening=1, folds=1),
        batch=BATCH,
        pasted=0,
        devices=1,
    )
    fit(config, open_dataset(boards), folder, progress=False, backbone=Backbone({"params": params}, features, {}))
    return folder


def make_checkpoint(kind: str, folder: Path, boards: Path) -> Path:
    """The folder of a model of this kind."""
    if kind == "network":
        return write_network(folder, threshold=0.4, f1=0.9)
    return write_segmentation(folder) if kind == "segmentation" else write_detector(folder, kind, boards)


def write_image(path: Path, seed: int, hole: bool, height: int = 56, width: int = 48, colour: bool = False) -> Any:
    """Stripes, and on a defective one a bright square; returns its mask."""
    image, mask = stripes(seed, hole, height, width)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([image] * 3, -1) if colour else image).save(path)
    return mask

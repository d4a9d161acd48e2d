"""A run folder of a very small network with random weights that tells classes apart, and images of many sizes."""

import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxqc.fields import to_dict
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.semi.data import Pair, write_splits
from jaxqc.semi.manifest import Manifest, write_manifest
from jaxqc.semi.recipe import SemiTrainConfig
from jaxqc.training.checkpoint import Checkpoints

NET = "vit_tiny14"
CLASSES = ("background", "[red]crack[/red] $x_1^2$", "=HYPERLINK(1)<b>&\n", "裂")
COLORS = ((0, 0, 0), (230, 60, 60), (60, 120, 230), (240, 200, 40))
SIZES = ((28, 42), (30, 41), (42, 28), (28, 42), (45, 45), (30, 41), (57, 33), (28, 42))
PARTS = {"labeled": (0, 1), "unlabeled": (2, 3), "select": (4,), "val": (5, 6, 7)}


class Patches(nn.Module):
    """In place of the transformer: patches of 14 pixels that also know the mean of all, which compiles at once."""

    @nn.compact
    def __call__(self, image):
        x = nn.tanh(nn.Conv(6, (14, 14), (14, 14), padding="VALID")(image))
        return x + x.mean((1, 2), keepdims=True)


class Logits(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, features, size):
        return resize_align_corners(nn.Dense(self.classes, name="logits")(features), *size)


class Small(nn.Module):
    classes: int

    def setup(self):
        self.encoder, self.head = Patches(), Logits(self.classes)

    def encode(self, image):
        return self.encoder(image)

    def decode(self, features, size):
        return self.head(features, size)

    def __call__(self, image):
        return self.decode(self.encode(image), image.shape[1:3])


@pytest.fixture(autouse=True, scope="module")
def small_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxqc.semi.model.make_network", lambda config, classes: Small(classes))
        yield


def make_data(root: Path, seed: int = 0) -> Path:
    """Images and palette-free masks of `SIZES` with some ignored pixels, and the four lists."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i, (h, w) in enumerate(SIZES):
        grey = i == 6
        image = rng.integers(0, 256, (h, w) if grey else (h, w, 3), np.uint8)
        Image.fromarray(image).save(root / "images" / f"{i}.png")
        mask = rng.integers(0, len(CLASSES), (h, w)).astype(np.uint8)
        mask[:5, :7] = 255
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
    pair = lambda i: Pair(f"images/{i}.png", f"masks/{i}.png")
    write_splits(root, {name: tuple(map(pair, numbers)) for name, numbers in PARTS.items()})
    write_manifest(root / "manifest.json", Manifest(CLASSES, COLORS))
    return root


def random_params(network: nn.Module) -> Any:
    """Whose logits differ widely from place to place; drawn without compiling the network."""
    shapes: Any = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 42, 42, 3)))["params"]
    rng = np.random.default_rng(3)
    drawn = lambda x: rng.normal(0, np.prod(x.shape[:-1]) ** -0.5 if x.ndim > 1 else 0.1, x.shape).astype(np.float32)
    params = jax.tree.map(drawn, shapes)
    params["head"]["logits"]["kernel"] *= 9.0
    return params


def write_run(run: Path, data: Path, params: Any, extra: Any = None, **changes: Any) -> Path:
    """A training's folder: a checkpoint (`extra`: of frozen models), config, meta and split lists."""
    config = SemiTrainConfig(**changes)
    record = {"config": to_dict(config), "data": "", "metrics": {"miou": 0.5}, "best": {"step": 7}, "environment": {}}
    saves = Checkpoints(run / "checkpoints")
    saves.save(7, {"params": params, "model_state": {}, "extra": extra or {}}, record, 7)
    saves.close()
    meta = {"classes": CLASSES, "colors": COLORS, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "ignore": 255}
    (run / "meta.json").write_text(json.dumps({**meta, "dataset": "squares"}))
    (run / "config.json").write_text(json.dumps(to_dict(config)))
    lists = run / "splits"
    lists.mkdir()
    for name in (*(f"{part}.txt" for part in PARTS), "manifest.json"):
        (lists / name).write_bytes((data / name).read_bytes())
    return run


@pytest.fixture(scope="session")
def squares(tmp_path_factory) -> Path:
    """Eight images of six sizes. Read only."""
    root = tmp_path_factory.getbasetemp() / "squares"
    return root if root.is_dir() else make_data(root)


@pytest.fixture(scope="module")
def kept_run(small_network, squares, tmp_path_factory) -> Path:
    """The run folder. Read only: tests that change it copy it first."""
    from jaxqc.config import ModelConfig

    run = tmp_path_factory.getbasetemp() / "kept_run"
    if not (run / "meta.json").is_file():
        write_run(run, squares, random_params(Small(len(CLASSES))), model=ModelConfig(name=NET))
    return run

"""A run folder of a small transformer with random weights that tells classes apart, and images of many sizes."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxqc.fields import to_dict
from jaxqc.models.dinov2 import VITS, ViTSpec
from jaxqc.models.segmenter import build_segmenter
from jaxqc.semi.data import Pair, write_splits
from jaxqc.semi.manifest import Manifest, write_manifest
from jaxqc.semi.recipe import SemiTrainConfig
from jaxqc.training.checkpoint import Checkpoints
from tests.compile_cache import shared_cache

NET = "vit_micro14"
CLASSES = ("background", "[red]crack[/red] $x_1^2$", "=HYPERLINK(1)<b>&\n", "裂")
COLORS = ((0, 0, 0), (230, 60, 60), (60, 120, 230), (240, 200, 40))
SIZES = ((28, 42), (30, 41), (42, 28), (28, 42), (45, 45), (30, 41), (57, 33), (28, 42))
PARTS = {"labeled": (0, 1), "unlabeled": (2, 3), "select": (4,), "val": (5, 6, 7)}


@pytest.fixture(autouse=True, scope="module")
def micro_network(tmp_path_factory):
    """The transformer under a name, and a compilation cache that the tests share."""
    with pytest.MonkeyPatch.context() as patch, shared_cache(tmp_path_factory):
        patch.setitem(VITS, NET, ViTSpec(192, 4, 3, (0, 1, 2, 3), grid=4))
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
    pair = lambda i: Pair(f"images/{i}.png", f"masks/{i}.png")  # noqa: E731
    write_splits(root, {name: tuple(map(pair, numbers)) for name, numbers in PARTS.items()})
    write_manifest(root / "manifest.json", Manifest(CLASSES, COLORS))
    return root


def random_params(name: str = NET, classes: int = len(CLASSES)) -> Any:
    """Whose logits differ widely from place to place."""
    network = build_segmenter(name, classes, folded=True)
    params = jax.jit(network.init)(jax.random.key(3), jnp.zeros((1, 42, 42, 3)))["params"]
    last = params["head"]["logits"]
    last["kernel"] = last["kernel"] * 400.0
    return jax.device_get(params)


def write_run(run: Path, data: Path, params: Any, **changes: Any) -> Path:
    """What a training leaves: a checkpoint, config, meta and split lists."""
    config = SemiTrainConfig(**changes)
    record = {"config": to_dict(config), "data": "", "metrics": {"miou": 0.5}, "best": {"step": 7}, "environment": {}}
    saves = Checkpoints(run / "checkpoints")
    saves.save(7, {"params": params, "model_state": {}}, record, 7)
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
def kept_run(micro_network, squares, tmp_path_factory) -> Path:
    """The run folder. Read only: tests that change it copy it first."""
    from jaxqc.config import ModelConfig

    run = tmp_path_factory.getbasetemp() / "kept_run"
    if not (run / "meta.json").is_file():
        write_run(run, squares, random_params(), model=ModelConfig(name=NET))
    return run

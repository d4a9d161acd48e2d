"""A run's start: an encoder's file, the layers used, rates of encoder and head, weights of classes."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.config import ModelConfig, Phase
from jaxqc.errors import UserError
from jaxqc.models.dinov2 import VITS, ViTSpec, build_vit
from jaxqc.models.mit import MITS, MitSpec
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.resnet import LAYERS, build_backbone
from jaxqc.semi.check import SplitReport
from jaxqc.semi.manifest import Manifest
from jaxqc.semi.model import load_segmentation
from jaxqc.semi.recipe import SemiTrainConfig
from jaxqc.semi.train import encoder_weights, make_method, train_semi
from jaxqc.training.checkpoint import load_variables
from jaxqc.weights.load import Weights, save_weights
from tests.support.few_labels import CLASSES, SIDE, recipe, write_images


@pytest.mark.slow
def test_a_transformer_trains_from_an_encoders_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_images(tmp_path / "few", {"labeled": 3, "unlabeled": 8, "select": 4, "val": 2})
    monkeypatch.setitem(VITS, "vit_tiny14", ViTSpec(192, 4, 3, (0, 1, 2, 3), grid=3))
    module = build_vit("vit_tiny14")
    variables: Any = jax.jit(module.init)(jax.random.key(5), jnp.zeros((1, SIDE, SIDE, 3)))
    report = LoadReport("vit_tiny14", (), 0, classes=0)
    save_weights(tmp_path / "vit.npz", Weights("vit_tiny14", (), variables, report, "drawn here", "0" * 64))
    config = recipe("fixmatch", weights=str(tmp_path / "vit.npz"), phases=(Phase(1, SIDE, 4),), head_rate=1e-9)
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, lr=1e-5))
    result = train_semi(config, data, tmp_path / "run", progress=False)
    trained, _, meta = load_variables(tmp_path / "run", "last", SemiTrainConfig)
    assert meta["start"]["source"] == "drawn here"
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), trained["params"]["encoder"], variables["params"])
    assert 0 < max(jax.tree.leaves(moved)) < 1e-4  # two steps of Adam at 1e-5, from the file's values
    assert np.isfinite(result.metrics["miou"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("member", "changes"),
    [
        ("u2pl", {"model": ModelConfig("resnet18"), "head": "deeplabv3plus_u2pl", "output_stride": 8, "layers": 3}),
        ("allspark", {"model": ModelConfig("mit_small"), "head": "segformer"}),
    ],
)
def test_a_papers_network_trains_and_is_used(
    member: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MITS, "mit_small", MitSpec((8, 16, 20, 32), (1, 1, 1, 1)))
    data = write_images(tmp_path / "few", {"labeled": 3, "unlabeled": 8, "select": 4, "val": 2}, ((32, 32),))
    config = recipe(member, phases=(Phase(1, 32, 4),), **changes)
    result = train_semi(config, data, tmp_path / "run", progress=False)
    assert np.isfinite(result.metrics["miou"])
    model = load_segmentation(tmp_path / "run")
    assert "represent" not in model.params["head"]
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 33, 3), np.uint8)
    chances = lambda images: model.predict(images, outputs=("probabilities",))["probabilities"]
    together = chances(images)
    assert together.shape == (3, 40, 33, 3)
    np.testing.assert_allclose(chances(images[1:2])[0], together[1], atol=1e-5)


def test_a_resnets_file_gives_the_layers_that_are_used(tmp_path: Path) -> None:
    network = build_backbone("resnet18", LAYERS)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.25, leaf.dtype), dict(shapes))
    whole = Weights("resnet18", LAYERS, variables, LoadReport("resnet18", LAYERS, 0, classes=0), "made here", "0" * 64)
    save_weights(tmp_path / "r.npz", whole)
    config = recipe(weights=str(tmp_path / "r.npz"), model=ModelConfig("resnet18"), layers=3)
    start = encoder_weights(config)
    assert start is not None
    assert start.layers == (1, 2, 3)
    method = make_method(config, Manifest(CLASSES).check("here"), start=start)
    encoder = jax.eval_shape(method.start, jax.random.key(0))["encoder"]
    assert {name for name in encoder if "layer" in name} == {f"layer{i}_{k}" for i in (1, 2, 3) for k in (0, 1)}
    with pytest.raises(UserError, match="layers=3: dinov2_vits14 takes 4"):
        encoder_weights(dataclasses.replace(config, model=ModelConfig("dinov2_vits14")))


def test_the_head_learns_at_a_rate_of_its_own() -> None:
    config = recipe(head_rate=40.0, lr_batch=16)
    method = make_method(config, Manifest(CLASSES).check("here"))
    rates = method.rates({"encoder": {"a": np.zeros(2)}, "head": {"b": np.zeros((2, 2))}})
    np.testing.assert_allclose(rates["encoder"]["a"], 4 / 16)
    np.testing.assert_allclose(rates["head"]["b"], 40 * 4 / 16)


def test_rare_classes_weigh_more_by_the_labelled_pixels() -> None:
    manifest = Manifest(CLASSES).check("here")
    pixels = {part: np.array([*([0] * (len(CLASSES) - 2)), 1, 99, 5]) for part in ("labeled", "unlabeled")}
    report = SplitReport(manifest, {}, pixels)
    plain = recipe()
    assert make_method(plain, manifest, report).class_weights == ()
    balanced = dataclasses.replace(plain, semi=dataclasses.replace(plain.semi, balance=1.0))
    weights = make_method(balanced, manifest, report).class_weights
    assert weights[-2:] == pytest.approx((50, 50 / 99))

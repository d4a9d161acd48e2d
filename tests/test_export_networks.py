"""Whole networks through both formats, with weights that were drawn: what converts to ONNX, and how exactly."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.lib.networks import random_variables
from jaxqc.anomaly.detectors import Gaussian, PatchCore, Spade
from jaxqc.anomaly.features import apply_function
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.config import ModelConfig, TrainConfig
from jaxqc.errors import UserError
from jaxqc.export.writing import write
from jaxqc.models.resnet import build_backbone
from jaxqc.models.segmenter import build_segmenter
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.saliency.model import Model
from jaxqc.saliency.networks import build
from jaxqc.semi.model import Segmentation
from jaxqc.semi.recipe import SemiTrainConfig
from tests.support.tiny_models import pictures

pytestmark = pytest.mark.slow
SIDE = 64


def saliency(name: str) -> Model:
    config = dataclasses.replace(TrainConfig(), model=ModelConfig(name=name), eval_size=SIDE)
    variables = random_variables(build(name, 3), varied=True)
    return Model(variables, config, {"classes": ["In", "Pa", "Sc"], "mean": 0.44, "std": 0.21})


DETECTORS = {
    "gaussian": Gaussian(channels=100),
    "patchcore": PatchCore(width=128, coreset=0.2),
    "spade": Spade(images=3),
}


def detector(method: str) -> AnomalyModel:
    backbone = BackboneConfig("resnet18", "", (1, 2, 3))
    config = FitConfig(
        detector=DETECTORS[method],
        backbone=backbone,
        data=FitDataConfig(size=SIDE),
        batch=2,
    )
    network = build_backbone("resnet18", backbone.layers)
    variables = fold_batch_norm(random_variables(network, varied=True, train=False))
    layers, found = jax.jit(apply_function(backbone))(variables, pictures(8, SIDE, SIDE)), config.detector
    shapes = tuple((x.shape[1], x.shape[2], x.shape[3]) for x in layers)
    state = found.finish(found.collect(found.begin(shapes, 8), found.embed(layers, None), jnp.arange(8)), shapes)
    layers = tuple(x[:1] * 1.1 for x in layers)
    highest = 4 * float(
        found.score(state, found.embed(layers, None), SIDE)[0].max()
    )  # so that the golden maps are not all 1
    return AnomalyModel(config, state, variables, Thresholds(highest, highest, "by hand", 0.0, highest), {})


def segmentation(encoder: str) -> Segmentation:
    side = 56
    config = dataclasses.replace(SemiTrainConfig(), model=ModelConfig(name=encoder), eval_size=side)
    network = build_segmenter(encoder, 3, hidden=config.hidden, folded=True)
    params = random_variables(network, varied=True, side=side, train=False)["params"]
    return Segmentation(params, config, {"classes": ["background", "a", "b"], "mean": 0.45, "std": 0.25})


MODELS: dict[str, Any] = {
    "minet": lambda: saliency("minet"),
    "tscarnet": lambda: saliency("tscarnet"),
    "gaussian": lambda: detector("gaussian"),
    "patchcore": lambda: detector("patchcore"),
    "spade": lambda: detector("spade"),
    "dpt-dinov2": lambda: segmentation("dinov2_vits14"),
    "dpt-resnet": lambda: segmentation("resnet18"),
}


@pytest.fixture(scope="module", params=list(MODELS))
def model(request) -> Any:
    return request.param, MODELS[request.param]()


@pytest.mark.parametrize("format", ["stablehlo", "onnx"])
def test_a_network_agrees_with_itself(model, format, tmp_path: Path, capsys):
    name, loaded = model
    if format == "onnx":
        for package in ("onnx", "onnxruntime", "jax2onnx"):
            pytest.importorskip(package, reason="ONNX export needs the extra `onnx`", exc_type=ImportError)
    more: dict[str, Any] = {"height": 56, "width": 56} if isinstance(loaded, Segmentation) else {}
    if format == "onnx" and name in ("patchcore", "spade"):
        with pytest.raises(UserError, match="try a fixed --batch"):
            write(loaded, tmp_path / "open", format, platforms=("cpu",))
        more = {"batch": 2}
    meta = write(loaded, tmp_path / "out", format, **more, platforms=("cpu",))
    with capsys.disabled():
        print(f"\n{name} {format}: {meta['parity']['differences']}", flush=True)
    assert max(meta["parity"]["differences"].values()) <= 1e-4
    golden = np.load(tmp_path / "out" / "golden.npz")
    assert all(np.isfinite(golden[k]).all() for k in golden.files if golden[k].dtype.kind == "f")

"""A trained run in seconds: a network of five convolutions with all of TSCARNet's outputs, trained by the real CLI."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxqc.cli import main
from jaxqc.nn.conv import ConvBN, Norm, Pointwise
from jaxqc.nn.resizing import resize
from jaxqc.saliency import networks
from jaxqc.saliency.networks import Network
from jaxqc.saliency.objectives.tscarnet import TSCARNetObjective

SIDE = 32
"""Network input of the tiny recipe."""

RECIPE = """
from jaxqc.config import *

def get_config():
    return TrainConfig(
        model=ModelConfig(name="tiny"), data=DataConfig(protocol="seed"), phases=(Phase(epochs=2, size=32, batch=8),),
        optim=OptimConfig(name="adamw", lr=1e-2, warmup_epochs=0.0), eval_size=32, eval_batch=4, eval_every_epochs=1.0,
        checkpoint_every_epochs=1.0, devices=1, steps_per_call=2,
    )
"""


class TinyNet(nn.Module):
    classes: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image, train=False, aux=False):
        x, maps, out = image, {}, {}
        for k in range(1, 6):
            x = ConvBN(6, 2, self.norm, name=f"c{k}")(x, train)
            maps[k] = Pointwise(3, name=f"head{k}")(x)
        for k in (1, 2, 3):
            out[f"m{k}"], out[f"b{k}"], out[f"r{k}"] = (maps[k][..., i] for i in range(3))
        out |= {f"d{k}": maps[k][..., 0] for k in (4, 5)}
        out["class"] = Pointwise(self.classes, name="class")(x.mean((1, 2)))
        joined = sum(resize(maps[k][..., :1], *image.shape[1:3]) for k in (1, 2, 3))
        out["final"] = joined[..., 0]
        return {"map": jax.nn.sigmoid(out["final"]), **{k: v.astype(jnp.float32) for k, v in out.items()}}


TINY = Network(
    lambda classes, width, norm, foreground: TinyNet(classes, norm), TSCARNetObjective(), 32, ("m1", "m2", "m3")
)


@pytest.fixture(autouse=True, scope="module")
def tiny_network():
    """The network under the name `tiny`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "tiny", TINY)
        yield


@pytest.fixture(scope="session")
def plates(tmp_path_factory) -> Path:
    """30 plates of 48 x 48 pixels in the published layout."""
    folder = tmp_path_factory.getbasetemp() / "plates"
    if not folder.is_dir():
        assert main(["data", "synthetic", str(folder), "--count", "30", "--size", "48"]) == 0
    return folder


@pytest.fixture(scope="session")
def recipe(tmp_path_factory) -> Path:
    file = tmp_path_factory.getbasetemp() / "tiny.py"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="module")
def run_folder(tiny_network, plates, recipe, tmp_path_factory) -> Path:
    """A finished training run of the tiny recipe. Read only: tests that change it copy it first."""
    folder = tmp_path_factory.getbasetemp() / "run"
    if not (folder / "golden.npz").is_file():
        arguments = ["--config", str(recipe), "--data", str(plates), "--out", str(folder), "--quiet"]
        assert main(["train", *arguments]) == 0
    return folder

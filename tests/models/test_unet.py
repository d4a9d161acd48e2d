"""The U-Net over encoders: its pyramid, its classes, and encoders of both kinds by name."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.lib.networks import random_variables
from jaxqc.config import ModelConfig, TrainConfig
from jaxqc.errors import UserError
from jaxqc.models.unet import UNet, encoder_names, unet
from jaxqc.nn.conv import Norm
from jaxqc.saliency.networks import network_of, start_of
from jaxqc.weights.load import load_weights


class Halves(nn.Module):
    """The image at strides 4 to 32, or four times on one grid of 14 pixels."""

    one_grid: bool = False

    def __call__(self, image, train=False):
        steps = (14,) * 4 if self.one_grid else (4, 8, 16, 32)
        return {f"layer{i}": image[:, ::step, ::step] for i, step in enumerate(steps)}


def test_maps_of_classes_share_what_is_defective():
    network = UNet(Halves(), 3, (4, 4, 4, 8), foreground=0.1)
    variables = random_variables(network, varied=True, side=32)
    image = np.random.default_rng(0).normal(size=(2, 64, 32, 3)).astype(np.float32)
    out = jax.jit(lambda x: network.apply(variables, x, aux=True))(image)
    assert {name: value.shape for name, value in out.items()} == {
        "map": (2, 64, 32), "classes": (2, 32, 16, 3), "class": (2, 3), "logits": (2, 64, 32, 4),
    }  # fmt: skip
    share = np.exp(out["logits"]) / np.exp(out["logits"]).sum(-1, keepdims=True)
    np.testing.assert_allclose(out["map"], share[..., 1:].sum(-1), atol=1e-5)
    found = 1 / (1 + np.exp(-np.asarray(out["classes"])))
    means = found.mean((1, 2))
    np.testing.assert_allclose(nn.softmax(out["class"]), means / means.sum(-1, keepdims=True), atol=1e-4)


def test_a_grid_of_tokens_becomes_a_pyramid():
    network = UNet(Halves(one_grid=True), 1, (4, 4, 4, 8))
    shapes = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), jnp.zeros((1, 42, 70, 3)), aux=True))
    assert shapes[0]["logits"].shape == (1, 42, 70, 2)
    assert shapes[1]["params"]["tokens5"]["kernel"].shape == (3, 384)


def test_encoders_by_name():
    assert {"resnet18", "resnet50", "efficientnet_lite0", "dinov2_vits14"} < set(encoder_names())
    network = network_of(ModelConfig("unet", encoder="dinov2_vits14"))
    assert (network.multiple, network.epsilon) == (14, 1e-5)
    assert (
        unet("efficientnet_lite0", 2, 1.0, Norm(), 0.1).norm.epsilon == network_of(ModelConfig("unet")).epsilon == 1e-3
    )
    with pytest.raises(UserError, match=r"model\.encoder: 'resnet81' is not one \(did you mean"):
        network_of(ModelConfig("unet", encoder="resnet81"))
    with pytest.raises(UserError, match=r"model\.encoder='resnet18': this network has an encoder of its own"):
        network_of(ModelConfig("minet", encoder="resnet18"))


def test_an_encoder_starts_from_its_weights():
    model = ModelConfig("unet", encoder="resnet18", weights="synthetic-resnet18")
    start = start_of(TrainConfig(model=model))
    assert start is not None
    expected = load_weights("synthetic-resnet18").variables
    assert list(start["params"]) == ["encoder"]
    jax.tree.map(np.testing.assert_array_equal, start["params"]["encoder"], expected["params"])
    jax.tree.map(np.testing.assert_array_equal, start["batch_stats"]["encoder"], expected["batch_stats"])

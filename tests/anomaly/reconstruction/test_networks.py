"""The networks' sizes as published, and settings that do not go together."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from jaxqc.anomaly.detectors.reconstruction import LossWeights, ReconstructionConfig
from jaxqc.anomaly.detectors.reconstruction_members import MEMBERS, ConvAe, Dfr, Draem, Riad, StainAe
from jaxqc.anomaly.detectors.token_members import MEMBERS as TOKENS
from jaxqc.anomaly.detectors.token_members import UniAd
from jaxqc.anomaly.detectors.token_settings import TokensConfig
from jaxqc.anomaly.reconstruction.networks import network
from jaxqc.errors import UserError
from jaxqc.models.draem import Finding, Rebuilding


def count(module, *shape: int) -> tuple[int, int]:
    """Parameters, and biases that a published layer has in front of a batch norm."""
    params = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))["params"]
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return sum(x.size for _, x in leaves), sum(x.size for path, x in leaves if path[-1].key == "scale")


@pytest.mark.parametrize(
    ("module", "shape", "published"),
    [
        (network(ConvAe()), (1, 128, 128, 3), 1_050_599),
        (network(ConvAe(latent=500)), (1, 128, 128, 3), 2_689_399),
        (network(StainAe()), (1, 256, 256, 3), 8_736_515),
        (Rebuilding(), (1, 256, 256, 3), 69_048_579),
        (Finding(), (1, 256, 256, 6), 28_374_146),
        (network(Draem()), (1, 256, 256, 3), 97_422_725),
        (network(Riad()), (1, 256, 256, 3), 28_805_699),
        (network(Dfr(latent=50)), (1, 8, 8, 448), 313_046),
        (network(Dfr(latent=200)), (1, 8, 8, 3456), 15_046_360),
    ],
)
def test_a_network_is_as_large_as_published_but_for_what_batch_norm_takes_away(module, shape, published):
    parameters, biases = count(module, *shape)
    assert parameters + biases == published


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ReconstructionConfig(skips="add"), "copy what it sees"),
        (ReconstructionConfig(variational=True), "set latent"),
        (ReconstructionConfig(variational=True, latent=8), "loss.kl"),
        (ReconstructionConfig(head="unet"), "set all three"),
        (Draem(corrupt="noise"), "where defects are"),
        (Draem(relative=True), "probability already"),
        (replace(Draem(), loss=LossWeights(focal=1.0)), "nothing compares"),
        (ReconstructionConfig(kernels=(5, 5)), "one of each"),
        (ReconstructionConfig(up="transposed"), "kernel 4"),
        (ReconstructionConfig(window=2), "odd"),
        (Riad(corrupt="none"), "copy what it sees"),
        (Riad(share=0.5), "in turn"),
        (Dfr(corrupt="stain"), "as they are"),
        (ReconstructionConfig(cells=9), "sees all"),
        (ReconstructionConfig(share=1.5), "share"),
        (UniAd(corrupt="stain"), "as they are"),
        (UniAd(tokens=TokensConfig(dim=20)), "multiple of heads"),
        (UniAd(tokens=TokensConfig(hide=4)), "must be odd"),
        (UniAd(tokens=TokensConfig(dropout=1.0)), "share"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(config, said):
    with pytest.raises(UserError, match=said):
        config.check("recipe")


@pytest.mark.parametrize("config", [kind() for kind in {**MEMBERS, **TOKENS}.values()])
def test_presets_go_together(config):
    config.check("recipe")

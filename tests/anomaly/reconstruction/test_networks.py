"""The networks' sizes as published, and settings that do not go together."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.reconstruction import LossWeights, ReconstructionConfig
from jaxqc.anomaly.detectors.reconstruction_codes import MemAe, Vae, VaeAttention, VaeGmm
from jaxqc.anomaly.detectors.reconstruction_members import MEMBERS, ConvAe, Dfr, Draem, Riad, StainAe
from jaxqc.anomaly.detectors.reconstruction_parts import AdversaryConfig, DescentConfig, MemoryConfig, MixtureConfig
from jaxqc.anomaly.detectors.reconstruction_players import (
    DCGAN_ADAM,
    GAN,
    GANOMALY_TRAINING,
    MADE_LOSS,
    WASSERSTEIN,
    WGAN_TRAINING,
    AnoGan,
    Egbad,
    FAnoGan,
    Ganomaly,
    OcrGan,
    SkipGanomaly,
)
from jaxqc.anomaly.detectors.token_members import MEMBERS as TOKENS
from jaxqc.anomaly.detectors.token_members import UniAd
from jaxqc.anomaly.detectors.token_settings import TokensConfig
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.reconstruction.adversary import Playing
from jaxqc.anomaly.reconstruction.networks import network
from jaxqc.errors import UserError
from jaxqc.models.draem import Finding, Rebuilding
from jaxqc.types import AXIS

PIXELS = load_backbone(BackboneConfig("pixels", layers=(1,)))


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
    ("config", "side", "maker", "critic"),
    [
        (Ganomaly(), 64, 13_495_424 - 2_765_568, 2_765_568),
        (Ganomaly(), 256, 188_689_536 - 44_739_328, 44_739_328),
        (SkipGanomaly(), 32, 16_659_075, 1_069_700),
        (SkipGanomaly(), 256, 54_413_955, 47_984_260),
        (OcrGan(), 256, 108_827_910, 47_984_260),
        (AnoGan(), 64, 3_576_704, 2_765_568),
        (FAnoGan(), 64, 8_540_483, 7_491_841),
    ],
)
def test_players_are_as_large_as_published_but_for_learned_attention(config, side, maker, critic):
    params = jax.eval_shape(Playing(config, PIXELS, side).init, jax.random.key(0))["params"]
    own = lambda part: {key: value for key, value in params[part].items() if not key.startswith("attend")}
    assert [sum(x.size for x in jax.tree.leaves(own(part))) for part in ("maker", "critic")] == [maker, critic]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ReconstructionConfig(skips="add"), "copy what it sees"),
        (ReconstructionConfig(variational=True), "set latent"),
        (ReconstructionConfig(variational=True, latent=8), "loss.kl"),
        (
            ReconstructionConfig("pointwise", variational=True, latent=8, loss=LossWeights(l2=1.0, kl=1.0)),
            "=conv alone",
        ),
        (Draem(latent=64), "no code of numbers"),
        (ReconstructionConfig(head="unet"), "set all three"),
        (Draem(corrupt="noise"), "where defects are"),
        (Draem(relative=True), "probability already"),
        (replace(Draem(), loss=LossWeights(focal=1.0)), "nothing compares"),
        (ReconstructionConfig(kernels=(5, 5)), "one of each"),
        (ReconstructionConfig(up="transposed"), "kernel 4"),
        (ReconstructionConfig(window=2), "odd"),
        (Riad(corrupt="none"), "copy what it sees"),
        (Riad(share=0.5), "in turn"),
        (MemAe(corrupt="grid"), "loss.entropy=0"),
        (Dfr(corrupt="stain"), "as they are"),
        (ReconstructionConfig(cells=9), "sees all"),
        (ReconstructionConfig(share=1.5), "share"),
        (UniAd(corrupt="stain"), "as they are"),
        (UniAd(tokens=TokensConfig(dim=20)), "multiple of heads"),
        (UniAd(tokens=TokensConfig(hide=4)), "must be odd"),
        (UniAd(tokens=TokensConfig(dropout=1.0)), "share"),
        (Draem(memory=MemoryConfig(5)), "encoder=conv"),
        (ReconstructionConfig(memory=MemoryConfig(5, 1.0)), "below 1"),
        (ReconstructionConfig(loss=LossWeights(l2=1.0, entropy=1.0)), "memory.slots"),
        (ReconstructionConfig(map="projection"), "variational=true"),
        (ReconstructionConfig(image="critic"), "needs a critic"),
        (Ganomaly(adversary=AdversaryConfig()), "needs a critic"),
        (Ganomaly(training=replace(GANOMALY_TRAINING, optim=replace(DCGAN_ADAM, clip=1.0))), "move alone"),
        (Ganomaly(training=replace(GANOMALY_TRAINING, optim=replace(DCGAN_ADAM, weight_decay=0.1))), "move alone"),
        (Ganomaly(latent=0), "set latent"),
        (Ganomaly(map="projection"), "without an adversary"),
        (SkipGanomaly(map="ssim"), "differences of values"),
        (Ganomaly(loss=LossWeights(l1=1.0, feature=1.0)), "second encoder"),
        (SkipGanomaly(image="latent"), "second encoder"),
        (SkipGanomaly(corrupt="none", loss=LossWeights(l1=1.0, adversarial=1.0)), "copy what it sees"),
        (SkipGanomaly(adversary=AdversaryConfig("pair")), "encoder=dcgan"),
        (Egbad(loss=LossWeights(l1=1.0, adversarial=1.0)), "no image"),
        (AnoGan(corrupt="noise"), "no image"),
        (Draem(adversary=AdversaryConfig("gan")), "no adversary"),
        (Egbad(adversary=AdversaryConfig("pair", vector=True)), "neither vector"),
        (FAnoGan(adversary=GAN), "wgan_gp"),
        (FAnoGan(corrupt="stain"), "images as they are"),
        (FAnoGan(loss=LossWeights(l2=4.0, adversarial=1.0)), "by differences"),
        (FAnoGan(adversary=AdversaryConfig("wgan_gp")), "penalty"),
        (FAnoGan(start=replace(WGAN_TRAINING, optim=replace(DCGAN_ADAM, clip=1.0))), "move alone"),
        (
            ReconstructionConfig("residual", adversary=WASSERSTEIN, latent=8, loss=MADE_LOSS, training=WGAN_TRAINING),
            "two stages",
        ),
        (ReconstructionConfig(image="density"), "variational=true"),
        (VaeGmm(mixture=MixtureConfig(seed=2**32)), "below"),
        (VaeAttention(descent=DescentConfig(layer=6)), "5 steps"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(config, said):
    with pytest.raises(UserError, match=said):
        config.check("recipe")


@pytest.mark.parametrize("config", [kind() for kind in {**MEMBERS, **TOKENS}.values()])
def test_presets_go_together(config):
    config.check("recipe")


def test_the_way_out_of_a_game_is_none_that_is_refused():
    assert Ganomaly().advice == "the training went astray: lower detector.training.optim.lr"
    assert "optim.clip" in ConvAe().advice


def test_an_encoder_that_trains_alone_may_be_clipped_and_decay():
    FAnoGan(training=replace(WGAN_TRAINING, optim=replace(DCGAN_ADAM, clip=1.0, weight_decay=0.1))).check("recipe")


@pytest.mark.parametrize("slots", [0, 50])
def test_a_variational_code_and_a_memory_go_with_a_critic(slots):
    """As in published combinations of them; the log has all their terms."""
    loss = LossWeights(l2=1.0, kl=1.0, adversarial=1.0)
    config = replace(Vae(latent=5, loss=loss, training=GANOMALY_TRAINING, width=1 / 32), adversary=GAN)
    config = replace(config, memory=MemoryConfig(slots), widths=(32,), kernels=(4,), strides=(2,))
    config.check("recipe")
    method = Playing(config, PIXELS, 8)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.uint8)

    def one(variables, images):
        state = {name: x for name, x in variables.items() if name != "params"} | method.frozen()
        batch = {"image": images, "key": jax.random.split(jax.random.key(1), 2)}
        return method.loss(variables["params"], state, batch, jax.random.key(2))[1][1]

    logs = jax.eval_shape(jax.vmap(one, axis_name=AXIS, axis_size=1, in_axes=None), shapes, images)
    assert {"l2", "kl", "adversarial", "critic"} <= set(logs)
    assert ("slots_used" in logs) == (slots > 0)

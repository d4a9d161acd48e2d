"""Detectors of images beside anomalib's own modules, on shared random weights; the rest is `test_anomalib_forward`."""

import jax
import numpy as np

from jaxqc.anomaly.detectors import Ganomaly
from jaxqc.anomaly.detectors.dsr import Dsr
from jaxqc.anomaly.dual.networks import coded, decoded, drawn_restore, vq_vae
from jaxqc.anomaly.dual.sharpening import masks, shown
from jaxqc.anomaly.reconstruction.game import applied, entropy_of, faced, squares
from jaxqc.anomaly.reconstruction.players import unsigned
from jaxqc.anomaly.reconstruction.terms import terms, weighted
from jaxqc.models.critic import Critic
from jaxqc.models.dcgan import Coder
from jaxqc.models.dsr import MaskNet
from tests.peers.test_anomalib_forward import SIDE, assert_close, first, peer, pytestmark  # noqa: F401 - a fixture
from tests.support.anomalib_names import (
    below,
    conv,
    dsr,
    gan_decoder,
    gan_encoder,
)
from tests.support.drawn import drawn


def test_dsr(peer, rng):
    """With codes that are vectors of the images, so that many of them are in use."""
    config, network = Dsr(codes=32), vq_vae(Dsr())
    image = rng.uniform(size=(2, SIDE, SIDE, 3)).astype(np.float32)
    code = {name: np.zeros((32, 128), np.float32) for name in ("lo", "hi")}
    own = drawn(network, image, code)
    for name in ("lo", "hi"):  # the fine vectors depend on the coarse codes
        z = np.asarray(jax.jit(network.apply)(own, image, code)[f"z_{name}"]).reshape(-1, 128)
        code[name] = rng.permutation(z)[:32]
    shapes = jax.eval_shape(lambda: drawn_restore(config, jax.random.key(0), SIDE))
    draw = lambda x: rng.normal(0, (2 / np.prod(x.shape[:-1])) ** 0.5, x.shape).astype(np.float32)
    restore = jax.tree.map(lambda x: draw(x) if len(x.shape) > 1 else 0.1 * draw(x), shapes)
    three, two = image, np.zeros((2, SIDE, SIDE, 2), np.float32)
    codebook, upsample = {"params": own["params"], "codes": code}, drawn(MaskNet(), (three, three, two))["params"]
    theirs = peer("dsr", dsr(codebook, restore, upsample), image=first(image))

    def run(codebook, restore, upsample):
        variables = {"codebook": codebook, "restore": restore, "upsample": upsample}
        seen = decoded(config, codebook, coded(config, codebook, image))
        return seen, shown(config, variables, image), *masks(config, variables, image)

    seen, rebuilt, coarse, fine = jax.jit(run)(codebook, restore, upsample)
    near = {"map": jax.nn.sigmoid(fine), "coarse": jax.nn.sigmoid(coarse)}
    assert_close(theirs, 1e-3, seen=first(seen), image=first(rebuilt), **near)  # instance norms enlarge what is rounded


def test_ganomaly(peer, rng):
    """Both players in training, on batch statistics. The first convolution is padded by 4 pixels, as anomalib's."""
    coder, critic = Coder(20, 8, second=True, padding=4), Critic(8, padding=4)
    x = rng.uniform(-1, 1, (4, SIDE, SIDE, 3)).astype(np.float32)
    maker, judge = drawn(coder, x), drawn(critic, x, seed=1)
    (own, running), (words, word_stats) = ((found["params"], found["batch_stats"]) for found in (maker, judge))
    weights = below("generator.decoder", gan_decoder(own["decode"], running["decode"]))
    for name, place in (("encode", "encoder1"), ("again", "encoder2")):
        weights |= below(f"generator.{place}", gan_encoder(own[name], running[name]))
    weights |= below("discriminator", gan_encoder(words["narrow"], word_stats["narrow"], "features"))
    weights |= below("discriminator.classifier.0", conv(words["out"]))
    theirs = peer("ganomaly", weights, image=first(x))

    @jax.jit
    def ours(x):
        out, _ = applied(coder, own, running, x)
        seen = faced(lambda *given: applied(critic, *given), words, word_stats, (x,), (out["rebuilt"],))
        out |= {"feature": squares(seen.real["features"], seen.made["features"])}
        out |= {"relatent": squares(out["code"], out["again"])}
        shown = out | {"rebuilt": unsigned(out["rebuilt"])}
        parts = terms(Ganomaly().loss, shown, unsigned(x), x[..., 0])
        entropy = entropy_of(seen.own_real["logit"], seen.own_made["logit"])
        return out, seen.made, weighted(Ganomaly().loss, parts).mean(), entropy

    out, seen, loss, entropy = ours(x)
    words = jax.nn.sigmoid(seen["logit"])
    codes = {name: out[name] for name in ("code", "again")}
    images = {"rebuilt": first(out["rebuilt"]), "features": first(seen["features"])}
    assert_close(theirs, maker=loss, critic=entropy, words=words, **codes, **images)

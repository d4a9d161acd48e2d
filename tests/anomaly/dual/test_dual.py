"""DSR's networks as large as published, its defects of codes, and its three trainings, ended in between."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import Dsr
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.dual import restoring
from jaxqc.anomaly.dual.coding import Coding
from jaxqc.anomaly.dual.latent import cells, pixels, ranks, spoilt
from jaxqc.anomaly.dual.networks import coded, drawn_restore, slim, vq_vae
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.training import train_state
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.models.dsr import MaskNet
from jaxqc.training.checkpoint import steps_in
from tests.support.drawn import drawn
from tests.support.ended import ended_at_save

PIXELS = BackboneConfig("pixels", layers=(1,))
SMALL = Dsr(width=1 / 16, codes=16)


def total(tree) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))


def test_the_networks_are_as_large_as_published():
    """With the moving sums of the codes, which the published model stores as parameters."""
    config, image = Dsr(), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    codebook = jax.eval_shape(Coding(config, load_backbone(PIXELS), 64).init, jax.random.key(0))
    counts = sum(book["count"].size for book in codebook["codes"].values())
    assert total(codebook) - counts == 4_021_379
    restore = jax.eval_shape(lambda: drawn_restore(config, jax.random.key(0), 64))
    assert [total(restore[name]) for name in ("lo", "hi", "decode", "find")] == [
        7_818_240, 7_818_240, 9_418_371, 5_610_690,
    ]  # fmt: skip
    two = jax.ShapeDtypeStruct((1, 64, 64, 2), jnp.float32)
    upsample = jax.eval_shape(MaskNet().init, jax.random.key(0), (image, image, two))
    assert total(codebook) - counts + total(restore) + total(upsample) == 40_298_762


@pytest.mark.slow
def test_defects_are_where_the_mask_is_and_nowhere_else(rng):
    network, image = vq_vae(SMALL), rng.uniform(size=(6, 32, 32, 3)).astype(np.float32)
    code = {name: rng.normal(0, 0.1, (64, 8)).astype(np.float32) for name in ("lo", "hi")}  # of 16 one may be its own
    book = slim({**drawn(network, image, code), "codes": {name: {"code": x} for name, x in code.items()}})
    mask = np.zeros((6, 32, 32), np.float32)
    mask[:5, 3, 9] = 1  # the sixth image has none
    run = jax.jit(lambda keys: spoilt(SMALL, book, image, mask, keys))
    clean, bad, found = run(jax.random.split(jax.random.key(0), 6))
    for a, b in zip(clean, jax.jit(lambda x: coded(SMALL, book, x))(image), strict=True):
        np.testing.assert_array_equal(a, b)
    moved = {name: np.abs(a - b).max(-1) > 0 for name, a, b in zip(("lo", "hi"), clean, bad, strict=True)}
    there = {name: np.asarray(cells(mask, *x.shape[1:])) > 0 for name, x in moved.items()}
    assert (moved["lo"] <= there["lo"]).all()
    own = moved["lo"].any((1, 2))
    assert {*own[:5]} == {True, False}, "some images have defects in the coarse map, and some in the fine one alone"
    assert (moved["hi"][~own] <= there["hi"][~own]).all()
    sides = np.where(own[:, None, None], *(pixels(there[name].astype(np.float32), 32) for name in ("lo", "hi")))
    np.testing.assert_array_equal(found, sides)
    assert not np.asarray(found)[5].any()


def test_a_defects_mask_says_nothing_of_its_codes(monkeypatch):
    """The noise's draws stand in the mask's place; codes and the images that have any are drawn by others."""
    drawn = lambda key, number: jax.random.uniform(jax.random.split(key, 3)[number])
    seen = lambda number: lambda key, h, w, *_, **__: jnp.full((h, w), drawn(key, number))
    keys = jax.random.split(jax.random.key(0), 400)
    for number in range(3):
        monkeypatch.setattr(restoring, "perlin_mask", seen(number))
        masks, own = restoring.planned(keys, 1, share=1.0)
        noise, codes = masks[:, 0, 0], jax.vmap(lambda key: jax.random.uniform(key, (4,)))(own)
        assert np.abs(np.corrcoef(noise, codes.T)[0, 1:]).max() < 0.2
        some = restoring.planned(keys, 1, share=0.5)[0][:, 0, 0] > 0
        assert 150 < some.sum() < 250
        assert abs(float(noise[some].mean()) - 0.5) < 0.1


@pytest.mark.parametrize("count", [2, 10])
def test_a_defect_among_few_codes_is_another_code(count):
    rank = jax.jit(lambda key: ranks(key, count, jnp.array([0.1, 1.0]), (4, 4)))(jax.random.key(0))
    assert rank.min() >= 1
    assert rank.max() < count


@pytest.mark.misuse
def test_settings_that_do_not_go_together_are_refused():
    for config, said in ((Dsr(codes=1), "another code"), (Dsr(mixed=2.0), "share"), (Dsr(window=4), "odd")):
        with pytest.raises(UserError, match=said):
            config.check("recipe")
    pixels, other = load_backbone(PIXELS), BackboneConfig("filters", layers=(1,))
    with pytest.raises(UserError, match=r"--backbone\.name pixels"):
        Dsr().on(other).method(pixels, 64)
    with pytest.raises(UserError, match="multiple of 32"):
        Dsr().on(PIXELS).method(pixels, 48)


@pytest.mark.slow
@pytest.mark.parametrize(("ended", "of"), [(1, "training_codebook"), (2, "training_codebook"), (3, "training_restore")])
def test_the_trainings_go_on_where_they_were_ended(ended, of, recipe, boards, tmp_path, monkeypatch):
    """The state after an end within or between trainings is that of one sitting."""
    short = replace(SMALL.training, epochs=4.0, batch=8, evaluate_every_epochs=2.0, checkpoint_every_epochs=2.0)
    detector = replace(SMALL, codebook=short, restore=short, training=short)
    config = validate(replace(recipe, detector=detector, backbone=PIXELS, data=replace(recipe.data, size=64)))
    parts, _ = divide(open_dataset(boards), config.data, config.seed)
    train = lambda name: train_state(
        config, config.ready, load_backbone(PIXELS), parts, tmp_path / name / "training", [], False
    )
    whole, about = train("whole")
    assert [about["stages"][name]["step"] for name in ("codebook", "restore")] == [4, 4]
    with ended_at_save(monkeypatch, ended), pytest.raises(KeyboardInterrupt):
        train("ended")
    assert steps_in(tmp_path / "ended" / of / "checkpoints")[-1] == (2 if ended % 2 else 4)
    for a, b in zip(*map(jax.tree.leaves, (whole, train("ended")[0])), strict=True):
        np.testing.assert_array_equal(a, b)

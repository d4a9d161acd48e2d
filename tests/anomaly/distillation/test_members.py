"""Every member that learns from features: resumed bit for bit, one device as eight, what no checkpoint holds."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxqc.anomaly.detectors.discriminator import MEMBERS as DISCRIMINATORS
from jaxqc.anomaly.detectors.distillation import MEMBERS
from jaxqc.anomaly.detectors.retrieval import MEMBERS as RETRIEVALS
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.learned.cache import with_features
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.training import train_state
from jaxqc.data.dataset import ArrayDataset
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.training import loop
from jaxqc.training.checkpoint import read, steps_in
from tests.support.quick_detectors import QUICK

TRAINED = {**MEMBERS, **DISCRIMINATORS, **RETRIEVALS}


@pytest.fixture(scope="module")
def train(recipe, boards, teachers):
    """(member, folder, fields) → the state that three short epochs over a small teacher make in that folder."""
    first = replace(recipe.backbone, layers=(1,))
    parts, _ = divide(open_dataset(boards), recipe.data, recipe.seed)

    def run(name, folder, devices=1, **fields):
        detector = QUICK[name] if name in RETRIEVALS else TRAINED[name]()
        short = replace(detector.training, epochs=3.0, batch=8, evaluate_every_epochs=1.0, checkpoint_every_epochs=1.0,
                        optim=replace(detector.training.optim, warmup_epochs=0.0))  # fmt: skip
        detector = replace(detector, training=replace(short, **fields))
        teacher, backbone, size = teachers.get(name) or (first, load_backbone(first), recipe.data.size)
        data = replace(recipe.data, size=size)
        config = replace(recipe, detector=detector, devices=devices, backbone=teacher, data=data)
        return train_state(validate(config), config.ready, backbone, parts, folder, [], False)[0]

    return run


# Quickly CFLOW does so (flow/test_flow_fit.py), and STFPM where it is killed (test_training.py).
@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_training_that_was_ended_goes_on_bit_for_bit_and_eight_devices_train_as_one(
    name, train, tmp_path, monkeypatch
):
    save, folder = loop._Sitting._save, tmp_path / "ended"

    def saved_and_ended(sitting):
        save(sitting)
        sitting.saves.wait()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop._Sitting, "_save", saved_and_ended)
        with pytest.raises(KeyboardInterrupt):
            train(name, folder)
    assert steps_in(folder / "checkpoints") == [1]
    whole, again, eight = train(name, tmp_path / "whole"), train(name, folder), train(name, tmp_path / "eight", 8)
    for a, b, c in zip(*map(jax.tree.leaves, (whole, again, eight)), strict=True):
        np.testing.assert_array_equal(a, b)
        nearly_equal(a, c, LOOSE.get(name, 1e-3))
    flat = read(folder / "checkpoints" / str(steps_in(folder / "checkpoints")[-1]))[0]
    frozen = {"teacher", "backbone", "memory", "textures"}
    assert not frozen & {part for key in flat for part in key}, "no checkpoint holds what nothing trains"


LOOSE = {"destseg": 3e-2}
"""Mean difference of eight devices from one, where it may be more. With weights moved by 1e-7 the gradient of this
small student jumped once in six times by a hundredth of its largest value, and the rate is 0.4."""


def nearly_equal(one, eight, apart):
    """Adam makes whole steps of gradients that are next to nothing: few numbers may part, the mean may not."""
    a, b = (np.asarray(x, np.float64) for x in (one, eight))
    assert a.shape == b.shape
    assert np.abs(a - b).sum() <= apart * a.size * max(1.0, float(np.abs(a).max(initial=0.0)))


def test_cached_features_give_the_loss_of_computed_ones(teachers, rng):
    config, backbone, size = teachers["dinomaly"]
    images = rng.integers(0, 256, (3, size, size, 3), np.uint8)
    data = ArrayDataset("tiny", (), tuple("abc"), images, images[..., 0] // 255, np.zeros(3, np.int32))
    method = MEMBERS["dinomaly"]().on(config).method(backbone, size)
    frozen = method.frozen()
    kept = with_features(data, method.features, frozen, 2).more
    variables = {**jax.jit(method.init)(jax.random.key(0)), **frozen}
    losses = jax.jit(method.losses)
    expected = losses(variables, {"image": images})
    np.testing.assert_allclose(losses(variables, {"image": 0 * images, **kept}), expected, rtol=1e-5)


@pytest.mark.slow
def test_features_in_files_train_as_those_on_the_device(train, tmp_path):
    resident, streamed = (
        train("stfpm", tmp_path / mode, mode=mode, cache="float32") for mode in ("resident", "stream")
    )
    jax.tree.map(np.testing.assert_array_equal, resident, streamed)


@pytest.mark.misuse
def test_wrong_settings_are_named(recipe, teachers):
    training = MEMBERS["stfpm"]().training
    for name, changes, words in (
        ("stfpm", {"training": replace(training, batch=0)}, "detector.training: batch=0 must be above 0"),
        ("stfpm", {"training": replace(training, epochs=0.0)}, "detector.training: epochs=0.0"),
        (
            "stfpm",
            {"training": replace(training, optim=replace(training.optim, accumulate=3))},
            "batch=32 is not a mul",
        ),
        ("rd4ad", {"top": 1.5}, "top=1.5 is neither a share"),
        ("dinomaly", {"easy": 1.0}, "easy=1.0 is a share"),
        ("cdo", {"corrupt": "none"}, "weigh='margin' does not go with corrupt='none'"),
        ("stfpm", {"pictures": "DTD"}, "pictures='DTD': student='mirror', corrupt='none' shows none"),
        ("rdpp", {"corrupt": "none"}, "student='projected', weigh='none' does not go with corrupt='none'"),
        ("cdo", {"values": 0.5}, "weigh='margin' is the whole loss and leaves out student='mirror', values=0.5"),
        ("stfpm", {"own": 0.2}, "own=0.2: student='mirror' has no loss of its own; set own to 0"),
        ("destseg", {"alone": 1.0}, "alone=1.0 is a share"),
        ("cdo", {"training": training}, "training.cache='auto': no image stays as it is; set it to none"),
    ):
        with pytest.raises(UserError, match=words):
            validate(replace(recipe, detector=replace(MEMBERS[name](), **changes)))
    dinomaly = MEMBERS["dinomaly"]()
    with pytest.raises(UserError, match="rebuilds two or more blocks' tokens of a transformer; take --backbone"):
        dinomaly.on(recipe.backbone).method(load_backbone(recipe.backbone), 42)
    teacher, backbone, _ = teachers["dinomaly"]
    with pytest.raises(UserError, match=r"data\.size=48 must be a multiple of 14; take 42"):
        dinomaly.on(teacher).method(backbone, 48)
    efficient = MEMBERS["efficient_ad"]()
    with pytest.raises(UserError, match=r"its descriptions come from one of pdn_small, pdn_medium"):
        efficient.on(recipe.backbone).method(backbone, 128)
    with pytest.raises(UserError, match=r"data\.size=100 must be a multiple of 64, 128 at least; take 128"):
        efficient.on(teachers["efficient_ad"][0]).method(backbone, 100)
    for backbone, words in (
        (replace(teacher, layers=(1, 9)), r"layers=\(1, 9\); choose one or more of 1 to 8"),
        (replace(recipe.backbone, tokens=True), r"backbone\.tokens: resnet_narrow has none"),
    ):
        with pytest.raises(UserError, match=words):
            validate(replace(recipe, backbone=backbone))
    with pytest.raises(UserError, match="a reverse network has one teacher"):
        MEMBERS["rd4ad"]().on(replace(recipe.backbone, name="filters+resnet_narrow")).method(backbone, 48)
    with pytest.raises(UserError, match=r"rebuilds layers 1 to 3 of a ResNet; take --backbone\.name resnet18"):
        MEMBERS["destseg"]().on(replace(recipe.backbone, layers=(1, 4))).method(backbone, 48)
    with pytest.raises(UserError, match=r"detector\.map='gradient': student='reverse' sees no image"):
        MEMBERS["rd4ad"](map="gradient").on(recipe.backbone).method(load_backbone(recipe.backbone), 48)
    odd = MEMBERS["rd4ad"]().on(replace(recipe.backbone, layers=(1, 2, 3)))
    with pytest.raises(UserError, match=r"data\.size=48 must be a multiple of 32"):
        odd.method(load_backbone(recipe.backbone), 48)

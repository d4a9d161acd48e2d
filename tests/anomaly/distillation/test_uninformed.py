"""Uninformed Students: loss and maps against NumPy, the unit of the maps, weights in a folder, refusals."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors.distillation import EfficientAd, Uninformed
from jaxqc.anomaly.features import load_backbone
from jaxqc.data.dataset import ArrayDataset
from jaxqc.errors import UserError
from jaxqc.models.pdn import PDNS, Pdn
from jaxqc.models.pretrained import LoadReport
from jaxqc.weights.load import Weights, save_weights


@pytest.fixture(scope="module")
def parts(teachers):
    """The pair, its method with the statistics of three images, its variables, those images, what each network says."""
    config, backbone, size = teachers["uninformed"]
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    data = ArrayDataset("tiny", (), tuple("abc"), images, images[..., 0] // 255, np.zeros(3, np.int32))
    pair = Uninformed(copies=2).on(config)
    method = pair.method(backbone, size).measured(data, 2)
    variables = {**jax.jit(method.init)(jax.random.key(0)), **method.frozen()}
    seen = jnp.asarray((images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], jnp.float32)
    run = jax.jit(lambda name, v, x: Pdn(PDNS[name]).apply(v, x)["layer1"], static_argnums=0)
    said = {}
    for name in config.parts:
        taught = np.asarray(run(name, backbone.variables[name], seen), np.float64)
        taught = (taught - taught.mean((0, 1, 2))) / taught.std((0, 1, 2))
        students = variables["params"][name].values()
        said[name] = taught, np.stack([run(name, {"params": own}, seen) for own in students]).astype(np.float64)
    return pair, method, variables, images, seen, said


def test_the_loss_is_numpys(parts):
    _, method, variables, images, _, said = parts
    expected = sum(((s - t) ** 2).mean((1, 2, 3)) for t, students in said.values() for s in students)
    losses = jax.jit(method.losses)(variables, {"image": images})
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    first, second = (x["conv1"]["kernel"] for x in variables["params"]["pdn_deep"].values())
    assert np.abs(first - second).max() > 0.01, "no two students start alike"


def test_the_map_is_numpys_in_a_common_unit(parts):
    pair, _, variables, _, seen, said = parts
    state = pair.trained(jax.device_get(variables))
    layers = tuple(jnp.asarray(t * variables["statistics"][name]["deviation"] + variables["statistics"][name]["mean"])
                   for name, (t, _) in said.items())  # fmt: skip
    grids = tuple(map(np.asarray, jax.jit(pair.grids)(state, (layers, seen))))
    whole, expected = 0, []
    for place, (t, students) in enumerate(said.values()):
        mean = students.mean(0)
        error = ((mean - t) ** 2).mean(-1)
        variance = (students**2).mean((0, -1)) - (mean**2).mean(-1)
        rim = (12 - t.shape[1]) // 2
        for found, own in zip(grids[2 * place : 2 * place + 2], (error, variance), strict=True):
            own = np.pad(own, ((0, 0), (rim, rim), (rim, rim)))
            np.testing.assert_allclose(found, own, atol=1e-4)
            whole = whole + own / own.std() / 2
    expected = np.asarray(jax.image.resize(whole, (3, 48, 48), "bilinear"))
    settled = pair.settled(state, grids)
    maps, scores = jax.jit(lambda state, embedded: pair.score(state, embedded, 48))(settled, (layers, seen))
    np.testing.assert_allclose(maps, expected, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(scores, maps.max((1, 2)), rtol=1e-6)


def test_one_file_serves_both_systems_and_a_folder_has_several(teachers, tmp_path):
    """Teachers of EfficientAD teach these students, too; those of other proportions are refused there."""
    config, backbone, size = teachers["uninformed"]
    for name in config.parts:
        values = {"params": backbone.variables[name]["params"]}
        save_weights(tmp_path / f"{name}.npz", Weights(name, (1,), values, LoadReport(name, (1,), 8), "drawn", "0"))
    again = load_backbone(replace(config, weights=str(tmp_path)))
    jax.tree.map(np.testing.assert_array_equal, again.variables, dict(backbone.variables))
    alone = replace(config, name="pdn_test", weights=str(tmp_path / "pdn_test.npz"))
    for detector in (Uninformed(), EfficientAd()):
        assert detector.on(alone).method(load_backbone(alone), 128).frozen()["teacher"].keys() == {"params"}
    with pytest.raises(UserError, match="one file for 2 networks; leave it out, or give a folder that has pdn_test"):
        load_backbone(replace(config, weights=alone.weights))
    with pytest.raises(UserError, match=r"one of pdn_small, pdn_medium, pdn_tiny, pdn_test; and set"):
        EfficientAd().on(replace(config, name="pdn_deep")).method(backbone, 128)
    with pytest.raises(UserError, match="resnet18 is not one of pdn_small"):
        Uninformed().on(replace(config, name="pdn_deep+resnet18")).method(backbone, size)
    with pytest.raises(UserError, match=r"data\.size=50 must be a multiple of 4 for pdn_test; take 48"):
        Uninformed().on(config).method(backbone, 50)

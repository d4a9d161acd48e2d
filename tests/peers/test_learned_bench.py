"""The learned detectors' benchmark: its rows beside a peer and without one, shared weights, savings that are exact."""

import importlib
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from benchmarks import learned
from benchmarks.lib import image_weights, learned_savings, targets
from benchmarks.lib.common import Candidate
from benchmarks.lib.learned_candidates import MEMBERS, Ours
from benchmarks.lib.learned_weights import describing_name, difference, reverse_name, turned
from jaxqc.anomaly.detectors.dsr import Dsr, DualNetworks
from jaxqc.anomaly.detectors.flow import Cflow
from jaxqc.anomaly.dual.networks import drawn_restore, vq_vae
from jaxqc.anomaly.flow.coupling import permuted
from jaxqc.anomaly.flow.network import Flow, conditions
from jaxqc.models.dsr import MaskNet
from tests.support import anomalib_names

QUICK = "--rounds 2 --seconds .001 --size 64 --batch 1 2"
SERVER = """#!{python}
import json, sys
print(json.dumps({{"anomalib": "0"}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    about = {{"setting": "channels_last", "tried": ["  eager: 1 ms"], "parameters": 7}}
    print(json.dumps({{"error": "no compiler"}} if request.get("compile") else about), flush=True)
"""


@pytest.fixture
def ours(monkeypatch):
    """Candidates that compute nothing."""

    class Idle:
        parameters = 7

        def __init__(self, member, images, dtype):
            self.compile_s = {}

        def score(self):
            self.compile_s["score"] = 1.0
            return Candidate(lambda: None)

        def step(self, cache):
            self.compile_s[cache] = 2.0
            return Candidate(lambda: None)

    monkeypatch.setattr(learned, "Ours", Idle)


def test_rows_without_a_peer(ours, capsys):
    rows = learned.run(learned.parse([*QUICK.split(), "--members", "efficient_ad"]))["learned"]
    steps = ["jaxqc step, images", "jaxqc step, features"]
    assert [(row["name"], row["batch"]) for row in rows] == [
        ("jaxqc score", 1), *((step, 1) for step in steps), ("jaxqc score", 2)
    ]  # fmt: skip
    assert [row["compile_s"] for row in rows] == [1.0, 2.0, 2.0, 1.0]
    out = capsys.readouterr().out
    assert "anomalib is left out: no --peer-python" in out
    assert "efficient_ad: no training step at batch 2" in out


def test_rows_beside_a_peer(ours, tmp_path, capsys):
    path = tmp_path / "python"
    path.write_text(SERVER.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    args = [*QUICK.split(), "--members", "stfpm", "--work", "score", "--peer", "best", "--peer-python", str(path)]
    mine, theirs, *_ = learned.run(learned.parse(args))["learned"]
    assert theirs["name"] == "torch eager: anomalib score, channels_last"
    assert mine["vs_eager"] == mine["vs_best"] == mine["images_per_s"] / theirs["images_per_s"]
    assert (mine["parameters"], theirs["parameters"]) == (7, 7)
    assert "stfpm score compiled is left out: no compiler" in capsys.readouterr().out


def test_goals_are_of_members_that_are_measured():
    assert set(targets.LEARNED) == set(learned.DEFAULT)
    assert all(MEMBERS[name].batches in ((), (batch,)) for name, batch in targets.LEARNED.items())
    goals = [t for t in targets.CPU_TARGETS if t.benchmark == "learned"]
    own = [t for t in goals if MEMBERS[t.model or ""].sees_pixels]
    assert sorted({(t.name, t.least) for t in goals if t not in own}) == [
        ("jaxqc score", 1.2), ("jaxqc step, features", 1.5)
    ]  # fmt: skip
    assert {t.model for t in own} == {name for name, member in MEMBERS.items() if member.sees_pixels}
    assert all(2 in (MEMBERS[t.model or ""].batches or (2,)) for t in own)  # the batch of their run


@pytest.mark.parametrize(
    ("path", "name"),
    [("params layer1_to3 kernel", "bottleneck.conv2.weight"),
     ("batch_stats layer2_to3 bn mean", "bottleneck.bn3.running_mean"),
     ("params embedding_1 conv2 bn scale", "bottleneck.bn_layer.1.bn2.weight"),
     ("params embedding_0 downsample kernel", "bottleneck.bn_layer.0.downsample.0.weight"),
     ("params decoder3_0 conv1 kernel", "decoder.layer1.0.conv1.weight"),
     ("batch_stats decoder1_0 upsample bn var", "decoder.layer3.0.upsample.1.running_var")],
)  # fmt: skip
def test_names_are_those_of_anomalibs_reverse_network(path, name):
    assert reverse_name(tuple(path.split())) == name


def test_names_are_those_of_anomalibs_describing_networks():
    assert describing_name(("params", "autoencoder", "encoder6", "bias")) == "ae.encoder.enconv6.bias"
    assert describing_name(("params", "student", "conv4", "kernel")) == "student.conv4.weight"


@pytest.mark.parametrize(
    ("member", "path", "name"),
    [("draem", "params find decode5_0 kernel", "discriminative_subnetwork.decoder_segment.up_b.1.weight"),
     ("draem", "params find decode4_2 bn scale", "discriminative_subnetwork.decoder_segment.db1.4.weight"),
     ("draem", "batch_stats rebuild encode2_2 bn mean", "reconstructive_subnetwork.encoder.block2.4.running_mean"),
     ("draem", "params rebuild out bias", "reconstructive_subnetwork.decoder.fin_out.0.bias"),
     ("conv_ae", "params rebuild decode3 bias", "decode.2.bias"), ("conv_ae", "params rebuild back_bias", "back.bias")],
)  # fmt: skip
def test_names_are_those_of_the_peers_networks_of_images(member, path, name):
    assert image_weights.NAMES[member](tuple(path.split())) == name


def test_dsr_takes_back_the_weights_that_are_anomalibs(rng):
    config, image = Dsr(width=0.05, codes=8), np.zeros((1, 32, 32, 3), np.float32)
    code = {name: np.zeros((8, 6), np.float32) for name in ("lo", "hi")}
    network, mask = vq_vae(config), MaskNet(4)
    shapes: Any = jax.eval_shape(lambda: network.init(jax.random.key(0), image, code)["params"])
    more = jax.eval_shape(lambda: drawn_restore(config, jax.random.key(0), 32))
    finer = jax.eval_shape(lambda: mask.init(jax.random.key(0), (image, image, image[..., :2]))["params"])
    draw = lambda tree: jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), tree)
    state = DualNetworks({"params": draw(shapes), "codes": draw(code)}, draw(more), draw(finer))
    found = image_weights.with_weights("dsr", jax.tree.map(np.zeros_like, state), anomalib_names.dsr(*state))
    jax.tree.map(np.testing.assert_array_equal, found, state)


def test_kernels_are_turned(rng):
    conv, transposed = rng.normal(size=(5, 4, 3, 3)), rng.normal(size=(4, 5, 2, 2))
    assert turned(conv, (3, 3, 4, 5))[0, 1, 2, 3] == conv[3, 2, 0, 1]
    assert turned(transposed, (2, 2, 4, 5))[0, 1, 2, 3] == transposed[2, 3, 0, 1]
    assert turned(conv[:, :, :1, :1], (4, 5))[2, 3] == conv[3, 2, 0, 0]
    with pytest.raises(ValueError, match="needed"):
        turned(conv, (3, 3, 5, 4))
    maps = rng.uniform(1, 2, (1, 5, 5))
    assert difference(np.pad(maps, ((0, 0), (1, 1), (1, 1))), np.pad(maps, ((0, 0), (1, 1), (1, 1)), "edge"), 1) == 0
    assert difference(np.array([[[1.0, 2.0]]]), np.array([[[1.0, 2.5]]])) == 0.2


def test_undone_savings_of_flows_give_the_same(rng):
    config = replace(Cflow(), blocks=(2,), condition=8)
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 6)), jnp.float32)
    flow = Flow(config, (6,))
    variables = jax.jit(lambda key: flow.init(key, (x,), conditions(config, (x,))))(jax.random.key(0))
    run = lambda flow, given: jax.jit(lambda v, x: flow.apply(v, (x,), given(config, (x,))))(variables, x)
    with_all = run(flow, conditions)
    for undone in (
        run(flow, learned_savings.on_every_cell),
        run(learned_savings.Sliced(config, (6,)), learned_savings.on_every_cell),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), with_all, undone)
    for back in (False, True):
        np.testing.assert_allclose(
            learned_savings.reordered_otherwise(x, "hard", 1, back), permuted(x, "hard", 1, back), rtol=1e-6
        )


def test_undone_savings_of_distillations_give_the_same():
    answers = lambda self, params, image: (image + params, image * params)
    image = jnp.arange(6.0)
    apart = learned_savings.one_by_one(answers)(None, 2.0, image)
    jax.tree.map(np.testing.assert_array_equal, apart, answers(None, 2.0, image))
    same = learned_savings.features_enlarged(lambda self, teacher, student, size: (*teacher, *student, size))
    layers = (jnp.ones((1, 2, 2, 3)), jnp.ones((1, 1, 1, 3)))
    assert [np.shape(part) for part in same(None, layers, layers, 4)] == [(1, 2, 2, 3)] * 4 + [()]


def test_colours_change_as_pillow_changes_them(monkeypatch, rng):
    torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")
    monkeypatch.syspath_prepend(str(Path(learned.__file__).parent / "peers"))
    absent = importlib.import_module("absent")
    pixels = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    for kind, enhance in (("brightness", "Brightness"), ("contrast", "Contrast"), ("saturation", "Color")):
        change = absent.USED["torchvision.transforms.functional"][f"adjust_{kind}"]
        expected = np.asarray(getattr(ImageEnhance, enhance)(Image.fromarray(pixels)).enhance(1.2), np.float32)
        np.testing.assert_allclose(255 * change(image, 1.2)[0].permute(1, 2, 0), expected, atol=1.5)


@pytest.mark.slow
def test_rows_of_a_member():
    ours = Ours(MEMBERS["stfpm"], learned.noise(2, 64))
    assert ours.parameters == 2_782_784
    maps, scores = ours.score().call()
    assert (maps.shape, scores.shape) == ((2, 64, 64), (2,))
    images, features = (float(np.ravel(ours.step(cache).call())[0]) for cache in ("none", "float32"))
    assert images == pytest.approx(features, rel=1e-5)


@pytest.mark.slow
def test_rows_of_savings():
    rows = learned.run(learned.parse([*QUICK.split(), "--savings", "d", "g", "h"]))["learned-savings"]
    assert [row["name"][0] for row in rows] == ["d", "d", "g", "h"]
    assert all(row["brings"] > 0 for row in (rows[0], rows[2]))

"""Whole networks beside anomalib's own modules, on shared random weights: features, losses, scores and maps.

`JAXQC_PEER_PYTHON` names an interpreter that has anomalib (`benchmarks/peers/anomalib_learned.py` says with what).
`pytest -s` prints the largest differences.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.peers.served import FORWARD, PeerError, Served
from jaxqc.anomaly.detectors import Dinomaly, Gaussian, PatchCore, Stfpm
from jaxqc.anomaly.detectors.base import BackboneConfig, shapes_of
from jaxqc.anomaly.detectors.flow import Cflow, CsFlow, FastFlow, FlowInUnits, FlowWeights
from jaxqc.anomaly.detectors.patchcore import Bank
from jaxqc.anomaly.discriminator.network import Discriminator, doubled
from jaxqc.anomaly.distillation.objective import imitation_loss
from jaxqc.anomaly.features import Backbone, apply_function, normalised
from jaxqc.anomaly.flow.coupling import order
from jaxqc.anomaly.flow.network import conditions, entering, flow_of
from jaxqc.anomaly.flow.objective import image_losses
from jaxqc.anomaly.flow.score import scored
from jaxqc.anomaly.ops.maps import distance_map
from jaxqc.models.backbones import build
from jaxqc.models.pretrained import export_state
from jaxqc.models.vit_decoder import VitDecoder
from jaxqc.nn.fold import fold_batch_norm
from tests.support.anomalib_names import (
    all_in_one,
    below,
    cross,
    discriminator,
    vit_decoder,
)
from tests.support.drawn import drawn

SIDE, NAME = 64, "resnet18"
PYTHON = os.environ.get("JAXQC_PEER_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="JAXQC_PEER_PYTHON names no interpreter that has anomalib"),
]


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """(member, weights, inputs) → the outputs of anomalib's network."""
    file = tmp_path_factory.mktemp("peer") / "arrays.npz"
    try:
        served = Served(PYTHON, FORWARD)
    except PeerError as e:
        pytest.skip(str(e))
    with served:

        def run(member, weights, **given):
            whole = {f"weights/{name}": x for name, x in weights.items()} | given
            np.savez(file, **{name: np.ascontiguousarray(x) for name, x in whole.items()})
            served.ask(prepare=member, work="forward", member=member, arrays=str(file))
            served.ask(run=member)
            served.ask(save=member, out=str(file))
            served.ask(drop=member)
            return dict(np.load(file))

        yield run


@pytest.fixture(scope="module")
def network():
    """ResNet-18's variables to layer 3, its layers as our backbones, and two images as both sides take them."""
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    variables = drawn(build(NAME, (1, 2, 3)), jnp.zeros((1, SIDE, SIDE, 3)))
    return variables, images, first(normalised(images))


def first(x):
    """Channels first, for PyTorch."""
    return np.moveaxis(np.asarray(x), -1, 1)


def backbone(variables, *layers):
    """The config and network of these layers, batch norm folded."""
    config = BackboneConfig(NAME, layers=layers)
    return config, Backbone(fold_batch_norm(variables), apply_function(config), {"sha256": ""})


def assert_close(theirs, most=1e-4, rim=0, **ours):
    """Each is theirs of that name, up to a share of its largest value; printed for people. rim: pixels left out."""
    apart, inner = {}, slice(rim, -rim or None)
    for name, x in ours.items():
        a, b = np.asarray(x), theirs[name]
        assert a.shape == b.shape, name
        a, b = (y[:, inner, inner] if name == "map" else y for y in (a, b))
        apart[name] = float(np.abs(a - b).max() / np.abs(b).max())
        assert b.size < 4 or b.std() > 1e-6, f"{name} is constant: nothing was compared"
    print({name: f"{x:.1e}" for name, x in apart.items()})
    assert max(apart.values()) < most


def test_stfpm(network, peer):
    variables, images, x = network
    config, teacher = backbone(variables, 1, 2, 3)
    pair = Stfpm().on(config)
    student = drawn(build(NAME, (1, 2, 3)), jnp.zeros((1, SIDE, SIDE, 3)), seed=1)
    weights = below("teacher_model.feature_extractor", export_state(variables))
    weights |= below("student_model.feature_extractor", export_state(student))
    theirs = peer("stfpm", weights, image=x)
    score = lambda v, state: pair.score(state, pair.embed(teacher.apply(v, images), normalised(images)), SIDE)
    maps, _ = jax.jit(score)(teacher.variables, pair.trained(student))
    method = pair.method(teacher, SIDE)
    losses = jax.jit(method.losses)({**student, **method.frozen()}, {"image": images})
    assert_close(theirs, map=maps, loss=losses.sum() / 2)  # anomalib's has a factor of a half, and sums over the batch


def flow_on(config, variables, layers):
    """A backbone's method and the flow's variables, whose gain and offset are not those of its start."""
    own, network = backbone(variables, *layers)
    detector = config.on(own)
    method = detector.method(network, SIDE)
    xs = entering(config, tuple(jnp.zeros((1, *shape)) for shape in method.shapes))
    params = drawn(method.flow, xs, conditions(config, xs))["params"]
    near = lambda path, x: x + 9.5 if path[-1].key == "scale" else 0.1 * x if path[-1].key == "offset" else x
    return detector, network, method, jax.tree_util.tree_map_with_path(near, params)


def couplings(params, blocks, names, cells):
    """The arrays of a chain a layer: so many couplings each, below these names."""
    out = {}
    for i in range(len(params)):
        chain, place = divmod(i, blocks)
        out |= below(f"{names}.{chain}.module_list.{place}", all_in_one(params[f"couplings_{i}"], place, cells))
    return out


def test_fastflow(network, peer):
    variables, images, x = network
    detector, trunk, _, params = flow_on(FastFlow(), variables, (1, 2, 3))
    weights = below("feature_extractor", export_state(variables)) | couplings(params, 8, "fast_flow_blocks", False)
    theirs = peer("fastflow", weights, image=x)
    run = lambda v, params: detector.run(params, detector.embed(trunk.apply(v, images), None)[0])
    zs, dets = jax.jit(run)(trunk.variables, params)
    maps, _ = jax.jit(lambda zs, dets: scored(detector.config, zs, dets, SIDE))(zs, dets)
    theirs["map"] += 1  # anomalib's is minus a probability
    each = {f"z{i}": first(z) for i, z in enumerate(zs)} | {f"det{i}": d.sum((1, 2)) for i, d in enumerate(dets)}
    assert_close(theirs, map=maps, loss=image_losses(detector.config, zs, dets).mean(), **each)
    assert isinstance(detector.trained({"params": params}), FlowWeights)


def test_cflow(network, peer):
    variables, images, x = network
    detector, trunk, method, params = flow_on(Cflow(combine="probability"), variables, (2, 3))
    weights = below("encoder.feature_extractor", export_state(variables)) | couplings(params, 8, "decoders", True)
    theirs = peer("cflow", weights, image=x)
    losses = jax.jit(method.losses)({"params": params, **method.frozen()}, {"image": images})
    score = lambda v, state: detector.score(state, detector.embed(trunk.apply(v, images), None), SIDE)
    maps, _ = jax.jit(score)(trunk.variables, FlowInUnits(params, theirs["most"]))
    assert_close(theirs, map=maps - maps.min(), loss=losses.mean())  # anomalib's smallest is 0, whatever the batch


def test_cs_flow(peer, rng):
    config, shapes = CsFlow(width=16), ((4, 4, 304), (2, 2, 304), (1, 1, 304))
    xs = tuple(rng.normal(size=(1, *shape)).astype(np.float32) for shape in shapes)
    flow = flow_of(config, shapes)
    params = drawn(flow, xs, ((),) * 3)["params"]
    gammas = lambda path, x: 0.3 * x if path[-1].key.startswith("gamma") else x
    params = jax.tree_util.tree_map_with_path(gammas, params)
    weights = {}
    for i in range(4):
        for net, name in (("by_first", "cross_convolution1"), ("by_second", "cross_convolution2")):
            weights |= below(f"graph.module_list.{2 * i + 1}.{name}", cross(params[f"couplings_{i}"][net]))
    given = {f"x{i}": first(x) for i, x in enumerate(xs)} | {f"order{i}": order(304, i) for i in range(4)}
    theirs = peer("cs_flow", weights, **given)
    zs, dets = jax.jit(lambda p, xs: flow.apply({"params": p}, xs, ((),) * 3))(params, xs)
    maps, scores = jax.jit(lambda zs, dets: scored(config, zs, dets, 128))(zs, dets)
    theirs["map"] = (theirs["map"] / 8) ** (1 / 3)  # ours is the geometric mean of half the squares
    each = {f"z{i}": first(z) for i, z in enumerate(zs)}
    total = jnp.stack([d.sum() for d in dets]).sum()[None]
    assert_close(theirs, map=maps, score=scores, det=total, loss=image_losses(config, zs, dets)[0], **each)


def test_supersimplenet(network, peer):
    variables, images, x = network
    _, trunk = backbone(variables, 2, 3)
    features = jax.jit(lambda v: doubled(trunk.apply(v, images)))(trunk.variables)
    heads = Discriminator()
    own = drawn(heads, features)
    weights = below("feature_extractor.feature_extractor.feature_extractor", export_state(variables))
    theirs = peer("supersimplenet", weights | discriminator(own), image=x)
    cells, score = jax.jit(heads.apply)(own, features)
    maps = jax.jit(lambda cells: distance_map(jax.nn.softplus(cells), SIDE, SIDE, 0.0))(cells)
    assert_close(theirs, map=maps, cells=cells, score=score)


def test_dinomaly(peer, rng):
    """From the tokens of anomalib's encoder, which timm's own tests of parity compare."""
    pair = Dinomaly(sigma=0.0).on(BackboneConfig("dinov2_vits14_reg", layers=tuple(range(3, 11)), tokens=True))
    decoder = VitDecoder((4, 4), 6)
    side, d = 112, 384
    params = drawn(decoder, (jnp.zeros((1, 1, 69, d)),) * 2)["params"]
    x = rng.normal(size=(2, 3, side, side)).astype(np.float32)
    theirs = peer("dinomaly", vit_decoder(params), image=x)
    groups = pair.kept(tuple(jnp.asarray(theirs[f"tokens{i}"])[:, None] for i in range(2, 10)))
    out = jax.jit(decoder.apply)({"params": params}, groups)
    teacher, student = pair.compared(groups), pair.compared((out["layer1"], out["layer2"]))
    maps = jax.jit(lambda t, s: pair.maps(t, s, side))(teacher, student)
    loss = imitation_loss("cosine_flat", teacher, student).mean() / 2
    assert_close(theirs, map=maps, loss=loss, **{f"answer{i}": first(s) for i, s in enumerate(student)})


def test_patchcore(network, peer, rng):
    variables, images, x = network
    _, trunk = backbone(variables, 2, 3)
    detector = PatchCore(merging=False, sigma=0.0)
    embedded = jax.jit(lambda v: detector.embed(trunk.apply(v, images), None))(trunk.variables)
    bank = np.asarray(embedded).reshape(-1, embedded.shape[-1])[::3]
    bank = bank + 0.3 * bank.std() * rng.normal(size=bank.shape).astype(np.float32)
    theirs = peer(
        "patchcore", below("feature_extractor.feature_extractor", export_state(variables)), image=x, bank=bank
    )
    maps, scores = jax.jit(detector.score, static_argnums=2)(Bank(jnp.asarray(bank)), embedded, SIDE // 8)
    assert_close(theirs, map=maps, score=scores)


def test_gaussian_as_padim(network, peer, rng):
    variables, images, x = network
    _, trunk = backbone(variables, 1, 2, 3)
    detector = Gaussian(100, eps=0.01 + 1e-5)
    normal = rng.integers(0, 256, (12, SIDE, SIDE, 3), np.uint8)
    layers = jax.jit(trunk.apply)(trunk.variables, normal)
    shapes = shapes_of(layers)
    starts = np.cumsum([0, *(c for _, _, c in shapes)])
    channels = np.concatenate([start + own for start, own in zip(starts, detector.choice(shapes), strict=False)])
    weights = below("feature_extractor.feature_extractor", export_state(variables))
    theirs = peer("padim", weights, image=x, normal=first(normalised(normal)), channels=channels)
    collected = detector.collect(detector.begin(shapes, 12), detector.embed(layers, None), jnp.arange(12))
    state = detector.finish(collected, shapes)
    score = lambda v, state: detector.score(state, detector.embed(trunk.apply(v, images), None), SIDE)
    maps, _ = jax.jit(score)(trunk.variables, state)
    assert_close(theirs, rim=16, map=maps)  # at the rim anomalib's filter mirrors without the edge's own pixel

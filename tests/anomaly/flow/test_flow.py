"""Flows over layers: sizes as published, losses and maps against NumPy, cells drawn by image, refusals."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly import features
from jaxqc.anomaly.detectors.asymmetric import AST_FLOW, Ast
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.flow import SETTLED, Cflow, CsFlow, DifferNet, FastFlow, FlowConfig, MsFlow
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.flow.detector import seen
from jaxqc.anomaly.flow.network import conditions, entering, flow_of
from jaxqc.anomaly.flow.objective import drawn, image_losses
from jaxqc.anomaly.flow.score import attributed, constants_of, latent_score, own_units, scored
from jaxqc.errors import UserError
from jaxqc.fields import validate
from tests.support.drawn import drawn as drawn_params

RESNET18 = ((8, 8, 64), (4, 4, 128), (2, 2, 256), (1, 1, 512))
WIDE = ((8, 8, 256), (4, 4, 512), (2, 2, 1024), (1, 1, 2048))
SIZES = {
    "FastFlow, ResNet-18": (FastFlow(), RESNET18[:3], 2_593_024),
    "FastFlow, kernels of 3": (FastFlow(kernels=(3,)), RESNET18[:3], 4_657_408),
    "FastFlow, WRN50-2": (FastFlow(), WIDE[:3], 41_337_856),
    "FastFlow, WRN50-2, narrow": (FastFlow(hidden=0.16), WIDE[:3], 6_556_776),
    "CFLOW, ResNet-18": (Cflow(), RESNET18[1:], 8_620_032),
    "CFLOW, WRN50-2": (Cflow(), WIDE[1:], 81_647_616),
    "CS-Flow": (CsFlow(), ((8, 8, 304), (4, 4, 304), (2, 2, 304)), 275_227_288),
    "AST's teacher": (AST_FLOW, ((4, 4, 304),), 3_251_080),
    "DifferNet, but for batch norms that its authors never call": (DifferNet(turns=1), ((2, 2, 256),) * 3, 172_077_056),
    "MSFlow, ResNet-18": (MsFlow(), RESNET18[:3], 277_440 + 1_478_400 + 6_203_904 + 1_227_408),
    "MSFlow, WRN50-2": (MsFlow(), WIDE[:3], 1_550_976 + 11_993_280 + 66_393_600 + 19_618_368),
}


@pytest.mark.parametrize("name", SIZES)
def test_it_has_as_many_parameters_as_published(name):
    config, shapes, expected = SIZES[name]
    xs = tuple(jax.ShapeDtypeStruct((1, *shape), jnp.float32) for shape in shapes)

    def start(layers):
        xs = entering(config, layers)
        return flow_of(config, shapes).init(jax.random.key(0), xs, conditions(config, xs))

    assert sum(x.size for x in jax.tree.leaves(jax.eval_shape(start, xs))) == expected


@pytest.fixture
def output(rng):
    """z and ln|det| of two layers."""
    shapes = ((4, 4, 3), (2, 2, 6))
    zs = tuple(rng.normal(size=(2, *s)).astype(np.float32) for s in shapes)
    return zs, tuple(rng.normal(size=z.shape[:3]).astype(np.float32) for z in zs)


def densities(zs, dets):
    """-ln p / c of each cell, in float64."""
    for z, det in zip(zs, dets, strict=True):
        c = z.shape[-1]
        yield (0.5 * (z.astype(np.float64) ** 2).sum(-1) + 0.5 * c * np.log(2 * np.pi) - det) / c


def test_losses_are_those_of_numpy(output):
    zs, dets = output
    nll = sum((z.astype(np.float64) ** 2).sum((1, 2, 3)) / 2 - d.sum((1, 2)) for z, d in zip(zs, dets, strict=True))
    bound = sum(np.log1p(np.exp(x)).mean((1, 2)) for x in densities(zs, dets))
    for loss, expected in (("nll", nll), ("nll_dim", nll / (16 * 3 + 4 * 6)), ("log_sigmoid", bound)):
        found = jax.jit(image_losses, static_argnums=0)(FlowConfig(loss=loss), zs, dets)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_maps_are_those_of_numpy(output):
    """At the finest layer's own size, where the coarser one is doubled with half-pixel centres."""
    zs, dets = output
    double = lambda x: np.asarray(jax.image.resize(x, (2, 4, 4), "bilinear"))
    halves = [(z.astype(np.float64) ** 2).mean(-1) / 2 for z in zs]
    first, second = halves[0], double(halves[1])
    soft = [np.log1p(np.exp(x)) for x in densities(zs, dets)]
    for combine, expected in (
        ("likelihood", (2 - np.exp(-first) - double(np.exp(-halves[1]))) / 2),
        ("softplus", soft[0] + double(soft[1])),
        ("square", first + second),
        ("product", np.sqrt(first * second)),
        ("standard", first / first.std() + second / halves[1].std()),
        ("probability", 2 - sum(up(np.exp(-x - (-x).max())) for x, up in zip(densities(zs, dets), (np.asarray, double),
                                                                              strict=True))),
    ):  # fmt: skip
        config = FlowConfig(combine=combine, top=0.25)
        units = jax.jit(own_units, static_argnums=0)
        constants = constants_of(config, units(config, zs, dets)) if combine in SETTLED else ()
        maps, scores = jax.jit(scored, static_argnums=(0, 3))(config, zs, dets, (4, 4), constants)
        np.testing.assert_allclose(maps, expected, rtol=1e-4)
        np.testing.assert_allclose(scores, np.sort(expected.reshape(2, -1))[:, -4:].mean(1), rtol=1e-4)
    latent = scored(FlowConfig(score="latent"), zs, dets, (4, 4))[1]
    everything = np.concatenate([z.reshape(2, -1) for z in zs], 1)
    np.testing.assert_allclose(latent, (everything**2).mean(1) / 2, rtol=1e-5)


def test_what_enters_is_normalised_or_pooled(rng):
    xs = tuple(rng.normal(2, 3, (2, s, s, c)).astype(np.float32) for s, c in ((4, 3), (2, 5)))
    flat = xs[0].reshape(2, -1)
    expected = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(entering(FastFlow(), xs)[0].reshape(2, -1), expected, atol=1e-5)
    padded = np.pad(xs[0], ((0, 0), (1, 1), (1, 1), (0, 0)))
    half = entering(FlowConfig(pool="half"), xs)[0]
    np.testing.assert_allclose(half[:, 1, 0], padded[:, 2:5, 0:3].sum((1, 2)) / 9, atol=1e-5)
    (whole,) = entering(FlowConfig(pool="mean"), xs)
    np.testing.assert_allclose(whole[:, 0, 0], np.concatenate([x.mean((1, 2)) for x in xs], -1), atol=1e-5)


def test_cells_are_drawn_image_by_image_with_their_positions():
    x = jnp.arange(2 * 4 * 5.0).reshape(2, 4, 5, 1)
    config = Cflow(condition=4)
    keys = jax.random.split(jax.random.key(0), 2)
    draw = jax.jit(lambda keys, x: drawn(keys, (x,), conditions(config, (x,)), 7))
    (cells,), ((columns, rows),) = draw(keys, x)
    assert cells.shape == (2, 7, 1, 1)
    places = np.asarray(cells[..., 0, 0]).astype(int) - np.array([[0], [20]])
    assert all(len(set(row)) == 7 and min(row) >= 0 and max(row) < 20 for row in places.tolist())
    assert set(places[0]) != set(places[1])
    np.testing.assert_allclose(columns[..., 0, 0], np.sin(places % 5), atol=1e-6)
    np.testing.assert_allclose(rows[..., 0, 0], np.sin(places // 5), atol=1e-6)
    (alone,), _ = draw(keys[1:], x[1:])
    np.testing.assert_array_equal(alone[0], cells[1])
    assert drawn(keys, (x,), ((),), 99)[0][0].shape == (2, 20, 1, 1)


def test_an_image_is_seen_turned_and_at_three_sizes(rng):
    image = rng.random((1, 8, 8, 3)).astype(np.float32)
    views = seen(DifferNet(), image)
    assert [x.shape[1] for x in views] == [8, 4, 2] * 4
    np.testing.assert_array_equal(views[3], np.rot90(image, 1, (1, 2)))
    np.testing.assert_allclose(views[1], image.reshape(1, 4, 2, 4, 2, 3).mean((2, 4)), atol=1e-6)
    (means,) = entering(DifferNet(), tuple(x[..., :1] * (1 + i // 3) for i, x in enumerate(views)))
    assert means.shape == (1, 1, 4, 3)
    np.testing.assert_allclose(means[0, 0, :, 0], image[..., 0].mean() * np.arange(1, 5), rtol=1e-5)
    assert DifferNet(turns=1, scales=(1,)).on(BackboneConfig()).views is None


def test_a_cells_share_in_a_score_of_means_is_its_gradients(rng):
    """By finite differences: a feature's change moves the score by its gradient over the cells."""
    layer = rng.random((1, 2, 3, 2))
    score = lambda xs: (xs[0] ** 2).sum((1, 2, 3))
    pooled = lambda x: (x.mean((1, 2), keepdims=True),)
    share = attributed(score, pooled(jnp.asarray(layer, jnp.float32)), (jnp.asarray(layer, jnp.float32),))
    slopes = []
    for channel in range(2):
        moved = layer.copy()
        moved[0, 1, 2, channel] += 1e-4
        slopes.append((score(pooled(moved))[0] - score(pooled(layer))[0]) / 1e-4 * 6)
    np.testing.assert_allclose(share[0, 0, 1], abs(layer[0, 0, 1] @ slopes), rtol=1e-3)


def test_a_pixels_share_is_the_scores_gradient_through_the_backbone(rng, monkeypatch):
    """By finite differences, through two turns of the image; colours are averaged."""
    squares = lambda image, layers: {"layer1": (image[:, ::2, 1:] / 255) ** 2}
    monkeypatch.setitem(features.FIXED, "squares", squares)
    backbone = BackboneConfig("squares", layers=(1,))
    pair = DifferNet(blocks=(1,), width=4, depth=1, scales=(1,), turns=2, place="pixels").on(backbone)
    image = rng.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    embedded = jax.jit(features.apply_function(backbone, pair.embed, pair.views))({}, image)
    flow = flow_of(pair.config, ((4, 7, 3),) * 2)
    params = drawn_params(flow, embedded[0], ((),))["params"]
    state = pair.trained({"params": params, "backbone": {}})
    maps, scores = jax.jit(lambda state, embedded: pair.score(state, embedded, 8))(state, embedded)

    @jax.jit
    def value(image):
        layers = tuple(squares(255 * view, (1,))["layer1"] for view in (image, image[:, ::-1, ::-1]))
        return latent_score(pair.run(params, entering(pair.config, layers))[0])[0]

    whole, step, slopes = jnp.asarray(image / 255, jnp.float32), 1e-2, []
    assert float(scores[0]) == pytest.approx(float(value(whole)), rel=1e-4)
    for c, deviation in enumerate((0.229, 0.224, 0.225)):
        high, low = (float(value(whole.at[0, 5, 3, c].add(way * step))) for way in (1, -1))
        slopes.append((high - low) / 2 / step * deviation)
    assert float(maps[0, 5, 3]) == pytest.approx(np.abs(slopes).mean(), rel=0.05)


@pytest.fixture(scope="module")
def training(recipe):
    """CFLOW's training over a layer of a tiny backbone, its variables, images, and their keys."""
    backbone = load_backbone(replace(recipe.backbone, layers=(2,)))
    detector = Cflow(blocks=(1,), condition=8, cells=5).on(recipe.backbone)
    method = detector.method(backbone, 48)
    variables = {**jax.jit(method.init)(jax.random.key(1)), **method.frozen()}
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), np.uint8)
    return method, variables, images, jax.random.split(jax.random.key(2), 4)


def test_a_step_over_two_devices_is_that_over_one(training):
    method, variables, images, keys = training
    state = {k: v for k, v in variables.items() if k != "params"}

    def loss_of(params, images, keys):
        batch = method.prepare({"image": jnp.asarray(images)}, keys, 48, True)
        return method.loss(params, state, batch, jax.random.key(0))[0]

    step = jax.jit(jax.value_and_grad(loss_of))
    whole, gradient = step(variables["params"], jnp.asarray(images), keys)
    parts = [step(variables["params"], jnp.asarray(images[i : i + 2]), keys[i : i + 2]) for i in (0, 2)]
    assert float(whole) == pytest.approx(np.mean([x for x, _ in parts]), rel=1e-5)
    for a, b, c in zip(*map(jax.tree.leaves, (gradient, *(g for _, g in parts))), strict=True):
        np.testing.assert_allclose(a, (b + c) / 2, atol=1e-5)
    assert "key" not in method.prepare({"image": jnp.asarray(images)}, keys, 48, False)


def test_wrong_settings_are_named(recipe):
    for detector, words in (
        (FastFlow(blocks=()), r"blocks=\(\)"),
        (FastFlow(kernels=(2,)), r"kernels=\(2,\) must be odd"),
        (FastFlow(condition=6), "condition=6 must be a multiple of 4"),
        (FastFlow(top=1.5), "top=1.5 is neither"),
        (FastFlow(cells=8), "cells=8 needs kernels=1"),
        (FastFlow(combine="softplus"), "combine=softplus needs kernels=1"),
        (Cflow(kernels=(3,), combine="square"), "loss=log_sigmoid needs kernels=1"),
        (FastFlow(together="cross"), "both or neither must be cross"),
        (FlowConfig(subnet="cross", together="cross"), "needs coupling=two_sided"),
        (FlowConfig("two_sided", subnet="cross", together="cross"), "a width above 0"),
        (CsFlow(scales=(2, 1)), r"scales=\(2, 1\) must ascend"),
        (FastFlow(turns=4), "turns=4 needs pool=mean"),
        (DifferNet(score="map"), "pool=mean needs score=latent"),
        (FastFlow(place="pixels"), "place=pixels needs pool=mean"),
        (DifferNet(whiten=True), "pool=mean has none"),
        (Ast(replace(AST_FLOW, whiten=True)), "flow.whiten: the student"),
        (FastFlow(clamp=0.0), "clamp=0.0 must be above 0"),
    ):
        with pytest.raises(UserError, match=f"detector: .*{words}"):
            validate(replace(recipe, detector=detector))
    with pytest.raises(UserError, match="3 chains; give one number, or one a layer"):
        flow_of(FastFlow(blocks=(2, 2)), RESNET18[:3])
    with pytest.raises(UserError, match="each must halve the last"):
        flow_of(FlowConfig("two_sided", subnet="cross", together="cross", width=4), RESNET18[::2])


@pytest.mark.slow
def test_a_trained_flow_reaches_the_entropy_of_a_gaussian():
    """Six correlated channels at one cell have ½ ln det 2πe Σ = 8.546: the mean of -ln p of unseen samples, to 1 %."""
    import optax

    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 6)) / 2 + np.eye(6)
    sample = lambda n: jnp.asarray((rng.normal(size=(n, 6)) @ mix.T).reshape(n, 1, 1, 6), jnp.float32)
    config = FlowConfig(blocks=(8,), kernels=(1,), hidden=8.0)
    flow, train = flow_of(config, ((1, 1, 6),)), sample(20_000)
    variables = jax.jit(flow.init)(jax.random.key(0), (train[:1],), ((),))
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, 3_000))

    def nll(variables, x):
        return image_losses(config, *flow.apply(variables, (x,), ((),))).mean()

    @jax.jit
    def steps(variables, state, key):
        def one(carry, key):
            variables, state = carry
            batch = train[jax.random.randint(key, (256,), 0, len(train))]
            change, state = optimizer.update(jax.grad(nll)(variables, batch), state)
            return (optax.apply_updates(variables, change), state), None

        return jax.lax.scan(one, (variables, state), jax.random.split(key, 3_000))[0]

    variables, _ = steps(variables, optimizer.init(variables), jax.random.key(1))
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * mix @ mix.T)[1]
    found = float(nll(variables, sample(50_000))) + 3 * np.log(2 * np.pi)
    assert found == pytest.approx(entropy, rel=0.01)

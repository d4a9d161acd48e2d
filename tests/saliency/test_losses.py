"""Every loss term against a plain numpy rendering of its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxqc.saliency import losses
from jaxqc.saliency.objectives.cklnet import CKLNetObjective
from jaxqc.saliency.objectives.ffrnet import FFRNetObjective
from jaxqc.saliency.objectives.minet import MINetObjective
from jaxqc.saliency.objectives.tscarnet import TSCARNetObjective
from jaxqc.saliency.objectives.uctransnet import UCTransNetObjective


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def bce(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    p = sigmoid(logits.astype(np.float64))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((3, 16, 16), np.float32)
    mask[0, 3:9, 4:12] = 1
    mask[1] = 1
    return rng.normal(size=(3, 16, 16)).astype(np.float32), mask  # a defect, all defect, none


def numpy_boundary(logits: np.ndarray, target: np.ndarray) -> float:
    total = 0.0
    for z, t in zip(logits, target, strict=True):
        loss, p = bce(z, t), sigmoid(z.astype(np.float64))
        positive = loss[t == 1].mean() if (t == 1).any() else 0.0
        negative = loss[t == 0].mean() if (t == 0).any() else 0.0
        total += (positive + negative) / 2 + 1 - (2 * (p * t).sum() + 1) / ((p**2).sum() + (t**2).sum() + 1)
    return total / len(logits)


def test_boundary_loss(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert losses.boundary_loss(*map(jnp.asarray, pair)) == pytest.approx(numpy_boundary(*pair), rel=1e-5)


def test_edges_are_the_morphological_gradient(pair: tuple[np.ndarray, np.ndarray]) -> None:
    mask = pair[1]
    size = (1, 3, 3)
    expected = ndimage.maximum_filter(mask, size, mode="nearest") - ndimage.minimum_filter(mask, size, mode="nearest")
    np.testing.assert_array_equal(losses.edges(jnp.asarray(mask)), expected)
    assert expected[1].sum() == expected[2].sum() == 0


def test_class_loss_leaves_out_unknown_classes() -> None:
    logits = jnp.asarray([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [9.0, 0.0, 0.0]])
    expected = (-np.log(np.exp(2) / (np.exp(2) + 2)) - np.log(1 / (np.exp(3) + 2))) / 3
    assert losses.class_loss(logits, jnp.asarray([0, 2, -1])) == pytest.approx(expected, rel=1e-5)
    grads = jax.grad(losses.class_loss)(logits, jnp.asarray([0, 2, -1]))
    assert jnp.abs(grads[2]).max() == 0


def test_tscarnet_loss_adds_up(rng: np.random.Generator) -> None:
    side, n = 32, 2
    sizes = {"final": 1, "m1": 2, "m2": 4, "m3": 8, "b1": 2, "b2": 4, "b3": 8, "r2": 4, "r3": 8, "d4": 16, "d5": 32}
    out = {k: rng.normal(size=(n, side // f, side // f)).astype(np.float32) for k, f in sizes.items()}
    out["class"] = rng.normal(size=(n, 3)).astype(np.float32)
    out["map"] = sigmoid(out["final"])
    mask = (ndimage.gaussian_filter(rng.normal(size=(n, side, side)), (0, 3, 3)) > 0).astype(np.float32)
    label = np.array([0, 2], np.int32)

    blocks = lambda x, f: x.reshape(n, side // f, f, side // f, f)
    mean = lambda f: blocks(mask, f).mean((2, 4))
    size = (1, 3, 3)
    edge = ndimage.maximum_filter(mask, size, mode="nearest") - ndimage.minimum_filter(mask, size, mode="nearest")
    p = out["map"]
    soft = ndimage.maximum_filter(p, size, mode="nearest") - ndimage.minimum_filter(p, size, mode="nearest")
    dice = np.mean(
        [1 - (2 * (a * b).sum() + 1) / ((a**2).sum() + (b**2).sum() + 1) for a, b in zip(soft, edge, strict=True)]
    )
    logp = out["class"] - np.log(np.exp(out["class"]).sum(-1, keepdims=True))
    expected = (
        bce(out["final"], mask).mean()
        + 0.5 * sum(bce(out[k], mean(sizes[k])).mean() for k in ("m1", "m2", "m3", "r2", "r3"))
        + 0.25 * sum(bce(out[k], mean(sizes[k])).mean() for k in ("d4", "d5"))
        + 0.5 * (sum(numpy_boundary(out[k], blocks(edge, sizes[k]).max((2, 4))) for k in ("b1", "b2", "b3")) + dice)
        + 0.1 * -np.mean([logp[0, 0], logp[1, 2]])
    )
    batch = {"mask": jnp.asarray(mask), "label": jnp.asarray(label)}
    total, logs = jax.jit(lambda out, batch: TSCARNetObjective()(out, batch))(out, batch)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert set(logs) == {"loss_final", "loss_coarse", "loss_deep", "loss_boundary", "loss_class"}
    both = (p * mask).sum((1, 2))
    overlap = np.mean(1 - (both + 1) / (p.sum((1, 2)) + mask.sum((1, 2)) - both + 1))
    more, logs = jax.jit(lambda out, batch: TSCARNetObjective(overlap=2.0, structure=3.0)(out, batch))(out, batch)
    likeness = float(jax.jit(losses.ssim)(p, mask))  # checked by itself below
    assert float(more) == pytest.approx(expected + 2 * overlap + 3 * (1 - likeness), rel=1e-5)
    assert {"loss_overlap", "loss_structure"} < set(logs)


def test_ssim_of_known_pairs(rng: np.random.Generator) -> None:
    x = rng.uniform(size=(1, 24, 24)).astype(np.float32)
    y = np.clip(x + 0.1 * rng.normal(size=x.shape), 0, 1).astype(np.float32)
    ssim = jax.jit(losses.ssim)
    assert ssim(x, x) == pytest.approx(1.0, abs=1e-4)

    def blur(image: np.ndarray) -> np.ndarray:
        taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
        taps /= taps.sum()
        for axis in (1, 2):
            image = ndimage.correlate1d(image, taps, axis=axis, mode="constant")
        return image

    a, b = x.astype(np.float64), y.astype(np.float64)
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    expected = ((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))).mean()
    assert ssim(x, y) == pytest.approx(expected, abs=1e-3)


def test_minet_loss_is_finite_for_saturated_maps() -> None:
    mask = jnp.zeros((1, 32, 32)).at[:, 8:16].set(1)
    out = {k: jnp.ones((1, 32, 32)) for k in ("map", "map2", "map3", "map4", "map5")}
    value, grads = jax.value_and_grad(lambda o: MINetObjective()(o, {"mask": mask})[0])(out)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in grads.values())


def test_overlap_loss_is_one_minus_iou(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, t = sigmoid(pair[0].astype(np.float64)), pair[1]
    both = (p * t).sum((1, 2))
    expected = (1 - (both + 1) / (np.maximum(p.sum((1, 2)) + t.sum((1, 2)) - both, 0) + 1)).mean()
    assert jax.jit(losses.overlap_loss)(p, t) == pytest.approx(expected, rel=1e-5)
    assert jax.jit(losses.overlap_loss)(t, t) == pytest.approx(0, abs=1e-6)


def test_hardest_pixels_are_those_of_low_probability_and_at_least_a_share(pair: tuple[np.ndarray, np.ndarray]) -> None:
    logits = np.stack([np.zeros_like(pair[0]), 3 * pair[0]], -1)
    logits[2, ..., 1] = -9 - np.arange(256).reshape(16, 16) / 100  # all easy: the hardest sixteenth counts
    expected = []
    for z, t in zip(logits.astype(np.float64), pair[1], strict=True):
        own = np.where(t, 1 / (1 + np.exp(z[..., 0] - z[..., 1])), 1 / (1 + np.exp(z[..., 1] - z[..., 0])))
        order = np.sort(own.ravel())
        expected.append(-np.log(order[order <= max(0.7, order[15])]).mean())
    found = jax.jit(losses.hardest_cross_entropy, static_argnums=(2, 3))(logits, pair[1], 0.7, 16)
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_pixels_of_an_unknown_class_may_be_any_but_the_ground(pair: tuple[np.ndarray, np.ndarray]) -> None:
    logits, label = np.stack([pair[0], -pair[0], pair[0] ** 2], -1).astype(np.float64), np.array([1, -1, 0])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    inside = np.stack([p[0, ..., 2], p[1, ..., 1:].sum(-1), p[2, ..., 1]])
    expected = -(pair[1] * np.log(inside) + (1 - pair[1]) * np.log(p[..., 0])).mean()
    found = jax.jit(losses.pixel_class_loss)(logits.astype(np.float32), pair[1], label)
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_class_teaches_its_own_decoder(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """The loss sees the decoder of the image's class alone, or of the likeliest one where it has none."""
    maps = np.stack([sigmoid(pair[0]), sigmoid(-pair[0])], -1).astype(np.float32)
    kinds = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    batch = {"mask": jnp.asarray(pair[1]), "label": jnp.asarray([1, -1, -1])}
    loss = jax.jit(lambda maps: CKLNetObjective()({"maps": maps, "class": kinds}, batch)[0])
    for image, own in enumerate((1, 1, 0)):
        for decoder in (0, 1):
            other = maps.copy()
            other[image, ..., decoder] /= 2
            assert (loss(other) != loss(maps)) == (decoder == own)


def test_uctransnets_loss_is_half_of_either(pair: tuple[np.ndarray, np.ndarray]) -> None:
    logits, mask = pair[0], pair[1]
    p, losses_ = sigmoid(logits.astype(np.float64)), []
    for q, loss, t in zip(p, bce(logits, mask), mask, strict=True):
        sides = [loss[t == side].mean() if (t == side).any() else 0.0 for side in (0, 1)]
        dice = 1 - (2 * (q * t).sum() + 4e-5) / ((q**2).sum() + (t**2).sum() + 4e-5)
        losses_.append(0.5 * dice + 0.25 * sum(sides))
    out = {"map": jnp.asarray(p, jnp.float32), "logits": jnp.asarray(logits)}
    assert jax.jit(lambda out: UCTransNetObjective()(out, {"mask": jnp.asarray(mask)})[0])(out) == pytest.approx(
        np.mean(losses_), rel=1e-5
    )


def test_ffrnets_heads_mirror_each_other() -> None:
    """Heads whose logits are each other's negated agree, and both say the same of the mask."""
    mask = np.zeros((1, 16, 16), np.float32)
    mask[0, :8] = 1
    heads = {f"p{stride}": np.full((1, 16 // stride, 16 // stride), 0.5, np.float32) for stride in (4, 8, 16)}
    heads |= {name.replace("p", "q"): -value for name, value in heads.items()}
    loss, logs = jax.jit(lambda out: FFRNetObjective()(out, {"mask": jnp.asarray(mask)}))(heads)
    p = sigmoid(np.float64(0.5))
    iou = (p * 128 + 1) / (p * 256 + 128 - p * 128 + 1)
    assert loss == pytest.approx(6 * (-(np.log(p) + np.log(1 - p)) / 2 + 1 - iou), rel=1e-5)
    assert logs["loss_agreement"] == pytest.approx(0, abs=1e-6)

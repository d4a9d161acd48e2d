"""The sums of anomaly detection: against scikit-learn and the exact forms, within their bounds, merged in any order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.sharding import Mesh, PartitionSpec

from jaxqc.metrics import anomaly, aupro, exact_counts, histogram, ranking
from jaxqc.types import AXIS

B, SIZE = 6, (7, 6)
LEVELS = tuple(float(v) for v in range(8))
"""Edges at every score that the whole-numbered maps have: then nothing is tied that was not."""
KINDS = ("crack", "fray")
add = jax.jit(anomaly.update)
quick = settings(max_examples=40, deadline=None)
whole_maps = arrays(np.float32, (B, *SIZE), elements=st.integers(0, 7).map(float))
any_maps = arrays(np.float32, (B, *SIZE), elements=st.one_of(st.integers(0, 3).map(float), st.floats(0, 9, width=16)))
masks_of = arrays(np.bool_, (B, *SIZE), elements=st.sampled_from([False, False, False, True]))
kept_of = arrays(np.bool_, B)


def sums_of(
    maps: np.ndarray,
    masks: np.ndarray,
    edges: histogram.Edges = LEVELS,
    weight: np.ndarray | None = None,
    kind: np.ndarray | None = None,
) -> anomaly.AnomalySums:
    weight = np.ones(len(maps)) if weight is None else weight
    kind = np.asarray(masks.any(axis=(1, 2)) if kind is None else kind, np.int32)
    sums = anomaly.empty(edges, len(maps), len(KINDS))
    region_weight = aupro.region_weights(masks)[0]
    return add(sums, maps, masks, region_weight, weight.astype(np.float32), kind=kind, position=np.arange(len(maps)))


def sample(n: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps whose defects score higher on the whole, masks, and kinds 0, 1, 2 in turn; kind 0 has no defect."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n, dtype=np.int32) % 3
    masks = (rng.random((n, *SIZE)) < 0.2) & (kind > 0)[:, None, None]
    maps = np.exp(rng.normal(size=masks.shape) + masks).astype(np.float32)
    return maps, masks, kind


def check_exact(result: dict[str, float], prefix: str, maps: np.ndarray, masks: np.ndarray, label: np.ndarray) -> None:
    sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle of ranking measures")
    pairs = {"image": (label, maps.max(axis=(1, 2))), "pixel": (masks.ravel(), maps.ravel())}
    for name, (truth, score) in pairs.items():
        assert result[f"{prefix}{name}_auroc"] == pytest.approx(sk.roc_auc_score(truth, score), abs=1e-12)
        assert result[f"{prefix}{name}_ap"] == pytest.approx(sk.average_precision_score(truth, score), abs=1e-12)
        precision, recall, _ = sk.precision_recall_curve(truth, score)
        best = (2 * precision * recall / np.maximum(precision + recall, 1e-30)).max()
        assert result[f"{prefix}{name}_f1_max"] == pytest.approx(best, abs=1e-12)
        marked = score >= result[f"{prefix}{name}_f1_threshold"]
        assert sk.f1_score(truth, marked) == pytest.approx(best, abs=1e-12)
    assert result[f"{prefix}au_pro"] == pytest.approx(aupro.au_pro(maps, masks), abs=1e-6)


def test_equals_scikit_learn_overall_and_by_kind() -> None:
    maps, masks, kind = sample()
    maps = np.minimum(np.floor(maps), 7)
    result = anomaly.compute(sums_of(maps, masks, kind=kind), KINDS)
    check_exact(result, "", maps, masks, kind > 0)
    for i, name in enumerate(KINDS, 1):
        part = (kind == 0) | (kind == i)
        check_exact(result, f"{name}/", maps[part], masks[part], kind[part] > 0)
    assert len(result) == 3 * len([key for key in result if "/" not in key])
    assert all(isinstance(value, float) for value in result.values())


@quick
@given(any_maps, masks_of, st.sampled_from([(1.0,), (0.5, 1.5, 4.0), (0.0, 1e-3, 1.0, 2.0, 2.5, 8.0)]))
def test_binning_stays_within_its_bounds(maps: np.ndarray, masks: np.ndarray, edges: histogram.Edges) -> None:
    result = anomaly.compute(sums_of(maps, masks, edges))
    if not masks.any() or masks.all():
        assert all(np.isnan(value) for key, value in result.items() if key.startswith(("pixel", "au_pro")))
        return
    flat = ranking.image_groups(maps.ravel().astype(np.float64), masks.ravel(), np.ones(masks.size))
    auroc, ap, f1 = ranking.area(flat), ranking.average_precision(flat), ranking.f1_max(flat)[0]
    assert abs(result["pixel_auroc"] - auroc) <= result["pixel_auroc_bound"] + 1e-9
    assert abs(result["pixel_ap"] - ap) <= result["pixel_ap_bound"] + 1e-9
    assert -1e-9 <= f1 - result["pixel_f1_max"] <= result["pixel_f1_max_bound"] + 1e-9
    assert abs(result["au_pro"] - aupro.au_pro(maps, masks)) <= result["au_pro_bound"] + 1e-6
    assert result["au_pro"] <= 1


@quick
@given(any_maps, masks_of, kept_of, st.permutations(range(3)), arrays(np.int32, B, elements=st.integers(0, 2)))
def test_merging_in_any_order_equals_one_update(
    maps: np.ndarray, masks: np.ndarray, kept: np.ndarray, order: list[int], owner: np.ndarray
) -> None:
    """To the last bit. Weight 0 stands for the split, so that one compiled shape serves all."""
    parts = [sums_of(maps, masks, weight=kept & (owner == i)) for i in range(3)]
    first, second, third = (parts[i] for i in order)
    merged = anomaly.merge(first, anomaly.merge(second, third))
    leaves = jax.tree.leaves(merged)
    for other in (sums_of(maps, masks, weight=kept), anomaly.merge(anomaly.empty(LEVELS, B, 2), merged)):
        jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(other), leaves)


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_eight_devices_equal_one(how: str) -> None:
    assert jax.device_count() >= 8
    maps, masks, kind = sample()
    weight = np.ones(24, np.float32)
    weight[-5:] = 0  # the last devices hold padding, one of them nothing else
    batch = (maps, masks, aupro.region_weights(masks)[0], weight, kind, np.arange(24))

    def step(maps, masks, region_weight, weight, kind, position) -> anomaly.AnomalySums:
        sums = anomaly.empty(LEVELS, 24, len(KINDS))
        sums = anomaly.update(sums, maps, masks, region_weight, weight, kind=kind, position=position)
        return jax.lax.psum(sums, AXIS)

    if how == "pmap":
        shards = [x.reshape(8, 3, *x.shape[1:]) for x in batch]
        merged = jax.tree.map(lambda x: np.asarray(x)[3], jax.pmap(step, axis_name=AXIS)(*shards))
    else:
        mesh = Mesh(np.array(jax.devices()[:8]), (AXIS,))
        mapped = jax.shard_map(step, mesh=mesh, in_specs=PartitionSpec(AXIS), out_specs=PartitionSpec())
        merged = jax.jit(mapped)(*map(jnp.asarray, batch))
    assert anomaly.compute(merged, KINDS) == anomaly.compute(sums_of(maps, masks, weight=weight, kind=kind), KINDS)


def test_rates_at_thresholds_are_those_of_the_pixels() -> None:
    maps, masks, kind = sample()
    threshold = 1.7
    sums = sums_of(maps, masks, histogram.log_edges(0.1, 10, 16, [threshold]), kind=kind)
    result = anomaly.compute(sums, image_threshold=threshold, pixel_threshold=threshold)
    marked, images = maps >= np.float32(threshold), maps.max(axis=(1, 2)) >= np.float32(threshold)
    assert result["pixel_iou"] == (marked & masks).sum() / (marked | masks).sum()
    assert result["pixel_tpr"] == marked[masks].mean()
    assert result["pixel_fpr"] == marked[~masks].mean()
    assert result["pixel_precision"] == masks[marked].mean()
    assert result["image_tpr"] == images[kind > 0].mean()
    assert result["image_fpr"] == images[kind == 0].mean()
    assert "image_iou" not in result
    with pytest.raises(ValueError, match=r"pixel threshold 1\.8 is not a bin edge"):
        anomaly.compute(sums, pixel_threshold=1.8)


def test_scores_and_kinds_by_default() -> None:
    """Kind by the mask, position by the order, score by the maximum, across batches with padding in between."""
    maps, masks, _ = sample(12)
    weight = np.ones(12, np.float32)
    weight[[2, 7]] = 0
    sums, roomy = anomaly.empty(LEVELS, 10), anomaly.empty(LEVELS, 15)
    for half in (slice(0, 6), slice(6, 12)):
        batch = (maps[half], masks[half], aupro.region_weights(masks[half])[0], weight[half])
        sums, roomy = add(sums, *batch), add(roomy, *batch)
    assert anomaly.compute(sums) == anomaly.compute(roomy)  # an empty slot is no image
    kept = weight > 0
    np.testing.assert_array_equal(sums.scores, maps[kept].max(axis=(1, 2)))
    np.testing.assert_array_equal(sums.kinds, masks[kept].any(axis=(1, 2)))
    given_scores = add(
        anomaly.empty(LEVELS, 6), maps[:6], masks[:6], np.zeros_like(maps[:6]), weight[:6], scores=-weight[:6]
    )
    np.testing.assert_array_equal(given_scores.scores, [-1, -1, -1, -1, -1, 0])


def test_images_not_finite_show_overall_and_in_their_kind_only() -> None:
    maps, masks, kind = sample()
    weight = np.ones(24)
    weight[3] = 0
    maps[3], maps[4, 2, 2] = np.nan, np.inf
    result = anomaly.compute(sums_of(maps, masks, weight=weight, kind=kind), KINDS)
    assert kind[4] == 1
    for key, value in result.items():
        assert np.isnan(value) != key.startswith("fray/"), key
    weight[4] = 0
    clean = anomaly.compute(sums_of(maps, masks, weight=weight, kind=kind), KINDS)
    assert np.isfinite(list(clean.values())).all()


def test_no_images_and_normal_images_only() -> None:
    for sums in (anomaly.empty(LEVELS, 0), anomaly.empty(LEVELS, 5), sums_of(sample()[0][::3], sample()[1][::3])):
        assert all(np.isnan(value) for value in anomaly.compute(sums).values())


def test_one_defect_pixel_and_equal_scores() -> None:
    masks = np.zeros((B, *SIZE), bool)
    masks[2, 3, 3] = True
    result = anomaly.compute(sums_of(np.full((B, *SIZE), 2, np.float32), masks))
    assert (result["pixel_auroc"], result["pixel_auroc_bound"], result["image_auroc"]) == (0.5, 0.5, 0.5)
    assert result["pixel_ap"] == pytest.approx(1 / masks.size)
    assert result["au_pro"] == pytest.approx(0.15)
    result = anomaly.compute(sums_of(masks.astype(np.float32), masks))
    assert {result[key] for key in ("image_auroc", "image_ap", "pixel_auroc", "pixel_f1_max", "au_pro")} == {1}


def test_what_does_not_fit_is_refused() -> None:
    maps, masks, kind = sample(B)
    regions = aupro.region_weights(masks)[0]

    def placed(position: np.ndarray, kind: np.ndarray) -> anomaly.AnomalySums:
        return add(anomaly.empty(LEVELS, B, 2), maps, masks, regions, np.ones(B), kind=kind, position=position)

    with pytest.raises(ValueError, match="sums hold 1 kinds, but 2 names"):
        anomaly.compute(anomaly.empty(LEVELS, 1), KINDS)
    once = placed(np.arange(B), kind)
    with pytest.raises(ValueError, match="12 images, but 0 of 6 positions have one image"):
        anomaly.compute(anomaly.merge(once, once))
    for shift in (-1, 1):
        with pytest.raises(ValueError, match="6 images, but 5 of 6 positions"):
            anomaly.compute(placed(np.arange(B) + shift, kind))
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=f"an image is of kind {wrong}, but sums hold 2 kinds"):
            anomaly.compute(placed(np.arange(B), np.where(kind == 1, wrong, kind).astype(np.int32)))
    with pytest.raises(ValueError, match="cannot merge: the bin edges differ \\(1 and 1 of them\\)"):
        anomaly.merge(anomaly.empty((1.0,), 1), anomaly.empty((2.0,), 1))
    for edges in ((), (1.0, 1.0), (1.0, 1.0 + 1e-9), (0.0, np.inf)):
        with pytest.raises(ValueError, match="bin edges must be"):
            anomaly.empty(edges, 1)
    for low, high, bins in ((0.0, 1.0, 9), (2.0, 1.0, 9), (1.0, np.inf, 9), (1.0, 2.0, 0)):
        with pytest.raises(ValueError, match="log-spaced edges need"):
            histogram.log_edges(low, high, bins)


def test_log_edges_are_even_factors_and_hold_the_threshold() -> None:
    edges = np.array(histogram.log_edges(0.01, 100, 2048))
    assert len(edges) == 2049
    np.testing.assert_allclose(edges[1:] / edges[:-1], 10 ** (4 / 2048), rtol=1e-6)
    more = histogram.log_edges(0.01, 100, 2048, [0.3])
    assert set(more) == {*edges.tolist(), float(np.float32(0.3))}


def test_counts_stay_exact_beyond_float32_and_int32() -> None:
    """A defect of 600 x 600 pixels in one bin, doubled 24 times: 2**24 regions, 10**13 pixels, and one pixel more."""
    masks = np.zeros((1, 600, 1000), bool)
    masks[:, :, :600] = True
    sums = add(anomaly.empty((1.0,), 1), masks.astype(np.float32), masks, aupro.region_weights(masks)[0], np.ones(1))
    double = jax.jit(lambda sums: anomaly.merge(sums, sums))
    for _ in range(24):
        sums = double(sums)
    one = np.ones((1, 1, 1), bool)
    sums = add(sums, one.astype(np.float32), one, np.ones((1, 1, 1)), np.ones(1), kind=np.ones(1, np.int32))
    counts = exact_counts.value(sums.pixels)[1]
    np.testing.assert_array_equal(counts[:, histogram.NEGATIVE], [2**24 * 240_000, 0])
    np.testing.assert_array_equal(counts[:, histogram.POSITIVE], [0, 2**24 * 360_000 + 1])
    mass = histogram.region_groups(counts, sums.edges).positive
    assert mass[0] == pytest.approx(2**24 + 1, rel=360_000 / 2**31)
    assert round(mass[0] * 2**30) % 2**24 == 2**30 % 2**24  # the one pixel's mass is not lost in 2**24 others


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint32, (5, 3)), arrays(np.int32, 5, elements=st.integers(0, 2)))
def test_wide_sums_equal_python_integers(counts: np.ndarray, segment: np.ndarray) -> None:
    total = exact_counts.zeros((2, 3))
    for _ in range(3):
        total = exact_counts.add(total, exact_counts.segment_sum(jnp.asarray(counts), jnp.asarray(segment), 2))
    expected = [[3 * sum(int(c) for c in counts[segment == k, i]) for i in range(3)] for k in range(2)]
    np.testing.assert_array_equal(exact_counts.value(total), expected)


def test_streaming_equals_sorting_on_larger_maps() -> None:
    """Skewed scores, regions of all sizes: 1024 bins agree with the sort to 5e-4, and the bounds hold."""
    rng = np.random.default_rng(1)
    masks = np.zeros((8, 64, 64), bool)
    for i, (y, x, size) in enumerate([(5, 5, 3), (30, 20, 12), (50, 50, 5), (10, 40, 20)]):
        masks[i, y : y + size, x : x + size] = masks[i + 1, x : x + 2, y : y + size] = True
    maps = np.exp(rng.normal(size=masks.shape) + 1.5 * masks).astype(np.float32)
    sums = anomaly.empty(histogram.log_edges(1e-3, 1e3, 1024), 8)
    sums = add(sums, maps, masks, aupro.region_weights(masks)[0], np.ones(8))
    result = anomaly.compute(sums)
    flat = ranking.image_groups(maps.ravel().astype(np.float64), masks.ravel(), np.ones(masks.size))
    pairs = {"au_pro": aupro.au_pro(maps, masks), "pixel_auroc": ranking.area(flat)}
    for key, exact in pairs.items():
        assert 0.5 < exact < 0.99
        assert result[key] == pytest.approx(exact, abs=5e-4)
        assert abs(result[key] - exact) <= result[f"{key}_bound"] < 5e-3


def test_edges_are_no_constants_that_a_compiler_can_fold() -> None:
    """Looking up known values at known places would fill constants of the maps' size while it compiles."""
    args = np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), np.float32), np.ones(1, bool)
    program = jax.make_jaxpr(lambda *a: histogram.histogram(*a, LEVELS))(*args)
    assert any(equation.primitive.name == "optimization_barrier" for equation in program.eqns)

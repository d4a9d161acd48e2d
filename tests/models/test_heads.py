"""Published heads beside PyTorch renderings of them, their parameters, and what does not go together."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.deeplab import DEEPLABS
from jaxqc.models.heads import pyramid_head
from jaxqc.models.segmenter import build_segmenter
from jaxqc.nn.conv import Norm

SIZES, WIDTHS = ((16, 12), (8, 6), (4, 3)), (12, 16, 24)
CLASSES, WIDTH, PLACES = 5, 8, 6


def count(tree: Any) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def drawn(head: Any, features: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), features))

    def draw(path: Any, leaf: Any) -> np.ndarray:
        if path[-1].key == "kernel":
            return (rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))).astype(np.float32)
        low, high = {"scale": (0.4, 0.8), "var": (0.5, 1.5)}.get(path[-1].key, (-0.2, 0.2))
        return rng.uniform(low, high, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, dict(shapes))


def features_of(seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(2, *size, c)).astype(np.float32) for size, c in zip(SIZES, WIDTHS, strict=True)]


class Rendering:
    """A head's arithmetic in PyTorch by its parameters' names, written from the papers."""

    def __init__(self, variables: Any) -> None:
        self.torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")
        self.params, self.stats = variables["params"], variables["batch_stats"]

    def conv(self, x: Any, *path: str, rate: int = 1, norm: bool = True) -> Any:
        p, s, t = self.params, self.stats, self.torch
        for step in path:
            p, s = p[step], s.get(step, {})
        kernel = p["kernel"] if p["kernel"].ndim == 4 else p["kernel"][None, None]
        weight = t.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        bias = t.from_numpy(p["bias"]) if "bias" in p else None
        y = t.nn.functional.conv2d(x, weight, bias, padding=rate * (kernel.shape[0] // 2), dilation=rate)
        if not norm:
            return y
        value = lambda tree, name: t.from_numpy(tree["bn"][name])
        given = (value(s, "mean"), value(s, "var"), value(p, "scale"), value(p, "bias"))
        return t.nn.functional.batch_norm(y, *given, eps=1e-5).relu()

    def resized(self, x: Any, like: Any, corners: bool) -> Any:
        size = like if isinstance(like, tuple) else like.shape[2:]
        return self.torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=corners)

    def deeplab(self, maps: list[Any], rates: tuple[int, ...]) -> tuple[Any, Any]:
        first, deep = maps[0], maps[-1]
        seen = [self.conv(deep, "aspp", "point")]
        seen += [self.conv(deep, "aspp", f"conv{i}", rate=rate) for i, rate in enumerate(rates, start=1)]
        mean = self.conv(deep.mean((2, 3), keepdim=True), "aspp", "pool")
        x = self.conv(self.torch.cat([*seen, mean.expand(-1, -1, *deep.shape[2:])], 1), "project")
        x = self.torch.cat([self.conv(first, "reduce"), self.resized(x, first, True)], 1)
        places = self.conv(self.conv(x, "represent", "conv1"), "represent", "conv2")
        logits = self.conv(self.conv(x, "fuse1"), "fuse2")
        return self.conv(logits, "logits", norm=False), self.conv(places, "represent", "out", norm=False)

    def all_mlp(self, maps: list[Any]) -> Any:
        each = [self.resized(self.conv(m, f"linear{i}", norm=False), maps[0], False) for i, m in enumerate(maps, 1)]
        return self.conv(self.conv(self.torch.cat(each[::-1], 1), "fuse"), "logits", norm=False)


@pytest.mark.parametrize("name", [*DEEPLABS, "segformer"])
def test_logits_equal_a_rendering(name: str) -> None:
    head: Any = pyramid_head(name, "resnet18", CLASSES, WIDTH, (), PLACES, Norm())
    features = features_of()
    variables = drawn(head, features)
    peer = Rendering(variables)
    maps = [peer.torch.from_numpy(f).permute(0, 3, 1, 2) for f in features]
    found, places = jax.jit(lambda v, f: head.apply(v, f, (50, 40), True))(variables, features)
    if name in DEEPLABS:
        logits, expected = peer.deeplab(maps, DEEPLABS[name].rates)
        np.testing.assert_allclose(places, expected.permute(0, 2, 3, 1), atol=1e-4)
    else:
        logits = peer.all_mlp(maps)
        assert places.shape == (2, 8, 6, PLACES)
    expected = peer.resized(logits, (50, 40), True).permute(0, 2, 3, 1)
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-4)
    small = head.apply(variables, features)
    np.testing.assert_allclose(small, logits.permute(0, 2, 3, 1), atol=1e-4)


@pytest.mark.parametrize(
    ("head", "whole", "deployed"),
    [
        ("deeplabv3plus", 16_844_149, 16_844_149),
        ("deeplabv3plus_u2pl", 21_836_053, 21_836_053 - 1_836_800),
    ],
)
def test_deeplabs_have_the_published_parameters(head: str, whole: int, deployed: int) -> None:
    """With a ResNet-101 of a deep stem, 42,623,936, they are the papers' networks of 21 classes."""
    module: Any = pyramid_head(head, "resnet101s", 21, 0, (), 256 * (whole != deployed), Norm())
    features = [jnp.zeros((1, side, side, c)) for side, c in ((8, 256), (2, 2048))]
    params = jax.eval_shape(lambda: module.init(jax.random.key(0), features))["params"]
    assert (count(params), count(params) - count(params.get("represent", {}))) == (whole, deployed)
    assert 42_623_936 + deployed in (59_468_085, 62_623_189)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "total"), [(21, 89_331_157), (40, 89_345_768)])
def test_allsparks_network_has_the_published_parameters(classes: int, total: int) -> None:
    network = build_segmenter("mit_b5", classes, head="segformer", heads=2)
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3))))["params"]
    assert (count(params), count(params["encoder"]), count(params["channels"])) == (total, 81_443_008, 4_721_664)


@pytest.mark.slow
def test_a_dilated_network_has_no_batch_norm_where_few_labels_train_it() -> None:
    network = build_segmenter("resnet18", 3, head="deeplabv3plus", hidden=8, stride=16, folded=True)
    image = np.random.default_rng(0).normal(size=(1, 96, 64, 3)).astype(np.float32)
    variables = jax.jit(network.init)(jax.random.key(0), image)
    assert set(variables) == {"params"}
    features: Any = network.apply(variables, image, method="encode")
    assert [f.shape[1:3] for f in features] == [(24, 16), (12, 8), (6, 4), (6, 4)]
    logits: Any = network.apply(variables, image)
    assert logits.shape == (1, 96, 64, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "resnet18", "head": "deeplab"}, "did you mean 'deeplabv3plus'"),
        ({"encoder": "vit_tiny14", "head": "segformer"}, "vit_tiny14 has one; take 'dpt'"),
        ({"encoder": "efficientnet_lite0", "stride": 16}, "efficientnet_lite0 is no ResNet"),
        ({"encoder": "resnet18", "stride": 4}, "output_stride: 4 is none of 32, 16, 8"),
        ({"encoder": "resnet50", "multi_grid": True}, "output_stride 16 or 8"),
        ({"encoder": "resnet18", "multi_grid": True, "stride": 8}, "fourth layer of 3 blocks"),
        ({"encoder": "resnet50", "multi_grid": True, "stride": 8, "layers": 3}, "resnet50 has 3 layers"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_segmenter(classes=3, **arguments)

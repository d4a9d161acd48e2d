"""The segmenter has the published sizes and equals an independent PyTorch DPT, whole and by its pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.models.dinov2 import VITS
from jaxqc.models.dpt import Upscale
from jaxqc.models.pretrained import convert_state
from jaxqc.models.pretrained_vit import convert_vit
from jaxqc.models.segmenter import build_segmenter, encoder_spec, with_encoder
from jaxqc.nn.conv import Conv
from jaxqc.nn.resizing import resize_align_corners
from tests.support.tiny_segmenters import drawn, picture

# The whole and the head alone, with 40 classes.
COUNTS = {
    "dinov2_vits14": (24_796_872, 2_740_296),
    "dinov2_vitb14": (97_531_240, 10_950_760),
    "dinov2_vitl14": (335_584_040, 31_215_400),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    network = build_segmenter(name, 40)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 28, 28, 3))))
    count = lambda tree: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))
    assert (count(shapes), count(shapes["params"]["head"])) == COUNTS[name]
    assert set(shapes) == {"params"}


def assert_equals_pytorch(name: str, classes: int, height: int, width: int) -> None:
    torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")
    from benchmarks.peers.torch_dinov2 import DPT as Head
    from benchmarks.peers.torch_dinov2 import load_head, peer_vit, randomized

    torch.set_num_threads(1)
    network, known = build_segmenter(name, classes), encoder_spec(name)
    variables = drawn(network)
    head = load_head(variables["params"]["head"], Head(known.widths, classes, known.hidden, known.channels))
    image = picture(2, height, width)
    tensor = torch.from_numpy(image).permute(0, 3, 1, 2)
    if name in VITS:
        peer = randomized(peer_vit(name))
        weights, _ = convert_vit({key: value.numpy() for key, value in peer.state_dict().items()}, name)
    else:
        from benchmarks.peers import torch_resnet

        peer = torch_resnet.randomized(torch_resnet.ResNet(name))
        weights, _ = convert_state({key: value.numpy() for key, value in peer.state_dict().items()}, name)
    variables, kept = with_encoder(variables, weights)
    assert kept == ()
    with torch.no_grad():
        features = peer(tensor)
        features = features if name in VITS else [features[f"layer{i}"] for i in (1, 2, 3, 4)]
        expected = head(features, (height, width)).permute(0, 2, 3, 1).numpy()
    found = jax.jit(network.apply)(variables, image)
    assert found.shape == (2, height, width, classes)
    assert expected.std((1, 2)).mean() > 0.05, "all places say the same: the test's signals died out"
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["vit_tiny14", "resnet18"])
def test_logits_equal_pytorchs(name: str) -> None:
    assert_equals_pytorch(name, 5, 112, 84 if name in VITS else 75)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [
    ("vit_tiny14", 224), ("dinov2_vits14", 224), ("dinov2_vits14", 378), ("dinov2_vits14", 518),
    ("dinov2_vitb14", 518), ("resnet50", 224),
])  # fmt: skip
def test_published_sizes_equal_pytorchs(name: str, size: int) -> None:
    assert_equals_pytorch(name, 40, size, size)


@pytest.mark.parametrize("side", [(8, 6), (7, 9), (1, 2)])
def test_stride_two_pads_one_on_every_side(side: tuple[int, int]) -> None:
    """'SAME' would pad even grids on one side only, and shift the whole map by half a cell."""
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch (extra: peers)")
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=s).astype(np.float32) for s in ((2, *side, 3), (3, 3, 3, 4)))
    found = Conv(4, stride=2, use_bias=False).apply({"params": {"kernel": kernel}}, x)
    tensors = torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(kernel).permute(3, 2, 0, 1)
    expected = torch.nn.functional.conv2d(*tensors, stride=2, padding=1).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4])
def test_upscale_is_pytorchs_transposed_convolution(factor: int) -> None:
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch (extra: peers)")
    rng = np.random.default_rng(0)
    x, kernel, bias = (
        rng.normal(size=s).astype(np.float32) for s in ((2, 3, 5, 6), (factor, factor, 6, 4), (4,))
    )  # fmt: skip
    found = Upscale(4, factor).apply({"params": {"kernel": kernel, "bias": bias}}, x)
    tensors = (torch.from_numpy(a) for a in (x.transpose(0, 3, 1, 2), kernel.transpose(2, 3, 0, 1), bias))
    expected = torch.nn.functional.conv_transpose2d(*tensors, stride=factor).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(14, 22), (5, 5), (3, 1), (1, 9), (8, 4)])
def test_aligned_resize_is_pytorchs(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch (extra: peers)")
    x = picture(2, 8, 4)
    tensor = torch.from_numpy(x).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(tensor, size, mode="bilinear", align_corners=True)
    np.testing.assert_allclose(resize_align_corners(jnp.asarray(x), *size), expected.permute(0, 2, 3, 1), atol=1e-5)

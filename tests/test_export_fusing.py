"""A converted graph made easy to fuse: what is spread out or said in several operators becomes one."""

import collections
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.export.engines import ENGINES, installed
from jaxqc.graph import Graph
from jaxqc.nn.conv import grouped_pointwise, pointwise, softmax
from jaxqc.nn.plain import operation
from jaxqc.nn.pool import avg3x3, max3x3, max3x3_halved
from jaxqc.nn.resizing import resize, resize_align_corners, upsample2x
from jaxqc.nn.transposed import doubled, transposed4x4
from tests.nn.test_plain import Stack, drawn

for package in ("onnx", "onnxruntime", "jax2onnx"):
    pytest.importorskip(package, reason="ONNX export needs the extra `onnx`", exc_type=ImportError)

from jaxqc.export.onnx import convert

SHAPE = (2, 12, 10, 8)


def converted(function: Any, folder: Any, batch: int = 0) -> Any:
    """The ONNX graph of a function of images [n 12 10 3], which first become 8 channels; and its file."""
    import onnx

    spread = np.eye(3, 8, dtype=np.float32) + 0.25
    run = lambda weights, images: {"out": function(pointwise(images, spread))}
    file = folder / "model.onnx"
    convert(Graph("test", run, {}, SHAPE[1], SHAPE[2], dtype=np.float32), batch, file)
    graph = onnx.load(str(file)).graph
    x = drawn(*SHAPE[:3], 3)
    return graph, file, x, np.asarray(jax.jit(run)({}, x)["out"])


def leaky(x: Any) -> Any:
    return nn.leaky_relu(x, 0.2) + nn.relu6(4 * x)


CASES = {
    "relu": (lambda x: nn.relu(x + jnp.arange(8.0)), "Relu"),
    "clipped and leaky": (leaky, "LeakyRelu"),
    "double": (upsample2x, "Resize"),
    "resize": (lambda x: resize(x, 31, 7), "Resize"),
    "corners": (lambda x: resize_align_corners(x, 31, 17), "Resize"),
    "nearest": (doubled, "Resize"),
    "max": (max3x3, "MaxPool"),
    "max, halved": (max3x3_halved, "MaxPool"),
    "mean": (avg3x3, "AveragePool"),
    "transposed": (lambda x: transposed4x4(x, drawn(4, 4, 8, 5)), "ConvTranspose"),
    "grouped": (lambda x: grouped_pointwise(x, drawn(4, 6), 2), "Conv"),
    "pool of the library": (lambda x: nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (0, 1))), "MaxPool"),
    "mean of the library": (lambda x: nn.avg_pool(x, (2, 2), (2, 2)), "AveragePool"),
    "mean of the library, padded": (lambda x: nn.avg_pool(x, (3, 3), (2, 2), "SAME"), "AveragePool"),
    "softmax": (softmax, "Softmax"),
    "softmax of an image": (lambda x: softmax(x.mean((1, 2))), "Softmax"),
    "channels": (lambda x: operation("channels", lambda x, at: x[..., at], x, np.arange(8)[::-1]), "Gather"),
}


@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("name", CASES)
def test_every_operation_is_a_node_that_gives_the_same(name, batch, tmp_path):
    function, operator = CASES[name]
    graph, file, x, expected = converted(function, tmp_path, batch)
    counts = collections.Counter(node.op_type for node in graph.node)
    assert counts[operator] == 1 + (operator == "Conv")
    assert not counts["Expand"] + counts["Max"] + counts["Where"] + counts["Einsum"] + counts["Slice"]
    for engine in filter(installed, ENGINES):
        found = ENGINES[engine](file)(x)["out"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_blocks_are_grouped_convolutions_with_their_biases(tmp_path):
    shapes = jax.eval_shape(Stack().init, jax.random.key(0), jnp.zeros(SHAPE))["params"]
    leaves, structure = jax.tree.flatten(shapes)
    params = jax.tree.unflatten(structure, [0.3 * drawn(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)])
    graph, file, x, expected = converted(lambda x: Stack().apply({"params": params}, x), tmp_path)
    grouped = [
        node
        for node in graph.node
        if node.op_type == "Conv" and any(a.name == "group" and a.i == 8 for a in node.attribute)
    ]
    assert len(grouped) == 12
    assert all(len(node.input) == 3 for node in grouped), "a bias each"
    counts = collections.Counter(node.op_type for node in graph.node)
    assert counts["Conv"] == 16
    assert not counts["Slice"] + counts["Pad"] + counts["Concat"] + counts["Loop"] + counts["Scan"]
    assert counts["Transpose"] <= 3
    np.testing.assert_allclose(ENGINES["onnxruntime"](file)(x)["out"], expected, rtol=1e-4, atol=1e-4)

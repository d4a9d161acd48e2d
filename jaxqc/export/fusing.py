"""A converted ONNX graph made easy to fuse: no arrays spread out before a sum, rectifiers by name, one layout.

The converter writes what JAX's equations say: a bias is spread over the whole map before it is added, a rectifier is a
maximum with a spread-out zero, and each convolution has a transpose before and behind it. Runtimes fuse a convolution
with the sum and the rectifier that follow it, if nothing stands between them.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

ELEMENTWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"}
)
"""Operators that spread their inputs themselves."""
PASSES = 2
"""Onnxruntime's passes over the graph: what the first one moves together the second one folds."""


def simplified(model: Any) -> None:
    """Takes needless spreading out of a graph and names rectifiers, in place.

    model: an ONNX model as the converter leaves it, in which all inputs of an elementwise operator have one shape,
    or are scalars.
    """
    graph = model.graph
    numpy_helper = importlib.import_module("onnx").numpy_helper
    made = {name: node for node in graph.node for name in node.output}
    constants = {value.name: value for value in graph.initializer}
    size = lambda name: int(np.prod(constants[name].dims)) if name in constants else None
    for node in graph.node:
        if node.op_type not in ELEMENTWISE:
            continue
        for i, name in enumerate(node.input):
            spread, others = made.get(name), [other for j, other in enumerate(node.input) if j != i]
            whole = any(size(other) != 1 and not _is_spread(made.get(other)) for other in others)
            if spread is not None and _is_spread(spread) and whole:
                node.input[i] = spread.input[0]
    for node in graph.node:
        source = lambda name: _unshaped(name, made)
        if node.op_type == "Max" and len(node.input) == 2:
            zero = [size(source(x)) == 1 and not numpy_helper.to_array(constants[source(x)]).any() for x in node.input]
            if any(zero):
                kept = node.input[zero.index(False)] if False in zero else node.input[0]
                del node.input[:]
                node.input.append(kept)
                node.op_type = "Relu"


def _is_spread(node: Any) -> bool:
    return node is not None and node.op_type == "Expand"


def _unshaped(name: str, made: dict[str, Any]) -> str:
    """The array that a reshaped one is."""
    while (node := made.get(name)) is not None and node.op_type in ("Reshape", "Unsqueeze", "Squeeze", "Identity"):
        name = node.input[0]
    return name


def optimized(file: Path) -> None:
    """Lets onnxruntime compute constants, move transposes out of the way and fold what follows a convolution into it;
    all by operators of the ONNX standard, whatever the machine. Rewrites the file."""
    runtime = importlib.import_module("onnxruntime")
    for _ in range(PASSES):
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(file)
        runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

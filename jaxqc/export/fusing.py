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
    made = {name: node for node in graph.node for name in node.output}
    constants = {value.name: value for value in graph.initializer}
    single = lambda name: name in constants and int(np.prod(constants[name].dims)) == 1
    for node in graph.node:
        if node.op_type not in ELEMENTWISE:
            continue
        for i, name in enumerate(node.input):
            others = [other for j, other in enumerate(node.input) if j != i]
            if _is_spread(made.get(name)) and any(not single(x) and not _is_spread(made.get(x)) for x in others):
                node.input[i] = made[name].input[0]
    numbers = {name: value for name, value in constants.items() if single(name)}
    _name_rectifiers(graph, made, numbers)
    _name_leaky(graph, made, numbers)


def _name_rectifiers(graph: Any, made: dict[str, Any], numbers: dict[str, Any]) -> None:
    """max(x, 0) becomes a rectifier, and min(max(x, 0), c) one that is clipped."""
    value = importlib.import_module("onnx").numpy_helper.to_array
    for node in graph.node:
        if node.op_type not in ("Max", "Min") or len(node.input) != 2:
            continue
        known = [numbers.get(_unshaped(name, made)) for name in node.input]
        if (known[0] is None) == (known[1] is None):
            continue
        at = 0 if known[1] is None else 1
        x, limit = node.input[1 - at], numbers[_unshaped(node.input[at], made)]
        before = made.get(x)
        if node.op_type == "Max" and value(limit).dtype.kind == "f" and not value(limit).any():
            node.op_type = "Relu"
            _take(node, x)
        elif node.op_type == "Min" and not limit.dims and before is not None and before.op_type == "Relu":
            zero = next((name for name, other in numbers.items() if _is_zero(other, limit, value)), None)
            if zero is not None:
                node.op_type = "Clip"
                _take(node, before.input[0], zero, limit.name)


def _name_leaky(graph: Any, made: dict[str, Any], numbers: dict[str, Any]) -> None:
    """x where x >= 0, else c x, becomes a leaky rectifier."""
    onnx = importlib.import_module("onnx")
    number = lambda name: numbers.get(_unshaped(name, made))
    value = lambda tensor: onnx.numpy_helper.to_array(tensor).item()
    for node in graph.node:
        if node.op_type != "Where":
            continue
        condition, x, other = node.input
        asked, scaled = made.get(condition), made.get(other)
        if asked is None or asked.op_type != "GreaterOrEqual" or scaled is None or scaled.op_type != "Mul":
            continue
        limit, factor = number(asked.input[1]), next(filter(None, map(number, scaled.input)), None)
        if limit is None or value(limit) or factor is None or asked.input[0] != x or x not in scaled.input:
            continue
        node.op_type = "LeakyRelu"
        _take(node, x)
        node.attribute.append(onnx.helper.make_attribute("alpha", float(value(factor))))


def _take(node: Any, *inputs: str) -> None:
    del node.input[:]
    node.input.extend(inputs)


def _is_zero(number: Any, like: Any, value: Any) -> bool:
    return not number.dims and number.data_type == like.data_type and not value(number).any()


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

"""A graph as an ONNX file, by jax2onnx, and its run in onnxruntime. Both come with the extra `onnx`."""

import contextlib
import importlib
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from jaxtyping import UInt8

from jaxqc.data.batching import pad_to
from jaxqc.errors import UserError
from jaxqc.export import fusing, operators
from jaxqc.export.inline import inlined
from jaxqc.graph import Graph

OPSET = 18
"""ONNX operator set: runtimes of 2023 and later have it."""
ONE_FILE = 1_900_000_000
"""Bytes of weights up to which all is one file: protobuf's limit is 2 GiB."""
PACKAGES = ("jax2onnx", "onnx", "onnxruntime")
"""Packages of the extra `onnx`; imported by name, since few environments have them."""
INSTALL = "pip install 'jaxqc[onnx]'"


def needs_onnx() -> None:
    """Raises UserError where the extra is not installed."""
    try:
        for name in PACKAGES:
            importlib.import_module(name)
    except ImportError as e:
        raise UserError(f"--format onnx: {e.name} is not installed; {INSTALL}") from e


def convert(graph: Graph, batch: int, file: Path) -> dict[str, dict[str, Any]]:
    """Writes the graph with its weights and returns dtype and shape of its outputs. batch: 0 leaves it open.

    Raises:
      UserError: an operator that cannot be converted, an image size that is left open, or a graph that refuses.
    """
    if graph.refuses_onnx:
        raise UserError(f"--format onnx: {graph.refuses_onnx}; use --format stablehlo")
    needs_onnx()
    operators.register()
    onnx, to_onnx = importlib.import_module("onnx"), importlib.import_module("jax2onnx").to_onnx

    if not graph.height:
        raise UserError("--size: an ONNX file needs the images' size; give it (or --height and --width)")
    weights: Any = {name: jnp.asarray(value) for name, value in graph.weights.items()}
    sizes = f"{batch or 'b'}, {graph.height}, {graph.width}, 3"
    image = jax.ShapeDtypeStruct(jax_export.symbolic_shape(sizes), graph.dtype)
    # Traced before the converter puts its own functions in the place of JAX's, whose resizing is another one.
    run = inlined(lambda images: graph.run(weights, images), image)
    shapes = jax.eval_shape(run, image)
    try:
        with _quiet():
            model = to_onnx(
                run,
                [image],
                model_name=graph.kind,
                opset=OPSET,
                input_names=["image"],
                output_names=list(shapes),
            )
    except Exception as e:  # the converter raises a dozen kinds for what it cannot do
        raise UserError(f"--format onnx: {_why(e, batch)}") from e
    del model.graph.value_info[:]  # the converter's shapes inside the graph are wrong where sizes of 1 are broadcast
    fusing.simplified(model)
    large = sum(value.nbytes for value in graph.weights.values()) > ONE_FILE
    onnx.save_model(model, str(file), save_as_external_data=large, location="model.onnx.data")
    if not large:
        fusing.optimized(file)
    return {k: {"dtype": str(v.dtype), "shape": [batch or "b", *v.shape[1:]]} for k, v in shapes.items()}


def run_onnx(file: Path, images: UInt8[np.ndarray, "n h w 3"], batch: int) -> dict[str, np.ndarray]:
    """The file's outputs by name, in onnxruntime on CPU. batch: that of the file, which is filled up; 0 = any.

    Raises:
      UserError: onnxruntime does not take the file.
    """
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        values = session.run(names, {"image": pad_to(images, batch)})
    except Exception as e:  # onnxruntime's errors have no common class but Exception
        raise UserError(f"--format onnx: onnxruntime does not run the converted graph ({_line(e)})") from e
    return {name: np.asarray(value)[: len(images)] for name, value in zip(names, values, strict=True)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converter's own warnings and log lines say nothing to who exports; what it cannot do it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _why(error: Exception, batch: int) -> str:
    found = re.search(r"primitive '?([\w.]+)'?", str(error))
    what = f"operator {found[1]!r} cannot be converted" if found else f"cannot be converted ({_line(error)})"
    way = "use --format stablehlo" if batch else "try a fixed --batch, or use --format stablehlo"
    return f"{what}; {way}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

"""OpenVINO on the CPU, in float32 also where the processor has a narrower arithmetic."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.export.engines import Run

SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
"""All cores on one call, since a caller has one batch at a time."""
RESULT = "/sink_port_0"
"""The end that OpenVINO adds to an output's name in the file."""


def opened(file: Path) -> Run:
    """The graph of an ONNX file, compiled for each number of images when that occurs first.

    A graph with the number left open would run slower; callers fill their batches up, so that few numbers occur.

    Raises:
      UserError: OpenVINO does not take the file.
    """
    # Its telemetry would fork this process at each model, and tell others that one was read.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[reportArgumentType]
    core: Any = importlib.import_module("openvino").Core()
    try:
        read = core.read_model(str(file))
    except Exception as e:  # a RuntimeError, as a rule
        raise UserError(f"--engine openvino: does not take {file.name} ({' '.join(str(e).split())[:300]})") from e
    # An output's tensor may have further names, of which none is the first.
    names = [result.get_friendly_name().removesuffix(RESULT) for result in read.get_results()]
    compiled: dict[tuple[int, ...], Any] = {}

    def request(shape: tuple[int, ...]) -> Any:
        if shape not in compiled:
            model = core.read_model(str(file))
            model.reshape(list(shape))
            compiled[shape] = core.compile_model(model, "CPU", SETTINGS).create_infer_request()
        return compiled[shape]

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        found = request(images.shape).infer([images], share_inputs=True)
        return {name: np.asarray(found[i]) for i, name in enumerate(names)}

    return run

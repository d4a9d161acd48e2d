"""onnxruntime on the CPU."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.export.engines import Run


def opened(file: Path) -> Run:
    """The graph of an ONNX file, ready to run.

    Raises:
      UserError: onnxruntime does not take the file.
    """
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # onnxruntime's errors have no common class but Exception
        raise UserError(f"--engine onnxruntime: does not take {file.name} ({' '.join(str(e).split())[:300]})") from e
    given = session.get_inputs()[0].name
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {given: images}), strict=True))

    return run

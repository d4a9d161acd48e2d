"""The memory that the fit of a `Collecting` detector takes, and a line where less is free."""

from typing import Any

import jax

from jaxqc.anomaly.detectors.base import Shapes
from jaxqc.memory import free_bytes, shortage

PROGRAM = 1.5e9
"""Bytes that the program, its libraries and a usual backbone take."""
COPIES = 8
"""Sizes of the collection that exist at once, at most: itself, a batch's part, their sum, the state made of it, those
of two folds, and what is written. Measured: a fit to 535 magnetic tiles, whose collection has 0.5 GB, took 2.7 GB."""
LAYERS = 8
"""Sizes of a batch's layers that exist at once in the backbone, the layers before them among these."""
WIDTHS = ("channels", "width")
"""Fields of a detector that say how many numbers a position has."""


def memory_needed(detector: Any, shapes: Shapes, samples: int, batch: int) -> float:
    """Bytes that a fit takes at most, on the host or a device (docs/guide/memory). shapes: [h w c] of each layer.

    Examples:
      >>> from jaxqc.anomaly.detectors import Gaussian
      >>> round(memory_needed(Gaussian(channels=200), ((56, 56, 64), (28, 28, 128), (14, 14, 256)), 500, 16) / 1e9, 1)
      5.7
    """
    collected = jax.eval_shape(lambda: detector.begin(shapes, samples))
    kept = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(collected))
    layers = 4 * batch * sum(height * width * channels for height, width, channels in shapes)
    return PROGRAM + COPIES * kept + LAYERS * layers


def memory_lines(detector: Any, shapes: Shapes, samples: int, batch: int, kept: int = 0) -> tuple[str, ...]:
    """A line where a fit will need more memory than its device has free. kept: bytes on the host beside it."""
    device = jax.local_devices()[0]
    stats, needed = device.memory_stats() or {}, memory_needed(detector, shapes, samples, batch)
    if "bytes_limit" in stats:
        there = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    else:
        there, needed = free_bytes(), needed + kept
    return shortage("this fit", needed, there, _advice(detector))


def _advice(detector: Any) -> str:
    own = [f"--detector.{name}" for name in WIDTHS if hasattr(detector, name)]
    return f"lower {', '.join([*own, '--data.size', '--data.samples'])} or --batch"

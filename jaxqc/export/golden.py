"""Images on which an exported graph is compared with its model."""

import jax
import numpy as np
from jaxtyping import Num, UInt8

from jaxqc.data.colour import in_colour
from jaxqc.graph import Graph
from jaxqc.training.golden import GOLDEN_IMAGES

DEFAULT_SIDE = 256
"""Side of the golden images where neither graph nor checkpoint gives one."""
MIDDLE, SPREAD = 0.45, 0.22
"""Mean and deviation by which pixels in [0, 1] become what a graph of normalised images takes."""


def golden_images(graph: Graph, golden: UInt8[np.ndarray, "n _ _ c"] | None = None) -> Num[np.ndarray, "n h w 3"]:
    """The checkpoint's golden images at the graph's size; a pattern with noise where it has none.

    In the graph's dtype: uint8 pixels, or normalised ones.
    """
    height, width = graph.height or DEFAULT_SIDE, graph.width or DEFAULT_SIDE
    if golden is None:
        rng, rows, columns = np.random.default_rng(0), np.arange(height)[:, None], np.arange(width)[None]
        waves = [120 + 60 * np.sin(rows / (5 + 4 * i)) * np.cos(columns / (7 + 3 * i)) for i in range(GOLDEN_IMAGES)]
        grey = np.stack(waves) + rng.normal(0, 12, (GOLDEN_IMAGES, height, width))
        golden = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, 3)
    elif graph.height:
        sizes = (len(golden), height, width, golden.shape[3])
        golden = np.asarray(jax.image.resize(golden.astype(np.float32), sizes, "linear")).round().astype(np.uint8)
    golden = in_colour(golden)
    return golden if graph.dtype == np.uint8 else ((golden / 255 - MIDDLE) / SPREAD).astype(graph.dtype)

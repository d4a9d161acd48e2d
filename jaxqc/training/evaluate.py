"""Evaluation through a method's accumulator, spread over devices, and the maps of a few images for a golden record."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import UInt8

from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.training.method import Method
from jaxqc.training.parallel import Parallel
from jaxqc.types import AXIS, Metrics, Variables

Evaluate = Callable[[Any, Sequence[ArrayDataset | Dataset]], Metrics]


def make_evaluate(
    method: Method, parallel: Parallel, size: int, batch: int, data_size: int = 0, workers: int = 0
) -> Evaluate:
    """`evaluate(variables, datasets) → metrics` over all of them, compiled once for each image size among them.

    variables: replicated (`Parallel.replicate`). Every sample counts once: batches are rounded up to a multiple of the
    devices and padded with weight 0. size: network input; data_size: see `jaxqc.data.pipeline`.
    """
    update = parallel.map(lambda m, v, b: method.update_metrics(m, v, b, size), donate=(0,))
    merge = parallel.map(lambda m: lax.psum(m, AXIS), donate=(0,))
    batch = -(-batch // parallel.count) * parallel.count
    empty = jax.device_get(method.init_metrics())

    def evaluate(variables: Any, datasets: Sequence[ArrayDataset | Dataset]) -> Metrics:
        # The mapping may assume each argument's buffer its own to reuse, so each evaluation starts on a fresh one.
        sums = parallel.replicate(empty)
        for dataset in datasets:
            part = (jax.process_index(), jax.process_count())
            with eval_batches(dataset, batch, data_size, workers, part) as batches:
                for host in batches:
                    sums = update(sums, variables, parallel.shard(host))
        return {k: float(v) for k, v in method.summarize(parallel.unreplicate(merge(sums))).items()}

    return evaluate


def predict_maps(
    method: Method, variables: Variables, images: UInt8[np.ndarray, "n h w c"], size: int
) -> dict[str, np.ndarray]:
    """The method's outputs for raw images at network size `size`: `map` [n size size] and maybe `class` [n k]."""

    @jax.jit
    def run(variables: Variables, images: jax.Array) -> dict[str, jax.Array]:
        n, h, w = images.shape[:3]
        batch = {
            "image": images,
            "mask": jnp.zeros((n, h, w), jnp.uint8),
            "label": jnp.full((n,), -1, jnp.int32),
            "weight": jnp.ones((n,), jnp.float32),
        }
        prepared = method.prepare(batch, jax.random.split(jax.random.key(0), n), size, False)
        return method.predict(variables, prepared["image"])

    return {k: np.asarray(v) for k, v in jax.device_get(run(variables, images)).items()}

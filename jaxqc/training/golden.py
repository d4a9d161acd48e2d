"""golden.npz of a run's folder, its later proof: some images and the maps that the checkpoint made of them."""

import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxqc.config import TrainConfig
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.errors import UserError
from jaxqc.training.checkpoint import load_variables
from jaxqc.training.evaluate import predict_maps
from jaxqc.training.folder_sums import kept_file
from jaxqc.training.method import Method

GOLDEN_IMAGES = 2


def write_golden(folder: Path, method: Method, dataset: ArrayDataset | Dataset, config: TrainConfig) -> Path:
    """golden.npz: `image` uint8 [n h w c], the best checkpoint's `map` float32 [n s s] (and `class` [n k]) for them,
    `size` = s and `step`, so that another machine can measure how far off its own maps are."""
    variables, _, meta = load_variables(folder, "best", type(config))  # in every process: Orbax reads in step
    path = folder / "golden.npz"
    if _golden_step(path) == meta["step"]:
        return path  # made where the checkpoint was made; made again here it would prove nothing
    with eval_batches(dataset, GOLDEN_IMAGES, config.data.size) as batches:
        images = next(batches)["image"][: len(dataset)]
    out = predict_maps(method, method.deployed(variables, None), images, config.eval_size)
    arrays: dict[str, Any] = {k: out[k] for k in ("map", "class") if k in out}
    arrays |= {"image": images, "size": np.int32(config.eval_size), "step": np.int32(meta["step"])}
    if jax.process_index() == 0:
        save_golden(folder, arrays)
    return path


def save_golden(folder: Path, arrays: dict[str, Any]) -> None:
    """Writes golden.npz. Raises UserError where it cannot be written."""
    try:
        with kept_file(folder, "golden.npz") as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as e:
        advice = "make room and run the same command again"
        raise UserError(f"{folder / 'golden.npz'}: cannot be written ({e.strerror or e}); {advice}") from e


def _golden_step(path: Path) -> int | None:
    try:
        with np.load(io.BytesIO(path.read_bytes())) as kept:
            return int(kept["step"])
    except Exception:  # absent, or a damaged archive, which raises BadZipFile, ValueError, EOFError, zlib.error ...
        return None


def read_golden(path: Path) -> dict[str, np.ndarray]:
    """`image`, `map`, `size` and `step` of a run's golden.npz.

    Raises:
      UserError: no such run, no record, or a damaged one.
    """
    file = path / "golden.npz"
    if not path.is_dir():
        raise UserError(f"{path}: no such run folder; give the --out folder of a training run or a fit")
    if not file.is_file():
        raise UserError(f"{file}: no golden record; it is written when a run ends (run the same command again)")
    try:
        # Read first: numpy leaves a damaged archive's file open.
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
            golden = {key: archive[key] for key in ("image", "map", "size", "step")}
    except KeyError as e:
        raise UserError(f"{file}: lacks {e}; not a golden record of this version") from e
    except Exception as e:  # a damaged archive raises BadZipFile, ValueError, EOFError, zlib.error ...
        raise UserError(f"{file}: damaged ({type(e).__name__}: {e}); restore it from a copy") from e
    if golden["image"].dtype != np.uint8 or golden["image"].ndim != 4 or golden["map"].ndim not in (3, 4):
        raise UserError(f"{file}: image {golden['image'].shape} and map {golden['map'].shape} are no golden record")
    if not golden["image"].size or not golden["map"].size or len(golden["image"]) != len(golden["map"]):
        shapes = f"image {golden['image'].shape} and map {golden['map'].shape}"
        raise UserError(f"{file}: {shapes}: nothing to compare; copy the whole folder again")
    return golden

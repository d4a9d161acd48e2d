"""A checkpoint's proof: recompute its golden output here and say how far off this machine is."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.anomaly.model import is_fit, scaled
from jaxqc.anomaly.model import load as load_detector
from jaxqc.errors import UserError
from jaxqc.export.folder import is_export
from jaxqc.export.run import load as load_export
from jaxqc.saliency.model import load
from jaxqc.semi.model import is_segmentation, load_segmentation
from jaxqc.training.record import environment

TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}
"""Largest difference of a map value (of 1) that another machine's arithmetic explains, by compute dtype."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on this machine. difference: largest of |map now - map then|, with and without folded batch norm."""

    path: str
    step: int
    difference: float
    folded_difference: float
    mean_difference: float
    tolerance: float
    then: dict[str, Any]
    now: dict[str, Any]

    @property
    def ok(self) -> bool:
        """True where both graphs are within the tolerance (a NaN is not)."""
        return self.difference <= self.tolerance and self.folded_difference <= self.tolerance

    def lines(self) -> list[str]:
        """Lines to print, the verdict last."""
        rows = [f"{self.path}, step {self.step}: golden maps recomputed here"]
        names = [*self.now["versions"], "device"]
        for name in names:
            old, new = (e.get(name) or e.get("versions", {}).get(name, "unknown") for e in (self.then, self.now))
            rows.append(f"  {name:17} {old}" + ("" if old == new else f"  ->  {new}"))
        rows.append(f"  largest difference {self.difference:.2e} (folded {self.folded_difference:.2e})")
        rows.append(f"  mean difference    {self.mean_difference:.2e}")
        word = "OK: within" if self.ok else "FAILED: outside"
        return [*rows, f"{word} the tolerance of {self.tolerance:.0e}"]


def verify(path: str | Path, tolerance: float | None = None) -> Verdict:
    """Runs the golden images of the run folder `path` through its best checkpoint and compares the maps; of an export
    all its outputs.

    tolerance: largest difference that passes; None takes `TOLERANCE` of the run's compute dtype.

    Raises:
      UserError: no run there, no golden record, or one of another checkpoint.
    """
    if is_export(path):
        return _verify_export(path, tolerance)
    golden = read_golden(Path(path))
    if is_fit(path):
        return _verify_fit(path, golden, tolerance)
    if is_segmentation(path):
        return _verify_segmentation(path, golden, tolerance)
    model, folded = load(path, "best", fold=False), load(path, "best")
    _same_step(path, golden, model.meta)
    size, expected = int(golden["size"]), golden["map"].astype(np.float32)
    found = []
    for candidate in (model, folded):
        run = jax.jit(lambda v, images, m=candidate: m.apply(v, m.prepare(images, size))["map"])
        found.append(np.asarray(run(candidate.variables, jnp.asarray(golden["image"]))))
        if found[-1].shape != expected.shape:
            raise UserError(f"{Path(path) / 'golden.npz'}: maps {expected.shape}, the network gives {found[-1].shape}")
    difference, folded_difference = (float(np.max(np.abs(f - expected))) for f in found)
    return Verdict(
        path=str(path),
        step=int(model.meta["step"]),
        difference=difference,
        folded_difference=folded_difference,
        mean_difference=float(np.mean(np.abs(found[0] - expected))),
        tolerance=TOLERANCE[model.config.model.dtype] if tolerance is None else tolerance,
        then=model.meta,
        now=environment(),
    )


def _verify_fit(path: str | Path, golden: dict[str, np.ndarray], tolerance: float | None) -> Verdict:
    """A detector has one graph, whose batch norm is folded."""
    model = load_detector(path)
    found, expected = scaled(model, golden["image"]), golden["map"].astype(np.float32)
    if found.shape != expected.shape:
        raise UserError(f"{Path(path) / 'golden.npz'}: maps {expected.shape}, the detector gives {found.shape}")
    return _verdict(path, found, expected, model.config.backbone.dtype, model.meta, tolerance)


def _verify_segmentation(path: str | Path, golden: dict[str, np.ndarray], tolerance: float | None) -> Verdict:
    """A segmentation network has one graph, too; its maps are of every class."""
    model = load_segmentation(path)
    _same_step(path, golden, model.meta)
    run = jax.jit(lambda params, images: model.forward(params, images, model.config.fast, model.config.window))
    found, expected = np.asarray(run(model.params, golden["image"])), golden["map"].astype(np.float32)
    if found.shape != expected.shape:
        raise UserError(f"{Path(path) / 'golden.npz'}: maps {expected.shape}, the network gives {found.shape}")
    return _verdict(path, found, expected, model.config.model.dtype, model.meta, tolerance)


def _verify_export(path: str | Path, tolerance: float | None) -> Verdict:
    """An export has one graph; labels and masks count by the share of pixels that differ."""
    exported = load_export(path)
    apart = np.array(list(exported.check().values()))
    limit = TOLERANCE[exported.meta["dtype"]] if tolerance is None else tolerance
    step = int(exported.meta.get("checkpoint", {}).get("step", 0))
    return Verdict(
        str(path),
        step,
        float(apart.max()),
        float(apart.max()),
        float(apart.mean()),
        limit,
        exported.meta,
        environment(),
    )


def _verdict(
    path: str | Path, found: np.ndarray, expected: np.ndarray, dtype: str, meta: dict[str, Any], tolerance: float | None
) -> Verdict:
    """The verdict on a model that has but one graph."""
    difference, mean = float(np.max(np.abs(found - expected))), float(np.mean(np.abs(found - expected)))
    limit = TOLERANCE[dtype] if tolerance is None else tolerance
    return Verdict(str(path), int(meta.get("step", 0)), difference, difference, mean, limit, meta, environment())


def _same_step(path: str | Path, golden: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    if int(golden["step"]) != meta["step"]:
        raise UserError(
            f"{Path(path) / 'golden.npz'}: made of step {int(golden['step'])}, the best checkpoint is of step "
            f"{meta['step']}; finish the run (the record is written at its end)"
        )


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
    return golden

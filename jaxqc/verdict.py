"""A checkpoint's proof: how far the maps made here are from those that were made when it was saved."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.errors import UserError
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
    files: tuple[str, ...] = ()
    """Lines on the files of the folder: how many are as they were, and which were not compared."""

    @property
    def ok(self) -> bool:
        """True where both graphs are within the tolerance (a NaN is not)."""
        return self.difference <= self.tolerance and self.folded_difference <= self.tolerance

    def lines(self) -> list[str]:
        """The lines that are printed, the verdict last."""
        rows = [f"{self.path}, step {self.step}: golden maps recomputed here"]
        names = [*self.now["versions"], "device"]
        for name in names:
            old, new = (e.get(name) or e.get("versions", {}).get(name, "unknown") for e in (self.then, self.now))
            rows.append(f"  {name:17} {old}" + ("" if old == new else f"  ->  {new}"))
        rows += [f"  {line}" for line in self.files]
        rows.append(f"  largest difference {self.difference:.2e} (folded {self.folded_difference:.2e})")
        rows.append(f"  mean difference    {self.mean_difference:.2e}")
        word = "OK: within" if self.ok else "FAILED: outside"
        return [*rows, f"{word} the tolerance of {self.tolerance:.0e}"]


def verdict_of(
    path: str | Path,
    found: np.ndarray,
    expected: np.ndarray,
    dtype: str,
    meta: dict[str, Any],
    tolerance: float | None = None,
    folded: np.ndarray | None = None,
    maker: str = "network",
) -> Verdict:
    """Compares maps with the golden ones.

    Args:
      found, folded: maps made here, the second by the graph with folded batch norm; None where the model has but one.
      dtype: of computing. tolerance: largest difference that passes; None takes `TOLERANCE` of `dtype`.
      maker: of the maps, in words.

    Raises:
      UserError: maps of another shape.
    """
    for maps in (found, found if folded is None else folded):
        if maps.shape != expected.shape:
            file = Path(path) / "golden.npz"
            raise UserError(f"{file}: maps {expected.shape}, the {maker} gives {maps.shape}")
    apart = np.abs(found - expected)
    largest = float(np.max(apart))
    return Verdict(
        path=str(path),
        step=int(meta.get("step", 0)),
        difference=largest,
        folded_difference=largest if folded is None else float(np.max(np.abs(folded - expected))),
        mean_difference=float(np.mean(apart)),
        tolerance=TOLERANCE[dtype] if tolerance is None else tolerance,
        then=meta,
        now=environment(),
    )


def same_step(path: str | Path, golden: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Raises UserError where a golden record was made of another checkpoint than the best one."""
    if int(golden["step"]) != meta["step"]:
        raise UserError(
            f"{Path(path) / 'golden.npz'}: made of step {int(golden['step'])}, the best checkpoint is of step "
            f"{meta['step']}; finish the run (the record is written at its end)"
        )

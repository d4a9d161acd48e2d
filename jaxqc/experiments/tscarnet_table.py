"""Table 1 of TSCARNet's paper made to run: its networks on the same data, in the same loop, each with its own loss.

A row is a mean over seeds. The published rows stand beside ours, named so: they are of other runs on other images.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from jaxqc import api
from jaxqc.config import AugmentConfig, Phase, TrainConfig, load_config
from jaxqc.data.dataset import Dataset
from jaxqc.errors import UserError, suggest
from jaxqc.experiments.markdown import mean_and_deviation, table_head, table_row
from jaxqc.fields import to_dict
from jaxqc.saliency.networks import storable
from jaxqc.training.logs import append_row, finished_rows
from jaxqc.training.record import data_digest

ROWS = "rows.jsonl"
SIZE, BATCH, EPOCHS = 224, 16, 200
COLUMNS = {"e_adaptive": ("E", 4), "weighted_f": ("weighted F", 4), "s_measure": ("S", 4), "mae": ("MAE", 4)}
"""Measures of the table and their digits."""
MEMBERS: Mapping[str, tuple[str, str]] = {
    "CorrNet": ("corrnet_sd900", ""),
    "PP-LiteSeg-B": ("pp_liteseg_sd900", ""),
    "PP-LiteSeg-T": ("pp_liteseg_sd900", "pp_liteseg_t"),
    "UCTransNet": ("uctransnet_sd900", ""),
    "FFRNet, our reading": ("ffrnet_sd900", ""),
    "MINet": ("minet_sd900", ""),
    "CKLNet": ("cklnet_sd900", ""),
    "GCRANet": ("gcranet_sd900", ""),
    "TSCARNet": ("tscarnet_sd900", ""),
}
"""Row → the recipe that its optimiser and rate are of, and its network where that is another. Of FFRNet neither code
nor layer figures are public."""
PUBLISHED: Mapping[str, tuple[float, float, float, float]] = {
    "MINet": (0.9629, 0.9095, 0.9266, 0.0169),
    "CorrNet": (0.9683, 0.9107, 0.9272, 0.0151),
    "PP-LiteSeg": (0.9703, 0.9107, 0.9272, 0.0151),
    "UCTransNet": (0.9728, 0.9173, 0.9352, 0.0140),
    "FFRNet": (0.9731, 0.9192, 0.9353, 0.0136),
    "TSCARNet": (0.9757, 0.9407, 0.9501, 0.0110),
}
"""E, weighted F, S and MAE as Table 1 of the paper prints them."""


@dataclass(frozen=True)
class Cell:
    """One training: a row's recipe, with its seed."""

    member: str
    config: TrainConfig

    @property
    def row(self) -> str:
        """The row's name: the network's, and its width where that is not the published one."""
        width = self.config.model.width
        return self.member if width == 1 else f"{self.member}, width {width:g}"

    def key(self, data: Dataset) -> str:
        """The key of its row: all that its figures depend on."""
        whole = {"data": data_digest(data), **to_dict(storable(self.config))}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

    def line(self) -> str:
        """The cell in a few words."""
        return f"{self.row}, seed {self.config.seed}"


Measure = Callable[[Cell, Dataset, Path, bool], dict[str, Any]]


def cells_of(
    members: Sequence[str],
    seeds: int,
    epochs: float = EPOCHS,
    size: int = SIZE,
    batch: int = BATCH,
    widths: Mapping[str, float] | None = None,
) -> tuple[Cell, ...]:
    """The cells of a table: each member's optimiser and rate in the table's schedule, seeds 0 and up.

    A shorter schedule has a warm-up that is shorter by as much. widths: of the members that are not built at width 1.

    Raises:
      UserError: no such member, or no seed; a width of none of them.

    Examples:
      >>> [cell.line() for cell in cells_of(["MINet"], 2)]
      ['MINet, seed 0', 'MINet, seed 1']
    """
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: give 1 or more")
    widths = widths or {}
    for member in widths:
        if member not in members:
            raise UserError(f"--widths: no member {member!r}{suggest(member, members)}")
    found = []
    for seed in range(seeds):
        for member in members:
            if member not in MEMBERS:
                raise UserError(f"--members: no row {member!r}{suggest(member, MEMBERS)}")
            recipe, name = MEMBERS[member]
            own = load_config(recipe)
            config = replace(
                own,
                model=replace(own.model, name=name or own.model.name, width=widths.get(member, 1.0)),
                data=replace(own.data, protocol="seed"),
                augment=AugmentConfig(flip_horizontal=True),
                optim=replace(own.optim, warmup_epochs=own.optim.warmup_epochs * min(1.0, epochs / EPOCHS)),
                phases=(Phase(epochs=epochs, size=size, batch=batch),),
                eval_size=size,
                seed=seed,
            )
            found.append(Cell(member, config))
    return tuple(found)


def measured(cell: Cell, data: Dataset, folder: Path, progress: bool) -> dict[str, Any]:
    """A cell's row: trained, or gone on with, in `folder`, and measured on the protocol's test images.

    Raises:
      UserError: the data have no 90 images to test, or the folder cannot be written.
    """
    trained = api.train(cell.config, data, folder, progress=progress)
    began = time.monotonic()
    result = api.evaluate(folder, data, None, which="last", split="test", progress=progress)
    row = {name: round(result.metrics[name], 6) for name in COLUMNS}
    variables = api.load(folder, "last", fold=False).variables
    row |= {"parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))}
    row |= {"images": result.counts[""], "seconds": round(trained.seconds, 1), "steps": trained.step}
    return row | {"test_seconds": round(time.monotonic() - began, 1)}


def run_cells(
    cells: Sequence[Cell], data: Dataset, out: Path, progress: bool = True, measure: Measure = measured
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Each cell's row; those that `out/rows.jsonl` lacks are trained, in `out/runs/KEY`, and gone on with there.

    A run's folder is removed once its row is written.

    Raises:
      UserError: as `measured`; or `out` cannot be written.
    """
    rows = {row["key"]: row for row in finished_rows(out / ROWS) if "key" in row}
    for cell in cells:
        key = cell.key(data)
        if key not in rows:
            folder = out / "runs" / key
            row = {"member": cell.member, "seed": cell.config.seed, "key": key, "data": data.name}
            rows[key] = row | measure(cell, data, folder, progress) | {"recipe": to_dict(storable(cell.config))}
            append_row(out / ROWS, rows[key])
            shutil.rmtree(folder, ignore_errors=True)
        yield cell, rows[key]


def markdown(found: Sequence[tuple[Cell, Mapping[str, Any]]]) -> str:
    """The table: our rows as mean ± standard deviation over seeds, and below them the published ones."""
    heads = [head for head, _ in COLUMNS.values()]
    lines = table_head(["network, ours", "parameters", "seeds", *heads, "s a step"])
    for name in dict.fromkeys(cell.row for cell, _ in found):
        own = [row for cell, row in found if cell.row == name]
        values = [mean_and_deviation([row[key] for row in own], digits) for key, (_, digits) in COLUMNS.items()]
        step = mean_and_deviation([row["seconds"] / max(row["steps"], 1) for row in own], 3)
        lines.append(table_row([name, f"{own[0]['parameters']:,}", str(len(own)), *values, step]))
    lines += ["", "Published, of the authors' own runs:", "", *table_head(["network, published", *heads])]
    lines += [table_row([name, *(f"{value:.4f}" for value in row)]) for name, row in PUBLISHED.items()]
    return "\n".join(lines) + "\n"

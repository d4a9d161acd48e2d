"""Members of the family beside each other, as in the MvpMatch paper's Table 2: cells trained, measured, tabulated."""

import dataclasses
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxqc.errors import UserError, suggest
from jaxqc.experiments.markdown import mean_and_deviation, table_head, table_row
from jaxqc.fields import as_now, to_dict
from jaxqc.semi.cost import passes
from jaxqc.semi.data import Splits, make_splits, manifest_of, open_pairs, parse_share, write_splits
from jaxqc.semi.evaluate import evaluate_part
from jaxqc.semi.evaluation_set import part_of
from jaxqc.semi.manifest import FILES, write_manifest
from jaxqc.semi.model import load_segmentation
from jaxqc.semi.recipe import PRESETS, SemiConfig, SemiTrainConfig
from jaxqc.semi.train import train_semi
from jaxqc.training.checkpoint import decisive
from jaxqc.training.logs import append_row, finished_rows

ROWS = "rows.jsonl"
SHARED = ("photometric", "cutmix", "ema", "balance", "ohem", "ohem_threshold", "ohem_kept")
"""Fields of the recipe's `semi` that hold for every member, unless its preset sets them otherwise (CPS's views)."""
PUBLISHED_EPOCHS = 80
"""Length of the runs for which PS-MT, U2PL and AllSpark time what they do in epochs (VOC; with the fewest labels)."""
METHODS = ("supervised", "unimatch_v2", "tiers_only", "history_only", "mvpmatch")
TABLES = {
    1: ("supervised", "cps", "ps_mt", "ps_mt_released", "u2pl", "unimatch_v1", "allspark", "unimatch_v2", "mvpmatch"),
    2: METHODS,
}
"""Members of the paper's tables by number. Of Table 1 all that run with any encoder, here with one for all, which the
paper's has not; SemiVL is CLIP."""
NAMES = {
    "supervised": "labelled images only",
    "supervised_ema": "labelled images only, averaged",
    "fixmatch": "FixMatch",
    "unimatch_v2": "UniMatch V2",
    "tiers_only": "+ tiers",
    "history_only": "+ history",
    "mvpmatch": "MvpMatch (tiers + history)",
    "unimatch_v1": "UniMatch V1",
    "prevmatch": "PrevMatch",
    "ps_mt": "PS-MT",
    "ps_mt_released": "PS-MT without noise, as released",
    "u2pl": "U2PL",
    "pixcon": "UniMatch V2 + clean pixels (PixCon)",
    "allspark": "AllSpark",
    "semivl": "SemiVL",
    "cps": "CPS",
}


@dataclass(frozen=True)
class Cell:
    """One training run: a member of the family, the labelled share as the user wrote it, and the seed of both the
    lists and the training."""

    method: str
    share: str
    seed: int

    @property
    def name(self) -> str:
        """As a folder's name."""
        return f"{self.method}-{self.share.replace('/', 'of')}-{self.seed}"


def run_cells(
    cells: Sequence[Cell],
    base: SemiTrainConfig,
    data: str | Path,
    out: str | Path,
    keep: bool = False,
    progress: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> dict[Cell, dict[str, Any]]:
    """Trains and measures every cell that has no row in `out/rows.jsonl` yet; an interrupted one goes on.

    A row has the metrics of the checkpoint that was best on the selection images: `metrics` of the test images, and
    `unlabeled` of the images learnt from without their masks. The preset takes the place of `base.semi`, but for the
    latter's `SHARED` fields. What a member times in epochs keeps its share of a run of `PUBLISHED_EPOCHS`; as it was
    trained, it is the row's `semi`.

    keep: whether finished runs keep their checkpoints (their logs stay either way).

    Raises:
      UserError: whatever `train_semi` refuses.
    """
    out = Path(out)
    recipe, epochs = to_dict(base), sum(phase.epochs for phase in base.phases)
    members = {cell.name: _member(cell.method, base.semi, epochs) for cell in cells}

    def same(row: Mapping[str, Any]) -> bool:
        if (
            "semi" in row
            and row["cell"] in members
            and as_now(row["semi"], SemiConfig) != to_dict(members[row["cell"]])
        ):
            return False
        return decisive(as_now(row["recipe"], type(base))) == decisive(recipe)

    done = {row["cell"]: row for row in finished_rows(out / ROWS) if same(row)}
    found: dict[Cell, dict[str, Any]] = {}
    for cell in cells:
        if cell.name not in done:
            lists = out / "splits" / f"{cell.share.replace('/', 'of')}-{cell.seed}"
            _write_lists(lists, data, cell)
            views = dataclasses.replace(base.views, splits=str(lists), manifest="")
            config = dataclasses.replace(base, semi=members[cell.name], seed=cell.seed, views=views)
            folder = out / cell.name
            result = train_semi(config, data, folder, progress=progress, note=note)
            row = {
                "cell": cell.name,
                "recipe": recipe,
                "semi": to_dict(config.semi),
                **measured(data, folder, base.eval_batch),
            }
            row |= {"selected": result.best, "steps": result.step, "seconds": round(result.seconds, 1)}
            append_row(out / ROWS, row)
            done[cell.name] = row
            if not keep:
                shutil.rmtree(folder / "checkpoints")
            note(f"{cell.name}: mIoU {row['metrics']['miou']:.4f} in {row['seconds']:.0f} s")
        found[cell] = done[cell.name]
    return found


def _member(method: str, recipe: SemiConfig, epochs: float) -> SemiConfig:
    own, default, part = PRESETS[method], SemiConfig(), epochs / PUBLISHED_EPOCHS
    left = [name for name in SHARED if getattr(own, name) == getattr(default, name)]
    unsup, memory = own.unsup, own.memory
    unsup = dataclasses.replace(unsup, warm_epochs=part * unsup.warm_epochs, ramp_epochs=part * unsup.ramp_epochs)
    memory = dataclasses.replace(memory, start_epochs=part * memory.start_epochs) if memory.heads else memory
    return dataclasses.replace(own, unsup=unsup, memory=memory, **{name: getattr(recipe, name) for name in left})


def _write_lists(lists: Path, data: str | Path, cell: Cell) -> Splits:
    dataset = open_pairs(data)
    splits = make_splits(dataset, data, parse_share(cell.share, "--shares"), seed=cell.seed)
    write_splits(lists, splits)
    write_manifest(lists / FILES[0], manifest_of(data, dataset))
    return splits


def measured(data: str | Path, folder: str | Path, batch: int) -> dict[str, dict[str, float]]:
    """Results of `jaxqc evaluate` for a run's best checkpoint, each image at its own size: `metrics` of the test images
    and `unlabeled` (see `run_cells`)."""
    model = load_segmentation(folder, "best", batch)
    parts = {"metrics": "val", "unlabeled": "unlabeled"}
    return {
        name: evaluate_part(model, part_of(data, split, model.classes, folder), progress=False).metrics
        for name, split in parts.items()
    }


def markdown(
    found: Mapping[Cell, Mapping[str, Any]], metric: str = "miou", over: str = "", part: str = "metrics"
) -> str:
    """A row a method, a column a labelled share; mean ± standard deviation over the seeds, in per cent.

    part: of a row, `metrics` or `unlabeled` (see `run_cells`).
    over: a method; the table has what the others gain over it, each seed's cell compared with that of the same seed:
    the same images are labelled in both, so that the spread of the draw falls out.
    """
    shares = list(dict.fromkeys(cell.share for cell in found))
    methods = [name for name in NAMES if name != over and any(cell.method == name for cell in found)]
    lines = table_head(["method", *shares])
    for method in methods:
        texts = []
        for share in shares:
            values = []
            for cell in (c for c in found if (c.method, c.share) == (method, share)):
                own, base = found[cell].get(part), {metric: 0.0}  # a row from before `unlabeled` was measured has none
                if over:
                    base = found.get(dataclasses.replace(cell, method=over), {}).get(part)
                if own and base:
                    values.append(100 * (own[metric] - base[metric]))
            finite = [v for v in values if math.isfinite(v)]
            texts.append(mean_and_deviation(finite, 2, "+" if over else "", absent=""))
        lines.append(table_row([NAMES[method], *texts]))
    return "\n".join(lines) + "\n"


def cost_table(found: Mapping[Cell, Mapping[str, Any]]) -> str:
    """A row a method: passes of encoder and decoder for each labelled image of a step, and a run's mean minutes."""
    lines = table_head(["method", "encoder", "decoder", "minutes"])
    for method in [name for name in NAMES if any(cell.method == name for cell in found)]:
        seconds = [found[cell]["seconds"] for cell in found if cell.method == method]
        encoder, decoder = (f"{count:g}" for count in passes(PRESETS[method]))
        lines.append(table_row([NAMES[method], encoder, decoder, f"{sum(seconds) / len(seconds) / 60:.1f}"]))
    return "\n".join(lines) + "\n"


def check_cells(methods: Sequence[str], shares: Sequence[str], seeds: int, first_seed: int = 0) -> list[Cell]:
    """All combinations, seed by seed, so that an interrupted table has whole columns first.

    Raises:
      UserError: an unknown method, no share, no seed, or a negative one.
    """
    for method in methods:
        if method not in PRESETS:
            raise UserError(f"--methods: unknown {method!r}{suggest(method, PRESETS)}")
    for share in shares:
        parse_share(share, "--shares")
    if seeds < 1:
        raise UserError(f"--seeds: {seeds} is below 1")
    if first_seed < 0:
        raise UserError(f"--first-seed: {first_seed} is negative")
    numbers = range(first_seed, first_seed + seeds)
    return [Cell(m, share, seed) for seed in numbers for share in shares for m in methods]

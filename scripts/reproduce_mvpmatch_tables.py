"""Tables 1 and 2 of the MvpMatch paper for any segmentation set: the family's members on one encoder (--table 1), or
supervised only, UniMatch V2, tiers, history, both (--table 2, the default).

    python scripts/reproduce_mvpmatch_tables.py --data camvid --config mvpmatch_camvid --out runs/camvid
    python scripts/reproduce_mvpmatch_tables.py --data SD900 --config mvpmatch_sd900 --out runs/sd900 \\
        --shares 1/16 --seeds 1 --methods supervised mvpmatch --weights resnet18.npz
    python scripts/reproduce_mvpmatch_tables.py --table 1 --data SD900 --config mvpmatch_sd900 --out runs/family

Any field of the recipe is a flag. A seed draws the lists and the training. A finished cell is a line of OUT/rows.jsonl;
run the command again, and only what is missing is trained, an interrupted run from its last checkpoint. Two processes
may share OUT with cells of their own, such as --first-seed 0 --seeds 1 and --first-seed 1 --seeds 1. OUT/tables.md
has mIoU and pixel accuracy of the test images and of the unlabelled ones, from whose masks no run learns;
OUT/pseudo_labels-1of16.png the share and accuracy of each tier over training.
"""

import argparse
import sys
from pathlib import Path

from jaxqc.atomic import write_text
from jaxqc.config import load_config
from jaxqc.errors import UserError
from jaxqc.memory import use_huge_pages
from jaxqc.overrides import override
from jaxqc.semi.recipe import SemiTrainConfig


def main(argv: list[str] | None = None) -> int:
    """Runs the command; the exit code is that of `jaxqc`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="images, masks and class names")
    parser.add_argument("--out", required=True, metavar="DIR", help="rows, tables and runs; finished cells are kept")
    parser.add_argument("--config", required=True, metavar="FILE", help="recipe that all cells share")
    parser.add_argument("--shares", nargs="+", default=["1/16", "1/4"], metavar="SHARE", help="labelled")
    parser.add_argument("--table", type=int, choices=(1, 2), default=2, help="of the paper (default: 2)")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="presets (default: the table's)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many")
    parser.add_argument("--first-seed", type=int, default=0, metavar="SEED", help="the others follow it")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints of finished runs")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    args, rest = parser.parse_known_args(argv)
    try:
        write_tables(args, override(load_config(args.config, SemiTrainConfig), rest))
    except UserError as e:
        print(f"reproduce_mvpmatch_tables: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    return 0


def write_tables(args: argparse.Namespace, config: SemiTrainConfig) -> None:
    """Trains what is missing and writes the tables and the figure. Raises UserError for what a user can mend."""
    from jaxqc.experiments.mvpmatch import NAMES, TABLES, check_cells, cost_table, markdown, run_cells
    from jaxqc.pictures.pseudo_labels import pseudo_label_curves
    from jaxqc.training.logs import read_rows

    methods = args.methods or TABLES[args.table]
    out, cells = Path(args.out), check_cells(methods, args.shares, args.seeds, args.first_seed)
    note = (lambda text: None) if args.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    found = run_cells(cells, config, args.data, out, args.keep, not args.quiet, note)
    text = f"# {Path(args.data).name}: few labels\n\n{config.model.name}, {len(set(c.seed for c in cells))} seeds, "
    text += "mean ± standard deviation over them, in per cent.\n\n"
    for part, images in (("metrics", "test images"), ("unlabeled", "unlabelled training images")):
        for metric, title in (("miou", "Mean IoU"), ("pixel_accuracy", "Pixel accuracy")):
            text += f"## {title} of the {images}\n\n{markdown(found, metric, part=part)}\n"
            if any(cell.method == "supervised" for cell in found):
                text += "Gain over labelled images only, seed by seed:\n\n"
                text += markdown(found, metric, "supervised", part) + "\n"
    text += (
        "## Cost\n\nPasses of a step for each labelled image (a backward pass counts as two), and minutes of a run:\n\n"
    )
    text += cost_table(found)
    write_text(out / "tables.md", text)  # whole, whichever of two processes writes last
    for share in args.shares:
        runs = {NAMES[c.method]: read_rows(out / c.name / "metrics.jsonl") for c in cells
                if (c.share, c.seed) == (share, args.first_seed)}  # fmt: skip
        if runs := {name: rows for name, rows in runs.items() if any("tier1_share" in row for row in rows)}:
            pseudo_label_curves(runs, out / f"pseudo_labels-{share.replace('/', 'of')}.png", f"{share} labelled")
    print(f"{out / 'tables.md'}: {len(found)} runs")


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())

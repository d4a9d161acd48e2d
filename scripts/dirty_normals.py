"""Measures what unnoticed defects among the good images cost each detector, and what leaving the worst out brings back.

    jaxqc data synthetic boards --kind wood --count 300 --size 128
    python -m scripts.dirty_normals --data boards --out runs/dirty --configs gaussian_wood_synthetic wood_synthetic \\
        --methods spade --shares 0 0.05 0.1 --seeds 3

Each share of the good images is replaced by defective test images, half of which are never fitted and always measured.
Any field of the recipe is a flag. A finished cell is a line of OUT/rows.jsonl; run the command again, and only what is
missing is measured. OUT/table.md has the means over the seeds.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from jaxqc.anomaly.detectors import DETECTORS
from jaxqc.anomaly.recipe import load_recipe
from jaxqc.errors import UserError
from jaxqc.memory import use_huge_pages
from jaxqc.overrides import override


def main(argv: list[str] | None = None) -> int:
    """Runs the command; the exit code is that of `jaxqc`."""
    from jaxqc.data.open import open_data
    from jaxqc.experiments.dirty_normals import Cell, markdown, run_cells

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="normal training images, defective test images")
    parser.add_argument("--out", required=True, metavar="DIR", help="rows and table; finished cells in it are kept")
    parser.add_argument("--configs", nargs="+", required=True, metavar="FILE", help="recipes")
    more = "detectors, with their defaults in the first recipe's place"
    parser.add_argument("--methods", nargs="+", default=[], choices=list(DETECTORS), help=more)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.05, 0.1], help="of defects among the good")
    parser.add_argument("--seeds", type=int, default=3, help="0, 1, ...: draw the defects and what a recipe draws")
    args, rest = parser.parse_known_args(argv)
    try:
        recipes = [override(load_recipe(config), rest) for config in args.configs]
        recipes += [replace(recipes[0], detector=DETECTORS[method]()) for method in args.methods]
        cells = [
            (Cell(recipe.name, share, worst, seed), recipe)
            for recipe in recipes
            for seed in range(args.seeds)
            for share in args.shares
            for worst in dict.fromkeys((0.0, share))
        ]
        data = open_data(args.data)
        rows = run_cells(cells, data, Path(args.out), lambda line: print(line, file=sys.stderr, flush=True))
        table = markdown(rows)
        (Path(args.out) / "table.md").write_text(table, "utf-8")
        print(table, end="")
    except UserError as e:
        print(f"dirty_normals: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())

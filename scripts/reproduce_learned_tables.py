"""Tables 1 and 4 of the survey of industrial defect detection, for any detectors and any data set.

    python scripts/reproduce_learned_tables.py --data mvtec --out runs/learned --members stfpm rd4ad patchcore --seeds 3
    python scripts/reproduce_learned_tables.py --data DIR --out runs/learned --members gaussian stfpm fastflow \\
        --folds 5 --backbone.name efficientnet_lite0
    python scripts/reproduce_learned_tables.py --data BOARDS --out runs/survey --survey --control --seeds 3

A member is a detector's name, or a recipe (`jaxqc fit --config`). Any field of a recipe is a flag and acts on all
members; `--config` gives the recipe that detectors' names are put into. DIR is a data set in any layout, or holds one
folder a class (`CLASS/train/good`). With --folds the data's own split is set aside: each fold of the normal images, by
group, is tested once, beside all defective images. A finished fit is a line of OUT/rows.jsonl; run the command again,
and only what is missing is measured. OUT/table.md has the table, with the published rows beside it, and OUT/pictures
what detectors of images rebuild.

--survey takes all detectors of Table 1, or those of --members: each by its recipe for CPUs (`NAME_small`) or with
settings like those. It orders the table by its kinds. --control measures each also without what it would learn: an
untrained network, or features of a backbone drawn at random.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxqc.anomaly.detectors import DETECTORS
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.config import load_config
from jaxqc.errors import UserError
from jaxqc.experiments.survey import FLAGS, TABLE_1
from jaxqc.memory import use_huge_pages
from jaxqc.overrides import override


def main(argv: list[str] | None = None) -> int:
    """Runs the command; the exit code is that of `jaxqc`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="a data set, or a folder of one a class")
    parser.add_argument("--out", required=True, metavar="DIR", help="rows and table; finished rows in it are kept")
    parser.add_argument("--members", nargs="+", default=[], metavar="NAME", help="detectors or recipes")
    parser.add_argument(
        "--survey", action="store_true", help="detectors of Table 1 in its order, each with its own short training"
    )
    parser.add_argument("--control", action="store_true", help="each also without what it would learn")
    parser.add_argument("--config", metavar="RECIPE", help="recipe that detectors' names are put into")
    parser.add_argument("--seeds", type=int, default=1, help="0, 1, ...: weights, draws, held-out groups")
    parser.add_argument("--folds", type=int, default=0, help="parts of the normal images to test; 0: the data's split")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    args, rest = parser.parse_known_args(argv)
    try:
        members = survey_members(args.members or ()) if args.survey else args.members
        if not members:
            raise UserError("no detector is named: give --members NAME ..., or --survey")
        own = FLAGS if args.survey else {}
        recipes = {name: recipe_of(name, args.config, rest, own.get(name, ())) for name in dict.fromkeys(members)}
        write_table(args, recipes)
    except UserError as e:
        print(f"reproduce_learned_tables: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    return 0


def survey_members(names: Sequence[str] = ()) -> list[str]:
    """The detectors of these names, or all of Table 1, each by its recipe for CPUs where it has one."""
    small = {path.stem for path in (Path(__file__).parents[1] / "configs").glob("*_small.py")}
    every = names or [name for names in TABLE_1.values() for name in names]
    return [f"{name}_small" if f"{name}_small" in small else name for name in every]


def recipe_of(member: str, config: str | None, flags: list[str], own: Sequence[str] = ()) -> FitConfig:
    """The recipe of a member: a detector's name within `config`, or a recipe's name or path; with the flags applied.

    own: the member's own flags, before the others.

    Raises:
      UserError: no such recipe, or a flag that does not fit it.
    """
    if member not in DETECTORS:
        return override(load_config(member, FitConfig), flags)
    base = load_config(config, FitConfig) if config else FitConfig()
    return override(base, ["--method", member, *own, *flags])


def write_table(args: argparse.Namespace, recipes: dict[str, FitConfig]) -> None:
    """Measures what is missing and writes table.md.

    Raises:
      UserError: wrong flags, data that cannot be used, a folder that cannot be written.
    """
    from jaxqc.experiments.gaussian_tables import seeded
    from jaxqc.experiments.learned_tables import Cell, classes_in, markdown, run_cells

    if args.seeds < 1 or args.folds < 0 or args.folds == 1:
        raise UserError(f"--seeds {args.seeds} --folds {args.folds}: give seeds of 1 or more, folds of 0, 2 or more")
    sets = classes_in(args.data, next(iter(recipes.values())))
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"{out}: cannot be made ({e.strerror or e}); choose another --out") from e
    cells = [
        Cell(member, seeded(recipe, seed), data, fold, args.folds, control)
        for seed in range(args.seeds)
        for fold in range(args.folds or 1)
        for data in sets
        for member, recipe in recipes.items()
        for control in ((False, True) if args.control else (False,))
    ]
    note = (lambda text: None) if args.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    found = []
    for cell, outcome in run_cells(cells, out, not args.quiet, note):
        found.append((cell, outcome))
        shown = outcome if isinstance(outcome, str) else f"image AUROC {outcome['mean_of_kinds']}"
        note(f"{len(found)} of {len(cells)}: {cell.line()}: {shown}")
        (out / "table.md").write_text(markdown(found, args.survey), encoding="utf-8")
    print(f"{out / 'table.md'}: {sum(not isinstance(x, str) for _, x in found)} of {len(found)} fits measured")


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())

"""Tables 1 to 5 of the "Gaussian CBAM" paper, for any data set with normal training images.

    python scripts/reproduce_gaussian_tables.py --data mvtec/wood --out runs/tables --config gaussian_wood_paper \\
        --weights resnet50=resnet50 resnet50_cbam=runs/gates/backbone.npz
    python scripts/reproduce_gaussian_tables.py --data DIR --out runs/tables --tables layers samples --seeds 2 \\
        --weights resnet18=FILE --data.size 128 --detector.channels 100

Any field of the recipe is a flag; without --config it is the paper's: 50 normal images, 550 channels of layers 1 to 3
at 224 pixels. The tables are varied around the recipe's backbone, or the first of --weights if that has none there. A
finished cell is a line of OUT/rows.jsonl; run the command again, and only what is missing is measured. OUT/tables.md
has the tables, with the paper's numbers on its own data beside them.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
from jaxqc.config import load_config
from jaxqc.errors import UserError, suggest
from jaxqc.memory import use_huge_pages
from jaxqc.models.resnet import BACKBONES
from jaxqc.overrides import override

PAPER = FitConfig(backbone=BackboneConfig("resnet50_cbam"), data=FitDataConfig(samples=50))
"""The paper's recipe."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; the exit code is that of `jaxqc`."""
    from jaxqc.experiments.gaussian_tables import CHANNELS, NORMALS, TABLES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="MVTec layout, index.csv, or any that jaxqc reads")
    parser.add_argument("--out", required=True, metavar="DIR", help="rows and tables; finished cells in it are kept")
    parser.add_argument("--config", metavar="FILE", help="recipe that the tables are varied around")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=FILE", help="weights of a backbone")
    parser.add_argument("--tables", nargs="+", default=list(TABLES), metavar="TABLE", choices=list(TABLES))
    parser.add_argument("--seeds", type=int, default=3, help="0, 1, ...: draw channels, normal images, held-out groups")
    parser.add_argument("--channels", nargs="+", type=int, default=CHANNELS, metavar="D", help="of Table 2")
    parser.add_argument("--normals", nargs="+", type=int, default=NORMALS, metavar="N", help="of Table 4")
    parser.add_argument("--cache-gb", type=float, default=8.0, help="most disk for features; more is computed anew")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    args, rest = parser.parse_known_args(argv)
    try:
        config = load_config(args.config, FitConfig) if args.config else PAPER
        write_tables(args, override(config, rest))
    except UserError as e:
        print(f"reproduce_gaussian_tables: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    return 0


def write_tables(args: argparse.Namespace, config: FitConfig) -> None:
    """Measures what is missing and writes tables.md.

    Raises:
      UserError: wrong flags, data that cannot be used, a folder that cannot be written.
    """
    from jaxqc.data.open import open_data
    from jaxqc.experiments.gaussian_cbam import run_cells
    from jaxqc.experiments.gaussian_tables import Tables, markdown, seeded

    for flag, values in (("--seeds", [args.seeds]), ("--channels", args.channels), ("--normals", args.normals)):
        if min(values) < 1:
            raise UserError(f"{flag}: {min(values)} is below 1")
    weights = named(args.weights)
    if config.backbone.weights:
        weights.setdefault(config.backbone.name, config.backbone.weights)
    if weights and config.backbone.name not in weights:
        config = replace(config, backbone=replace(config.backbone, name=next(iter(weights))))
    data = open_data(args.data, config.data.layout, config.data.skip_bad)
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"{out}: cannot be made ({e.strerror or e}); choose another --out") from e

    tables, seeds = Tables(config, weights, args.channels, args.normals), range(args.seeds)
    lines = {name: tables.lines(name) for name in dict.fromkeys(args.tables)}
    cells = [seeded(line.config, seed) for seed in seeds for table in lines.values() for line in table]
    note = (lambda text: None) if args.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    found = run_cells(cells, data, out, args.cache_gb * 1e9, not args.quiet, note)

    size, network = config.data.size, config.backbone
    text = f"# {data.name}: the paper's tables\n\n"
    text += f"{size} pixels, {network.name}, seeds {', '.join(map(str, seeds))}; mean ± standard deviation over the"
    text += " seeds. F1 is the best over all thresholds. The paper's numbers are of other data, for orientation.\n\n"
    text += "\n".join(markdown(name, table, seeds, found) for name, table in lines.items())
    (out / "tables.md").write_text(text, encoding="utf-8")
    measured = sum(not isinstance(x, str) for x in found.values())
    print(f"{out / 'tables.md'}: {measured} of {len(found)} cells measured")


def named(pairs: list[str]) -> dict[str, str]:
    """`NAME=FILE` → the file (or `jaxqc weights` name) of each backbone.

    Raises:
      UserError: no `=`, or no such backbone.
    """
    weights = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            raise UserError(f"--weights: {pair!r} is not NAME=FILE; give for example resnet18=resnet18.npz")
        if name not in BACKBONES:
            raise UserError(f"--weights: no backbone {name!r}{suggest(name, BACKBONES)}")
        weights[name] = file
    return weights


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())

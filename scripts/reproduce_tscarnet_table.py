"""Table 1 of TSCARNet's paper: its networks on the same images in the same loop, each with its own loss and rate.

    python scripts/reproduce_tscarnet_table.py --data DIR --out runs/table1 --seeds 3
    python scripts/reproduce_tscarnet_table.py --data DIR --out runs/table1 --members MINet TSCARNet --epochs 20
    python scripts/reproduce_tscarnet_table.py --data DIR --out runs/small --seeds 1 --epochs 8 --size 128 --batch 8 \
        --widths CorrNet=0.5 UCTransNet=0.5

DIR is SD-saliency-900, or any set with masks and classes. Protocol `seed`: 30 images a class are tested, drawn by the
seed. 224 pixels, batch 16, 200 epochs, flips. A finished training is a line of OUT/rows.jsonl; run the command again,
and only what is missing is trained, from where it was ended. OUT/table.md has the table, with the published rows named
so. All of it wants a GPU. FFRNet is our reading: no code or layer figures of it are public.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from jaxqc.experiments.tscarnet_table import BATCH, EPOCHS, MEMBERS, SIZE, cells_of, markdown, run_cells
from jaxqc.memory import use_huge_pages


def main(argv: list[str] | None = None) -> int:
    """Runs the command; the exit code is that of `jaxqc`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="images with masks and classes")
    parser.add_argument("--out", required=True, metavar="DIR", help="rows and table; finished rows in it are kept")
    parser.add_argument("--members", nargs="+", default=list(MEMBERS), metavar="NAME", help=", ".join(MEMBERS))
    parser.add_argument("--seeds", type=int, default=3, help="0, 1, ...: weights, draws, test images")
    parser.add_argument("--epochs", type=float, default=EPOCHS, help="passes over the training images")
    parser.add_argument("--size", type=int, default=SIZE, help="side of the network's input")
    parser.add_argument("--batch", type=int, default=BATCH, help="images a step")
    parser.add_argument("--widths", nargs="+", default=[], metavar="NAME=FACTOR", help="on the channels of a member")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    args = parser.parse_args(argv)
    try:
        widths, out = widths_of(args.widths), Path(args.out)
        cells = cells_of(args.members, args.seeds, args.epochs, args.size, args.batch, widths)
        found = []
        for cell, row in run_cells(cells, open_data(args.data), out, not args.quiet):
            found.append((cell, row))
            print(f"{len(found)} of {len(cells)}: {cell.line()}: S {row['s_measure']}", file=sys.stderr, flush=True)
            (out / "table.md").write_text(markdown(found), encoding="utf-8")
    except UserError as e:
        print(f"reproduce_tscarnet_table: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    print(f"{out / 'table.md'}: {len(found)} trainings measured")
    return 0


def widths_of(words: Sequence[str]) -> dict[str, float]:
    """ "CorrNet=0.5" → {"CorrNet": 0.5}, of each word.

    Raises:
      UserError: a word of another form, or a factor that is no positive number.
    """
    found = {}
    for word in words:
        name, _, factor = word.partition("=")
        try:
            found[name] = float(factor)
        except ValueError:
            found[name] = math.nan
        if not 0 < found[name] < math.inf:
            raise UserError(f"--widths {word!r}: give NAME=FACTOR, such as CorrNet=0.5")
    return found


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())

"""The end of the demo: both detectors inspect deliveries of two suppliers, one of whom drifts; a report of the lots.

make demo          (or, after scripts/demo_wood.py and scripts/demo.py: python scripts/demo_lots.py --out demo)
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

# Images are made by many tiny matrix products, which a thread pool slows down tenfold. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jaxqc
from jaxqc.data.synthetic.deliveries import DRIFTING, STEADY, write_lots
from jaxqc.errors import UserError
from jaxqc.inspection.tables import show_lots, show_suppliers
from jaxqc.memory import use_huge_pages
from jaxqc.training.cache import enable_compilation_cache

BEGAN = time.monotonic()
DELIVERED = 20
"""Seed of the deliveries: none of the plates and boards that the demo's other parts draw."""
DIFFICULTY = 0.35
"""As in the other parts."""
PARTS = {"steel": ("run", 8), "wood": ("wood", 16)}
"""Kinds of delivery, each with the folder of the model that inspects it, and the batch that the demo's other part has
compiled it for."""


def main() -> int:
    """Runs the demo; 0 when each detector ranks the supplier who drifts behind the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--lots", type=int, default=6, help="of each supplier")
    parser.add_argument("--images", type=int, default=12, help="of each lot")
    parser.add_argument("--size", type=int, default=224, help="side of the steel plates in pixels")
    parser.add_argument("--kinds", nargs="+", choices=tuple(PARTS), default=list(PARTS), help="what is delivered")
    args = parser.parse_args()

    enable_compilation_cache()
    ranked, reports = True, {}
    try:
        for kind in args.kinds:
            folder, batch = PARTS[kind]
            model = jaxqc.load(args.out / folder, batch=batch)
            side = args.size if kind == "steel" else model.size
            say(f"inspecting deliveries of {kind}: two suppliers, {args.lots} lots each")
            manifest = write_lots(args.out / f"{kind}_lots", kind, args.lots, args.images, side, DELIVERED, DIFFICULTY)
            out = args.out / f"inspection_{kind}"
            shutil.rmtree(out, ignore_errors=True)
            found = jaxqc.inspect(model, manifest, out)
            show_lots(found.lots)
            show_suppliers(found.suppliers)
            ranked &= [supplier.supplier for supplier in found.suppliers] == [STEADY, DRIFTING]
            reports[kind] = found.report
    except UserError as e:
        print(f"demo: {e}", file=sys.stderr)
        return 2

    print(f"{DRIFTING} ranked behind {STEADY}: {ranked}; {time.monotonic() - BEGAN:.0f} s in all")
    for kind, report in reversed(reports.items()):
        print(f"report on {kind}: {report}")
    return 0 if ranked else 1


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"demo: {time.monotonic() - BEGAN:3.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    use_huge_pages()
    sys.exit(main())

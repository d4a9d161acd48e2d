"""`evaluate`, `predict`, `inspect` and `verify`: the verbs that use a trained model."""

import argparse
import sys
from typing import Any

from jaxqc.errors import UserError
from jaxqc.verbs.shared import keys, unreadable


def _model(args: argparse.Namespace) -> Any:
    from jaxqc import api
    from jaxqc.training.cache import enable_compilation_cache

    if args.batch < 1:
        raise UserError(f"--batch: {args.batch} must be 1 or more")
    enable_compilation_cache()
    return api.load(args.checkpoint, args.which, batch=args.batch)


def evaluate(args: argparse.Namespace) -> int:
    """Measures any model."""
    from jaxqc import api

    result = api.evaluate(
        _model(args),
        args.data,
        args.out or "",
        run=args.checkpoint,
        split=args.split or "test",
        size=args.size,
        worst=args.worst,
        progress=not args.quiet,
        protocol=args.protocol,
        layout=args.layout,
        keys=keys(args),
        splits=args.splits,
        window=args.window or None,
        sizes=tuple(args.sizes),
    )
    result.print()
    print(result.closing())
    return unreadable(result.unreadable)


def predict(args: argparse.Namespace) -> int:
    """Maps or label maps of a folder."""
    from jaxqc.kinds import KINDS, check_options, kind_of

    model, out = _model(args), args.out or "maps"
    kind, own = kind_of(model), {name: getattr(args, name) for name in ("overlays", "window") if getattr(args, name)}
    check_options(own, kind.name, {other.name: other.predict for other in KINDS.values()})
    result = kind.predict(model, args.images, out, size=args.size, progress=not args.quiet, **own)
    print(f"{len(result.written)} maps in {out}, {result.images_per_second:.1f} images/s")
    return unreadable(result.unreadable)


def inspect(args: argparse.Namespace) -> int:
    """Images into the ledger, lots graded."""
    from jaxqc import api
    from jaxqc.inspection.rules import load_rules
    from jaxqc.inspection.tables import show_lots, show_suppliers

    rules = load_rules(args.rules)  # a mistake in them shows before a model is loaded
    found = api.inspect(
        _model(args),
        args.images,
        args.out,
        rules=rules,
        ledger=args.ledger,
        mm_per_pixel=args.mm_per_pixel,
        threshold=args.threshold,
        devices=args.devices,
        worst=args.worst,
        aql=args.aql,
        progress=not args.quiet,
        note=lambda text: print(text, file=sys.stderr),
    )
    show_lots(found.lots)
    show_suppliers(found.suppliers)
    known = f", {found.known} were there already or are copies" if found.known else ""
    print(f"{found.new} images into {found.ledger}{known}; {found.images_per_second:.1f} images/s")
    print(f"report: {found.report}")
    return unreadable(found.reasons, found.bad, found.out / "problems.csv")


def verify(args: argparse.Namespace) -> int:
    """Recomputes the golden output."""
    from jaxqc.training.cache import enable_compilation_cache
    from jaxqc.verify import verify

    enable_compilation_cache()
    verdict = verify(args.checkpoint, args.tolerance)
    print("\n".join(verdict.lines()))
    return 0 if verdict.ok else 1

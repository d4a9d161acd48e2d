"""`evaluate`, `predict`, `inspect` and `verify`: the verbs that use a trained model."""

import argparse
import sys
from pathlib import Path
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

    model = _model(args)
    if _is_segmentation(model):
        return _evaluate_segmentation(args, model)
    _only_segmentation(args, "splits", "sizes", "window")
    args.split = args.split or "test"
    if _is_detector(model):
        return _evaluate_detector(args, model)
    protocol = "none" if args.split == "all" else args.protocol or model.config.data.protocol
    out = args.out or str(Path(args.checkpoint) / f"evaluation-{protocol}-{args.split}")
    result = api.evaluate(
        model,
        args.data,
        out,
        run=args.checkpoint,
        protocol=args.protocol,
        split=args.split,
        layout=args.layout,
        keys=keys(args),
        size=args.size,
        worst=args.worst,
        progress=not args.quiet,
    )
    result.print()
    print(f"{result.images_per_second:.1f} images/s; written to {out}")
    return unreadable(result.unreadable)


def _is_detector(model: Any) -> bool:
    from jaxqc.anomaly.model import AnomalyModel

    return isinstance(model, AnomalyModel)


def _is_segmentation(model: Any) -> bool:
    from jaxqc.semi.model import Segmentation

    return isinstance(model, Segmentation)


def _only_segmentation(args: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(args, name):
            raise UserError(f"--{name}: only of a segmentation network, which {args.checkpoint} is not; leave it out")


def _evaluate_segmentation(args: argparse.Namespace, model: Any) -> int:
    from jaxqc import api

    split = "val" if args.split in (None, "test") else str(args.split)
    out = args.out or str(Path(args.checkpoint) / f"evaluation-{split}")
    result = api.evaluate_segmentation(
        model,
        args.data,
        out,
        run=args.checkpoint,
        split=split,
        splits=args.splits,
        fast=args.size,
        window=args.window or None,
        sizes=tuple(args.sizes),
        worst=args.worst,
        progress=not args.quiet,
    )
    result.print()
    print(f"lists of {result.about['lists']}; {result.images_per_second:.1f} images/s from files; written to {out}")
    return unreadable(result.unreadable)


def _evaluate_detector(args: argparse.Namespace, model: Any) -> int:
    from jaxqc import api

    out = args.out or str(Path(args.checkpoint) / f"evaluation-{args.split}")
    result = api.evaluate_detector(model, args.data, out, args.split, args.layout, args.worst, not args.quiet)
    result.print()
    print(f"{result.images_per_second:.1f} images/s from files; written to {out}")
    return unreadable(result.unreadable)


def predict(args: argparse.Namespace) -> int:
    """Maps or label maps of a folder."""
    from jaxqc.saliency.predict import predict_folder
    from jaxqc.semi.predict import predict_folder as predict_labels

    model, out = _model(args), args.out or "maps"
    if _is_segmentation(model):
        window = args.window or None
        result = predict_labels(model, args.images, out, args.overlays, args.size, window, not args.quiet)
    else:
        _only_segmentation(args, "overlays", "window")
        result = predict_folder(model, args.images, out, args.size, progress=not args.quiet)
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

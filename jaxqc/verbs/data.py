"""`data ...`: the verbs of data sets."""

import argparse
import os
from pathlib import Path

from jaxqc.errors import UserError
from jaxqc.verbs.shared import keys


def check(args: argparse.Namespace) -> int:
    """Everything wrong with a data set."""
    from rich.console import Console

    from jaxqc.data.batches import Counter
    from jaxqc.data.check import check_path

    with Counter("checking", 0, every=2.0) as counter:
        report = check_path(args.data, args.layout, progress=counter.reach, keys=keys(args))
    Console().print(report.render())
    return 0 if report.ok else 1


def synthetic(args: argparse.Namespace) -> int:
    """Plates or boards with exact masks."""
    # Many tiny matrix products, which numpy's thread pool slows down tenfold; read when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if args.kind == "wood":
        from jaxqc.data.synthetic.boards import write_mvtec

        if args.count < 5:
            raise UserError(
                f"--count: {args.count}; boards to fit, normal ones and defective ones to test need 5 in all"
            )
        test, defective = args.count // 5, args.count // 5
        folder = write_mvtec(args.out, args.count - test - defective, defective, args.size, args.seed, test)
        print(f"{args.count} boards of {args.size} x {args.size} pixels in {folder}")
        return 0
    from jaxqc.data.synthetic.plates import write_sd900

    folder = write_sd900(args.out, args.count, args.size, args.seed)
    print(f"{args.count} plates of {args.size} x {args.size} pixels in {folder}")
    return 0


def records(args: argparse.Namespace) -> int:
    """A data set as one record file."""
    from jaxqc.api import open_data
    from jaxqc.data.records import write_records

    dataset = write_records(open_data(args.data, args.layout, keys=keys(args)), args.out, args.size)
    print(f"{len(dataset)} samples in {args.out}")
    return 0


def split(args: argparse.Namespace) -> int:
    """Split lists, made or checked."""
    from jaxqc.data.batches import Counter
    from jaxqc.semi.check import check_splits
    from jaxqc.semi.data import make_splits, manifest_of, open_pairs, parse_share, read_splits, write_splits
    from jaxqc.semi.manifest import FILES, read_manifest, write_manifest

    out = Path(args.out)
    if args.check:
        splits = read_splits(out)
        manifest = read_manifest(args.manifest or (out if (out / FILES[0]).is_file() else args.data))
    else:
        shares = [parse_share(getattr(args, name), f"--{name}") for name in ("labeled", "select", "test")]
        dataset = open_pairs(args.data, args.group)
        splits = make_splits(dataset, args.data, *shares, seed=args.seed)
        manifest = manifest_of(args.data, dataset, args.manifest)
    with Counter("checking", 0, enabled=not args.quiet, every=2.0) as counter:
        report = check_splits(splits, args.data, manifest, progress=counter.reach)
    if not args.check:
        write_splits(out, splits)
        write_manifest(out / FILES[0], manifest)
    print("\n".join(report.lines()))
    return 0


def tfds(args: argparse.Namespace) -> int:
    """SD-saliency-900 as a TFDS set."""
    from jaxqc.data.tfds_builders.sd_saliency_900 import prepare

    print(f"prepared {prepare(args.data, args.out)}")
    return 0

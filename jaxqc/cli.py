"""The command line: thin verbs over `jaxqc.api`. Nothing heavy is imported before a verb runs, so `--help` is quick.

Exit codes: 0 done; 1 done, but something was found (bad samples, unreadable files, a failed verification); 2 the
arguments, config or data are the user's to mend (one line on stderr); 130 interrupted; 143 ended by SIGTERM.
"""

import argparse
import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxqc.arguments import parse
from jaxqc.config import TrainConfig, load_config
from jaxqc.errors import UserError
from jaxqc.export import cli as export
from jaxqc.inspection import cli as ledger
from jaxqc.weights import cli as weights

USER_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST,
              errno.EISDIR, errno.ENAMETOOLONG)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; `argv` without the program's name, None = the process's own."""
    try:
        args, rest = parse(list(sys.argv[1:] if argv is None else argv) or ["--help"], VERBS, RECIPES)
        return args.run(args, rest) if args.verb in RECIPES else args.run(args)
    except UserError as e:
        print(f"jaxqc: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxqc: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:
        if e.errno not in USER_ERRNO:
            raise
        print(f"jaxqc: {e.filename or 'disk'}: {e.strerror}", file=sys.stderr)
        return 2


def _start(args: argparse.Namespace) -> tuple[str, bool, Callable[[str], None] | None]:
    """Joins the processes of a run: its folder, whether this is the main process, and what shows notes there."""
    from jaxqc.training.parallel import start_processes

    start_processes()
    import jax

    if args.out is None and jax.process_count() > 1:
        raise UserError("--out: several processes share one folder; name it")
    main_process = jax.process_index() == 0
    out = args.out or f"runs/{Path(args.config).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    return out, main_process, (lambda text: print(text, file=sys.stderr)) if main_process else None


def _train(args: argparse.Namespace, rest: Sequence[str] = ()) -> int:
    from jaxqc.overrides import override

    # The recipe is checked before JAX is imported: a mistake shows at once.
    config = override(load_config(args.config), [*rest, *(["--data.skip-bad"] if args.skip_bad else [])])

    out, main_process, note = _start(args)

    from jaxqc import api

    if main_process and not args.quiet:
        print(f"run folder: {out}", file=sys.stderr)
    result = api.train(config, args.data, out, resume=args.resume, progress=not args.quiet, note=note)
    if main_process:
        name = config.best_metric
        best = f", best val {name} {result.best[name]:.4f} at step {result.best_step}" if result.best else ""
        print(f"{out}: {result.step} steps in {result.seconds:.0f} s{best}")
        print(f"next: jaxqc evaluate --checkpoint {out} --data {args.data}")
    return 0


def _train_recipes() -> tuple[Any, ...]:
    from jaxqc.semi.recipe import SemiTrainConfig

    return TrainConfig(), SemiTrainConfig()


def _fit_recipes() -> tuple[Any, ...]:
    from jaxqc.anomaly.recipe import FitConfig

    return (FitConfig(),)


def _fit(args: argparse.Namespace, rest: Sequence[str]) -> int:
    from jaxqc.anomaly.recipe import FitConfig
    from jaxqc.overrides import override

    config = override(load_config(args.config, FitConfig), rest)

    out, main_process, note = _start(args)

    from jaxqc import api

    result = api.fit(config, args.data, out, progress=main_process and not args.quiet, note=note)
    if main_process:
        print(f"{out}: {config.method} fitted to {result.model.meta['fit']} normal images")
        print(f"next: jaxqc evaluate --checkpoint {out} --data {args.data}")
    return _unreadable(result.skipped)


def _model(args: argparse.Namespace) -> Any:
    from jaxqc import api
    from jaxqc.training.cache import enable_compilation_cache

    if args.batch < 1:
        raise UserError(f"--batch: {args.batch} must be 1 or more")
    enable_compilation_cache()
    return api.load(args.checkpoint, args.which, batch=args.batch)


def _evaluate(args: argparse.Namespace) -> int:
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
        keys=_keys(args),
        size=args.size,
        worst=args.worst,
        progress=not args.quiet,
    )
    result.print()
    print(f"{result.images_per_second:.1f} images/s; written to {out}")
    return _unreadable(result.unreadable)


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
    print(f"{result.images_per_second:.1f} images/s from files; written to {out}")
    return _unreadable(result.unreadable)


def _evaluate_detector(args: argparse.Namespace, model: Any) -> int:
    from jaxqc import api

    out = args.out or str(Path(args.checkpoint) / f"evaluation-{args.split}")
    result = api.evaluate_detector(model, args.data, out, args.split, args.layout, args.worst, not args.quiet)
    result.print()
    print(f"{result.images_per_second:.1f} images/s from files; written to {out}")
    return _unreadable(result.unreadable)


def _predict(args: argparse.Namespace) -> int:
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
    return _unreadable(result.unreadable)


def _unreadable(lines: Sequence[str]) -> int:
    if lines:
        print(f"{len(lines)} files could not be used:", file=sys.stderr)
        for line in lines:
            print(f"  {line}", file=sys.stderr)
    return 1 if lines else 0


def _verify(args: argparse.Namespace) -> int:
    from jaxqc.training.cache import enable_compilation_cache
    from jaxqc.verify import verify

    enable_compilation_cache()
    verdict = verify(args.checkpoint, args.tolerance)
    print("\n".join(verdict.lines()))
    return 0 if verdict.ok else 1


def _data_check(args: argparse.Namespace) -> int:
    from rich.console import Console

    from jaxqc.data.batches import Counter
    from jaxqc.data.check import check_path

    with Counter("checking", 0, every=2.0) as counter:
        report = check_path(args.data, args.layout, progress=counter.reach, keys=_keys(args))
    Console().print(report.render())
    return 0 if report.ok else 1


def _data_synthetic(args: argparse.Namespace) -> int:
    # Many tiny matrix products, which numpy's thread pool slows down tenfold; read when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if args.kind == "wood":
        from jaxqc.data.wood import write_mvtec

        if args.count < 5:
            raise UserError(
                f"--count: {args.count}; boards to fit, normal ones and defective ones to test need 5 in all"
            )
        test, defective = args.count // 5, args.count // 5
        folder = write_mvtec(args.out, args.count - test - defective, defective, args.size, args.seed, test)
        print(f"{args.count} boards of {args.size} x {args.size} pixels in {folder}")
        return 0
    from jaxqc.data.synthetic import write_sd900

    folder = write_sd900(args.out, args.count, args.size, args.seed)
    print(f"{args.count} plates of {args.size} x {args.size} pixels in {folder}")
    return 0


def _data_records(args: argparse.Namespace) -> int:
    from jaxqc.api import open_data
    from jaxqc.data.records import write_records

    dataset = write_records(open_data(args.data, args.layout, keys=_keys(args)), args.out, args.size)
    print(f"{len(dataset)} samples in {args.out}")
    return 0


def _data_split(args: argparse.Namespace) -> int:
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


def _data_tfds(args: argparse.Namespace) -> int:
    from jaxqc.data.tfds_builders.sd_saliency_900 import prepare

    print(f"prepared {prepare(args.data, args.out)}")
    return 0


def _keys(args: argparse.Namespace) -> Any:
    """A TFDS set's features from the command line; None where no flag names one."""
    from jaxqc.data.open import Keys, mask_values

    keys = Keys(args.image_key, args.mask_key, args.label_key, mask_values(args.foreground, "--foreground"))
    return None if keys == Keys() else keys


RECIPES: dict[str, Any] = {"train": _train_recipes, "fit": _fit_recipes}
VERBS: dict[str, Any] = {
    "train": _train,
    "fit": _fit,
    "evaluate": _evaluate,
    "predict": _predict,
    "verify": _verify,
    "export": export.run,
    "weights": weights.fetch,
    "convert": weights.convert,
    "data check": _data_check,
    "data synthetic": _data_synthetic,
    "data records": _data_records,
    "data split": _data_split,
    "data tfds": _data_tfds,
    "ledger import-outcomes": ledger.import_outcomes,
    "ledger outcomes": ledger.outcomes,
    "ledger export": ledger.export,
    "ledger lots": ledger.lots,
}

"""`train` and `fit`: the verbs that take a recipe."""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxqc.config import TrainConfig, load_config
from jaxqc.errors import UserError
from jaxqc.verbs.shared import unreadable


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


def train(args: argparse.Namespace, rest: Sequence[str] = ()) -> int:
    """A network by a recipe."""
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
        if math.isfinite(result.best.get("threshold", math.nan)):
            best += f"; threshold {result.best['threshold']:.3f} (F1 of the pixels {result.best['f1']:.3f})"
        print(f"{out}: {result.step} steps in {result.seconds:.0f} s{best}")
        print(f"next: jaxqc evaluate --checkpoint {out} --data {args.data}")
    return 0


def train_recipes() -> tuple[Any, ...]:
    """One recipe of each kind that `train` takes, the usual one first."""
    from jaxqc.semi.recipe import SemiTrainConfig

    return TrainConfig(), SemiTrainConfig()


def fit_recipes() -> tuple[Any, ...]:
    """The kind that `fit` takes."""
    from jaxqc.anomaly.recipe import FitConfig

    return (FitConfig(),)


def fit(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """A detector by a recipe."""
    from jaxqc.anomaly.recipe import FitConfig
    from jaxqc.overrides import override

    config = override(load_config(args.config, FitConfig), rest)

    out, main_process, note = _start(args)

    from jaxqc import api

    result = api.fit(config, args.data, out, progress=main_process and not args.quiet, note=note)
    if main_process:
        print(f"{out}: {config.name} fitted to {result.model.meta['fit']} normal images")
        print(f"next: jaxqc evaluate --checkpoint {out} --data {args.data}")
    return unreadable(result.skipped)

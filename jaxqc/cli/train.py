"""`jaxqc train`: a network by a recipe."""

import argparse
import math
import sys
from typing import Any, NoReturn

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.recipe_flags import add_recipe, started
from jaxqc.config import TrainConfig, load_config
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc train --config tscarnet_sd900 --data DIR
  jaxqc train --config tscarnet_sd900 --data DIR --out runs/first --optim.lr .01 --objective.boundary 0.25
  jaxqc train --config minet_sd900 --data DIR --phases '[{"epochs": 20, "size": 96, "batch": 16}]'
  jaxqc train --config mvpmatch_camvid --data DIR --views.splits splits/16 --out runs/few-labels
The same command with the same --out goes on with a run that was ended. Any field of the recipe is a flag:
"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "train", "Train a network by a recipe.", EXAMPLES)
    add_recipe(parser, "data set: published folders, index.csv, records", "run folder")
    resume = "go on with a run in --out"
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True, help=resume)
    parser.add_argument("--from", action=_Refused, metavar="RUN", help=argparse.SUPPRESS)
    skip = "leave unusable samples out, listed, instead of refusing"
    parser.add_argument("--skip-bad", action="store_true", help=skip)
    return parser


class _Refused(argparse.Action):
    """A flag that only `fit` has."""

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise UserError("--from: goes with fit; a network starts from another one's weights by --model.weights RUN, "
                        "and jaxqc evaluate --data on both runs compares them")  # fmt: skip


def kinds() -> tuple[Any, ...]:
    """One recipe of each kind that the verb takes, the usual one first."""
    from jaxqc.semi.recipe import SemiTrainConfig

    return TrainConfig(), SemiTrainConfig()


def run(args: argparse.Namespace) -> int:
    """Trains, and prints what was reached and where it is."""
    if any(flag.startswith("--objective.") for flag in args.flags):
        from jaxqc.saliency.networks import override_objective as override
    else:  # the recipe is checked before JAX is imported: a mistake shows at once
        from jaxqc.overrides import override

    config = override(load_config(args.config), [*args.flags, *(["--data.skip-bad"] if args.skip_bad else [])])

    with started(args) as (out, main_process, note):
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
            if config.method != "classifier":  # a note has named its backbone's file
                print(f"next: jaxqc evaluate --checkpoint {out} --data {args.data}")
    return 0

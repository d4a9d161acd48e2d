"""`jaxqc fit`: a detector to normal images."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.recipe_flags import add_recipe, started
from jaxqc.cli.shared import refuse_given, unreadable

EXAMPLES = """\
  jaxqc fit --data GOOD --out RUN   # good images alone: chooses a recipe
  jaxqc fit --config RUN/config.json --data MORE --out RUN2
  jaxqc fit --config gaussian_magnetic_tile --data DIR --out runs/tiles
  jaxqc fit --config gaussian_wood_paper --data DIR --backbone.weights resnet50.npz --detector.channels 100
  jaxqc fit --config gaussian_wood --data DIR --method patchcore --detector.coreset 0.01
Any field of the recipe is a flag:
"""
MINUTES = 4.0


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "fit", "Fit a detector to normal images and calibrate its threshold.", EXAMPLES)
    without = "or the config.json of a fit; without it a recipe is chosen by trial, which flags of the recipe narrow"
    add_recipe(parser, "data set with normal images in split train, or a folder of them", "folder of the fit", without)
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES,
        metavar="N",
        help=f"without --config: time after which no further recipe is tried (default: {MINUTES:g})",
    )
    return parser


def kinds() -> tuple[Any, ...]:
    """The one kind of recipe that the verb takes."""
    from jaxqc.anomaly.recipe import FitConfig

    return (FitConfig(),)


def run(args: argparse.Namespace) -> int:
    """Fits, prints where the detector is, and lists files that could not be used."""
    from jaxqc.anomaly.recipe import load_recipe
    from jaxqc.overrides import override

    if args.config:
        refuse_given(args, "goes with a fit without --config", "--minutes")
    config = override(load_recipe(args.config), args.flags) if args.config else None
    with started(args) as (out, main_process, note):
        from jaxqc import api

        progress = main_process and not args.quiet
        result = api.fit(config, args.data, out, progress=progress, note=note, flags=args.flags, minutes=args.minutes)
        if main_process:
            print(f"{out}: {result.model.config.name} fitted to {result.model.meta['fit']} normal images")
            verb = f"evaluate --checkpoint {out} --data {args.data}"
            if not result.model.meta["test"]:
                verb = f"inspect --checkpoint {out} --images DIR --out inspection"
            print(f"next: jaxqc {verb}")
    return unreadable(result.skipped)

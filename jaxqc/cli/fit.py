"""`jaxqc fit`: a detector to normal images."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.recipe_flags import add_recipe, started
from jaxqc.cli.shared import refuse_given, unreadable

EXAMPLES = """\
  jaxqc fit --data GOOD --out RUN   # good images alone: chooses a recipe
  jaxqc fit --from RUN --data REVIEWED --out RUN2   # once more, with what people judged; compares the two
  jaxqc fit --config RUN/config.json --data MORE --out RUN2
  jaxqc fit --config gaussian_magnetic_tile --data DIR --out runs/tiles
  jaxqc fit --config gaussian_wood_paper --data DIR --backbone.weights resnet50.npz --detector.channels 100
  jaxqc fit --config gaussian_wood --data DIR --method patchcore --detector.coreset 0.01
Any field of the recipe is a flag:
"""
MINUTES = 4.0
COLUMNS = ("model", "found (95 %)", "false alarms (95 %)", "AUROC")
BIASED = "people see mostly what a model doubted: the shares compare two models, and are not those of a whole delivery"


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "fit", "Fit a detector to normal images and calibrate its threshold.", EXAMPLES)
    without = "or the config.json of a fit; without it a recipe is chosen by trial, which flags of the recipe narrow"
    add_recipe(parser, "data set with normal images in split train, or a folder of them", "folder of the fit", without)
    again = "fit the recipe of this fit to its own data and --data, and compare both on the held-out ones of --data"
    parser.add_argument("--from", dest="start", metavar="RUN", help=again)
    parser.add_argument("--old-data", metavar="DIR", help="with --from: where the data of RUN lie now")
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

    if args.start:
        return _again(args)
    refuse_given(args, "goes with --from", "--old-data")
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


def _again(args: argparse.Namespace) -> int:
    """A refit, with a table of both models."""
    from jaxqc.inspection.reviewing.refit import COMPARED, refit
    from jaxqc.inspection.tables import show
    from jaxqc.overrides import override

    refuse_given(args, "the recipe is that of --from", "--config", "--minutes")
    change = lambda config: override(config, args.flags)
    with started(args) as (out, main_process, note):
        say = note or (lambda text: None)
        done = refit(args.start, args.data, out, old_data=args.old_data or "", change=change,
                     progress=main_process and not args.quiet, note=say)  # fmt: skip
        if main_process:
            print(f"{out}: {done.fitted.model.config.name} fitted to {done.fitted.model.meta['fit']} normal images")
            if done.comparison is None:
                print("not compared: no held-out pictures that the old fit has not seen; judge pictures of other lots")
            else:
                show(COLUMNS, done.comparison.rows(), f"On the same {len(done.comparison.ids)} held-out pictures")
                for line in done.comparison.lines():
                    print(line)
                print(f"{BIASED}\nwritten to {out}/{COMPARED}")
            print(f"next: jaxqc inspect --checkpoint {out} --images DIR --out inspection, if the new one is better")
    return unreadable(done.fitted.skipped)

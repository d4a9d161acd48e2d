"""`jaxqc fit`: a detector to normal images."""

import argparse
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.recipe_flags import add_recipe, start
from jaxqc.cli.shared import unreadable
from jaxqc.config import load_config

EXAMPLES = """\
  jaxqc fit --config gaussian_magnetic_tile --data DIR --out runs/tiles
  jaxqc fit --config gaussian_wood --data DIR --backbone.weights resnet50.npz --detector.channels 100
  jaxqc fit --config gaussian_wood --data DIR --method patchcore --detector.coreset 0.01
Any field of the recipe is a flag:
"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "fit", "Fit a detector to normal images and calibrate its threshold.", EXAMPLES)
    add_recipe(parser, "data set with normal images in split train, or a folder of them", "folder of the fit")
    return parser


def kinds() -> tuple[Any, ...]:
    """The one kind of recipe that the verb takes."""
    from jaxqc.anomaly.recipe import FitConfig

    return (FitConfig(),)


def run(args: argparse.Namespace) -> int:
    """Fits, prints where the detector is, and lists files that could not be used."""
    from jaxqc.anomaly.recipe import FitConfig
    from jaxqc.overrides import override

    config = override(load_config(args.config, FitConfig), args.flags)

    out, main_process, note = start(args)

    from jaxqc import api

    result = api.fit(config, args.data, out, progress=main_process and not args.quiet, note=note)
    if main_process:
        print(f"{out}: {config.name} fitted to {result.model.meta['fit']} normal images")
        verb = f"evaluate --checkpoint {out} --data {args.data}"
        if not result.model.meta["test"]:
            verb = f"inspect --checkpoint {out} --images DIR --out inspection"
        print(f"next: jaxqc {verb}")
    return unreadable(result.skipped)

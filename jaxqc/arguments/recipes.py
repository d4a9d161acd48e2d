"""What the verbs that take a recipe take: `train` and `fit`, whose every field is a flag."""

import argparse
from collections.abc import Sequence
from typing import Any

from jaxqc.arguments.parser import MakeVerb, Parser

Field = tuple[str, Any, Any]
"""Dotted name, type and value of a recipe's field."""

TRAIN_EXAMPLES = """\
  jaxqc train --config configs/tscarnet_sd900.py --data DIR
  jaxqc train --config configs/tscarnet_sd900.py --data DIR --out runs/first --optim.lr .01 --seed 3
  jaxqc train --config configs/minet_sd900.py --data DIR --phases '[{"epochs": 20, "size": 96, "batch": 16}]'
  jaxqc train --config configs/mvpmatch_camvid.py --data DIR --views.splits splits/16 --out runs/few-labels
The same command with the same --out goes on with a run that was ended. Any field of the recipe is a flag:
"""
FIT_EXAMPLES = """\
  jaxqc fit --config configs/gaussian_magnetic_tile.py --data DIR --out runs/tiles
  jaxqc fit --config configs/gaussian_wood.py --data DIR --backbone.weights resnet50.npz --gaussian.channels 100
Any field of the recipe is a flag:
"""


def recipe_verbs(top: Any, verb: MakeVerb) -> None:
    """Adds them to the parsers of all verbs; `verb` makes one."""
    train = verb(top, "train", "Train a network by a recipe.", TRAIN_EXAMPLES)
    _recipe(train, "data set: published folders, index.csv, records", "run folder")
    train.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True, help="go on with a run in --out"
    )
    train.add_argument(
        "--skip-bad", action="store_true", help="leave unusable samples out, listed, instead of refusing"
    )

    fit = verb(top, "fit", "Fit a detector to normal images and calibrate its threshold.", FIT_EXAMPLES)
    _recipe(fit, "data set with normal images in split train", "folder of the fit")


def _recipe(parser: Parser, data: str, out: str) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="recipe, a .py file (it is run: it is code)")
    parser.add_argument("--data", required=True, metavar="DIR", help=data)
    parser.add_argument("--out", metavar="DIR", help=f"{out} (default: runs/CONFIG-TIME)")
    parser.add_argument("--quiet", action="store_true", help="no progress display")


def shown(fields: Sequence[Field]) -> str:
    """A recipe's fields with their defaults, for the help."""
    rows = [(f"--{name.replace('_', '-')}", value) for name, _, value in fields]
    shown = [f"  {flag:30} {_text(value)}{' (a switch)' if isinstance(value, bool) else ''}" for flag, value in rows]
    phases = [f"  {'--phases':30} a JSON list that replaces the whole schedule"] * _has_phases(fields)
    return "\n".join([*shown, *phases])


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _has_phases(fields: Sequence[Field]) -> bool:
    return any(name.startswith("phases.") for name, _, _ in fields)


def recipe_flags(fields: Sequence[Field]) -> list[str]:
    """The flags that a recipe's fields are."""
    names = [name.replace("_", "-") for name, _, _ in fields]
    switched_off = [".no-".join(name.rsplit(".", 1)) for name in names]
    return [f"--{name}" for name in [*names, *switched_off, *["phases"] * _has_phases(fields)]]

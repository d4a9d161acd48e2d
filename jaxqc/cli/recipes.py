"""`jaxqc recipes`: the packaged recipes, listed, printed or copied."""

import argparse
import shutil
import textwrap
from pathlib import Path
from typing import Any

from jaxqc.cli.parser import Parser, add_verb
from jaxqc.errors import UserError
from jaxqc.recipes import find, packaged, promise, use

EXAMPLES = """\
  jaxqc recipes
  jaxqc recipes tscarnet_sd900
  jaxqc recipes tscarnet_sd900 --out mine.py"""
WIDTH = 100
"""Columns of the list, on a wider terminal."""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "List the packaged recipes with what each promises; print or copy one."
    parser = add_verb(verbs, "recipes", text, EXAMPLES)
    parser.add_argument("recipe", nargs="?", metavar="NAME", help="print this one")
    parser.add_argument("--out", metavar="FILE", help="copy it there, a new .py file to edit")
    return parser


def run(args: argparse.Namespace) -> int:
    """Lists the recipes, prints the one that is named, or copies it."""
    if args.recipe is None:
        if args.out is not None:
            raise UserError("--out: name the recipe to copy; `jaxqc recipes` lists them")
        print("\n".join(_listed()))
        return 0
    file = find(args.recipe, "recipes")
    if args.out is None:
        print(file.read_text("utf-8"), end="")
        return 0
    out = Path(args.out)
    if out.suffix != ".py":
        raise UserError(f"--out: {out}; a recipe's name ends in .py")
    try:
        with open(out, "x", encoding="utf-8") as copy:
            copy.write(file.read_text("utf-8"))
    except FileExistsError as e:
        raise UserError(f"--out: {out} is there already; choose another name") from e
    except OSError as e:
        raise UserError(f"--out: {out} cannot be written ({e.strerror or e})") from e
    command, flag = use(file).split()
    print(f"written to {out}\nnext: jaxqc {command} {flag} {out} ...")
    return 0


def _listed() -> list[str]:
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    by_use: dict[str, list[str]] = {}
    for name, file in packaged().items():
        text = textwrap.wrap(promise(file), width - 4, break_on_hyphens=False)
        by_use.setdefault(use(file), []).extend([f"  {name}", *(f"    {line}" for line in text)])
    return [line for way, lines in by_use.items() for line in (f"jaxqc {way} NAME", *lines)]

"""A recipe on the command line: the flags that name it, and every field of it as a flag, for `train` and `fit`."""

import argparse
import contextlib
import itertools
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from jaxqc.cli.parser import Parser
from jaxqc.cli.shared import add_quiet
from jaxqc.errors import UserError
from jaxqc.fields import choices, doc_of, leaves
from jaxqc.lock import new_folder

Field = tuple[str, Any, Any]
"""Dotted name, type and value of a recipe's field."""


def add_recipe(parser: Parser, data: str, out: str, without: str = "") -> None:
    """`--config`, `--data`, `--out` and `--quiet`; data, out: what they are. without: what is done without a recipe."""
    config = "a name of `jaxqc recipes`, or a .py file (it is run: it is code)" + (without and f"; {without}")
    parser.add_argument("--config", required=not without, metavar="RECIPE", help=config)
    parser.add_argument("--data", required=True, metavar="DIR", help=data)
    parser.add_argument("--out", metavar="DIR", help=f"{out} (default: runs/CONFIG-TIME)")
    add_quiet(parser)


@contextlib.contextmanager
def started(args: argparse.Namespace) -> Iterator[tuple[str, bool, Callable[[str], None] | None]]:
    """Joins the processes of a run: its folder, whether this is the main process, and what shows notes there.

    Without `--out` the folder is a new one, which goes away again where nothing is written into it.
    """
    from jaxqc.training.parallel import start_processes

    start_processes()
    import jax

    if args.out is None and jax.process_count() > 1:
        raise UserError("--out: several processes share one folder; name it")
    main_process = jax.process_index() == 0
    note = (lambda text: print(text, file=sys.stderr)) if main_process else None
    if args.out:
        yield args.out, main_process, note
        return
    with new_folder(f"runs/{Path(args.config or args.name).stem}-{time.strftime('%Y%m%d-%H%M%S')}") as out:
        yield out, main_process, note


def shown(recipe: Any, fields: Sequence[Field], prefix: str = "") -> str:
    """A recipe's fields with their defaults and what they are, for the help.

    prefix: the beginning of the fields' names that is not the recipe's.
    """
    lines: list[str] = []
    for name, kind, value in fields:
        lines.append(f"  --{name.replace('_', '-')}  {_values(value)}")
        of = f" One of {', '.join(map(str, get_args(kind)))}." if get_origin(kind) is Literal else ""
        lines += _below(doc_of(recipe, name.removeprefix(prefix)) + of)
    if _has_phases(fields):
        lines += ["  --phases  JSON", *_below("A list of phases that replaces the whole schedule.")]
    return "\n".join(lines)


def fields_of(recipe: Any) -> list[Field]:
    """A recipe's fields, but for those of a field whose class is chosen by name (`jaxqc.fields.Choice`)."""
    beginnings = tuple(f"{name}." for name in choices(type(recipe)))
    return [field for field in leaves(recipe) if not field[0].startswith(beginnings)]


def shown_choices(recipe: Any, argv: Sequence[str]) -> str:
    """For the help: the names of the classes that such fields may have, and the fields and defaults of one of them.

    That one is the class named in `argv`, or else the recipe's. All of them would be thousands of lines.
    """
    lines: list[str] = []
    for field, choice in choices(type(recipe)).items():
        own = choice.name_of(getattr(recipe, field))
        name = next((name for name in _given(argv, f"--{choice.flag}") if name in choice.own), own)
        what = f"Another {choice.kind[:-1]}, with its defaults; --{field}.FIELD changes them. One of "
        lines += [f"  --{choice.flag}  NAME", *_below(f"{what}{', '.join(choice.own)}.")]
        lines += [f"Fields of {name} (those of another: --{choice.flag} NAME --help):"]
        kind = choice.own.get(name)
        lines += [shown(kind(), list(leaves(kind(), f"{field}.")), f"{field}.")] if kind else []
    return "\n".join(["", *lines]) if lines else ""


def _given(argv: Sequence[str], flag: str) -> list[str]:
    """The values of a flag as typed, the last one first."""
    values = [after for before, after in itertools.pairwise(argv) if before == flag]
    values += [argument.removeprefix(f"{flag}=") for argument in argv if argument.startswith(f"{flag}=")]
    return values[::-1]


def choice_flags(recipe: Any) -> list[str]:
    """The flags that choose such a class and, ending in a dot, beginnings of flags that are judged once it is known."""
    rows = choices(type(recipe)).items()
    return [flag for field, choice in rows for flag in (f"--{choice.flag}", f"--{field}.", *(
        f"--{name}." for name in choice.own))]  # fmt: skip


def recipe_flags(fields: Sequence[Field]) -> list[str]:
    """The flags that a recipe's fields are."""
    names = [name.replace("_", "-") for name, _, _ in fields]
    switched_off = [".no-".join(name.rsplit(".", 1)) for name in names]
    return [f"--{name}" for name in [*names, *switched_off, *["phases"] * _has_phases(fields)]]


def _values(value: Any) -> str:
    """A field's default."""
    if isinstance(value, bool):
        return f"a switch, {'on' if value else 'off'} unless given"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"(default: {text or 'empty'})"


def _below(text: str) -> list[str]:
    """Lines below a flag, for terminals of 80 columns."""
    return textwrap.wrap(text, 79, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False)


def _has_phases(fields: Sequence[Field]) -> bool:
    return any(name.startswith("phases.") for name, _, _ in fields)

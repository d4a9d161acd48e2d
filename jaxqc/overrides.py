"""Dotted flags over a configuration: `--optim.lr .01 --data.skip-bad --phases.0.epochs 5`."""

import contextlib
import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

from jaxqc import plugins
from jaxqc.config import Phase
from jaxqc.errors import UserError, suggest
from jaxqc.fields import Config, check_unused, choices, from_dict, leaves, validate
from jaxqc.hints import several


def override(config: Config, arguments: Sequence[str]) -> Config:
    """The config with the flags applied; a switch is turned off by `--data.no-skip-bad`, a list is `1,2,3` or `1 2 3`.

    `--phases` itself takes a JSON list that replaces the whole schedule: `[{"epochs": 1, "size": 96, "batch": 8}]`. The
    flag of a `Choice` takes a name and gives that class's defaults, on which the other flags act.

    Raises:
      UserError: unknown flag (with a suggestion), bad value, or a config that `validate` refuses.
    """
    import tyro

    config, arguments = _choose(config, list(arguments))
    for i, argument in enumerate(arguments):
        if argument == "--phases" or argument.startswith("--phases="):
            inline = argument.partition("=")
            text = inline[2] if inline[1] else "".join(arguments[i + 1 : i + 2])
            changed: Any = dataclasses.replace(config, phases=_phases(text))  # type: ignore[type-var]
            config = validate(changed, "--phases")
            del arguments[i : i + (1 if inline[1] else 2)]
            break
    arguments = _without_commas(config, arguments)
    things = {name: v for name, kind, v in leaves(config) if kind is Any and not isinstance(v, str)}
    for name, thing in things.items():
        config = _put(config, name, repr(thing))  # a text, which no flag or another name replaces
    screen = io.StringIO()
    try:
        with contextlib.redirect_stderr(screen), contextlib.redirect_stdout(screen):
            config, unknown = tyro.cli(
                type(config), default=config, args=arguments, return_unknown_args=True, add_help=False
            )
    except SystemExit as e:
        raise UserError(_first_paragraph(screen.getvalue())) from e
    if unknown:
        names = [f"--{name.replace('_', '-')}" for name, _, _ in leaves(config)]
        flag = next((a for a in unknown if a.startswith("-")), unknown[0]).partition("=")[0]
        close = suggest(flag, names)
        raise UserError(f"unknown argument {flag}" + (close if "did you mean" in close else "; see --help for all"))
    texts = {name: v for name, _, v in leaves(config) if name in things}
    for name, thing in things.items():
        config = _put(config, name, thing) if texts[name] == repr(thing) else config
    return check_unused(validate(config, "command line"), "command line")


def _choose(config: Config, arguments: list[str]) -> tuple[Config, list[str]]:
    """The config with the classes that its `Choice` flags name, and the other arguments."""
    for field, choice in choices(type(config)).items():
        rest: list[str] = []
        words = iter(arguments)
        for word in words:
            flag, equals, name = word.partition("=")
            section, dot, inner = flag.removeprefix("--").partition(".")
            if flag == f"--{choice.flag}":
                name = name if equals else next(words, "")
                if not name or name.startswith("-"):
                    known = ", ".join(plugins.names(choice.kind, choice.own))
                    raise UserError(f"--{choice.flag}: give a name; one of {known}")
                made = choice.class_of(name, f"--{choice.flag}")()
                config = dataclasses.replace(config, **{field: made})  # type: ignore[type-var]
            elif flag.startswith("--") and dot and section in choice.own:
                raise UserError(
                    f"{flag}: the fields of a {choice.kind[:-1]} are --{field}.FIELD; give --{choice.flag} {section} "
                    f"--{field}.{inner} (or --{field}.{inner} alone, where the recipe has a {section})"
                )
            else:
                rest.append(word)
        arguments = rest
    return config, arguments


def _put(config: Any, name: str, value: Any) -> Any:
    """The config with another value of the field of this dotted name."""
    first, _, rest = name.partition(".")
    return dataclasses.replace(config, **{first: _put(getattr(config, first), rest, value) if rest else value})


def _without_commas(config: Any, arguments: Sequence[str]) -> list[str]:
    """`--layers 1,2` as `--layers 1 2`, for the fields that are lists."""
    rows = ((name, isinstance(value, tuple) or several(kind)) for name, kind, value in leaves(config))
    lists = {f"--{name.replace('_', '-')}" for name, is_list in rows if is_list}
    out: list[str] = []
    for argument in arguments:
        flag, equals, inline = argument.partition("=")
        if flag.replace("_", "-") in lists and equals:
            out += [flag, *inline.split(",")]
        elif out and out[-1].replace("_", "-") in lists:
            out += argument.split(",")
        else:
            out.append(argument)
    return out


def _phases(text: str) -> tuple[Phase, ...]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as e:
        raise UserError(f'--phases: {text!r} is not JSON ({e}); e.g. [{{"epochs": 1, "size": 96, "batch": 8}}]') from e
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"--phases: {text!r} is not a list of objects")
    return tuple(from_dict(row, Phase, f"--phases[{i}]") for i, row in enumerate(rows))


def _first_paragraph(box: str) -> str:
    """tyro draws its errors as a box (a title, the message, a rule, help): the message alone, in one line."""
    message: list[str] = []
    for line in box.strip().splitlines()[1:]:
        text = line.strip(" │─╭╮╰╯|+-")
        if text:
            message.append(text)
        elif message:
            break
    return " ".join(message) or "bad value on the command line; see --help"

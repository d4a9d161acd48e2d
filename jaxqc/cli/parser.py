"""The parser that all verbs share: every mistake is one line with a suggestion."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from jaxqc.errors import UserError, suggest

ALIKE = {"--data": "--images", "--images": "--data"}
"""A set to learn from or to be measured on, and images to be used on: what one verb takes, another's user types."""
OPEN = ("--phases.", "--objective.")
"""Beginnings of flags that only the recipe itself knows, which checks them when it is read."""


class Parser(argparse.ArgumentParser):
    """argparse, but every error is one line with a suggestion, and abbreviations are not guessed."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs |= {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage."""
        raise UserError(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = "verb" if action.dest.endswith("verb") else "/".join(action.option_strings)
            raise UserError(f"{what}: unknown {value!r}{suggest(str(value), map(str, action.choices))}")

    def check_flags(self, arguments: Sequence[str], more: Sequence[str] = ()) -> None:
        """Refuses unknown flags by name, before argparse can complain of what is then missing."""
        own = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        known = [*own, *more]
        begun = (*OPEN, *(flag for flag in known if flag.endswith(".")))
        for argument in arguments:
            flag = argument.partition("=")[0].replace("_", "-")
            if flag.startswith("--") and len(flag) > 2 and flag not in known and not flag.startswith(begun):
                alike = ALIKE.get(flag)
                close = f" (did you mean {alike!r}?)" if alike in known else suggest(flag, known)
                hint = close if "did you mean" in close else f"; see {self.prog} --help"
                raise UserError(f"unknown argument {argument.partition('=')[0]}{hint}")


def add_verb(verbs: Any, name: str, text: str, examples: str) -> Parser:
    """A verb's parser among those of its fellows; `text` is its help and description."""
    return verbs.add_parser(name, help=text, description=text, epilog=f"examples:\n{examples}")

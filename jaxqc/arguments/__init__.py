"""What each verb of the command line takes, its help and examples; every mistake is one line with a suggestion."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxqc.arguments.data import data_verbs
from jaxqc.arguments.export import export_verb
from jaxqc.arguments.ledger import ledger_verbs
from jaxqc.arguments.models import model_verbs
from jaxqc.arguments.parser import Parser
from jaxqc.arguments.recipes import recipe_flags, recipe_verbs, shown
from jaxqc.arguments.weights import weights_verbs
from jaxqc.errors import UserError
from jaxqc.fields import leaves

Verb = Callable[..., int]
Recipes = Mapping[str, Callable[[], Sequence[Any]]]
"""Verbs that take a recipe, and what makes one of each kind, the usual one first; called only for their fields."""


def parse(argv: Sequence[str], verbs: Mapping[str, Verb], recipes: Recipes) -> tuple[argparse.Namespace, list[str]]:
    """Arguments of one command, and what is left of them for the recipe (only those of `recipes` leave any).

    `verbs`: the function of each, by name (`train`, `data check`, ...); the namespace has the chosen one as `run`.

    Raises:
      UserError: an unknown verb or flag, a missing or bad value. SystemExit: after `--help` and `--version`.
    """
    parser, parsers = _parsers(verbs)
    name = " ".join(argv[:2]) if argv[:1] in (["data"], ["ledger"]) else "".join(argv[:1])
    if name in parsers:
        kinds = {type(recipe).__name__: list(leaves(recipe)) for recipe in (recipes[name]() if name in recipes else ())}
        parsers[name].check_flags(argv, [flag for fields in kinds.values() for flag in recipe_flags(fields)])
        known: set[str] = set()
        for kind, fields in kinds.items():
            new = [field for field in fields if field[0] not in known]
            also = f"\nA recipe of kind {kind} also has, and has its own defaults:\n" if known else ""
            parsers[name].epilog = f"{parsers[name].epilog}{also}{shown(new)}"
            known |= {field[0] for field in fields}
    else:
        parser.check_flags(argv[:1])
    args, rest = parser.parse_known_args(argv)
    if rest and name not in recipes:
        raise UserError(f"unexpected argument {rest[0]!r}; see jaxqc {name} --help")
    return args, rest


def _parsers(run: Mapping[str, Verb]) -> tuple[Parser, dict[str, Parser]]:
    from jaxqc.version import __version__

    parser = Parser(prog="jaxqc", description="Visual quality inspection in JAX: train, measure and use defect maps.")
    parser.epilog = "  jaxqc data synthetic plates\n  jaxqc data check plates\n  jaxqc train --help"
    parser.add_argument("--version", action="version", version=f"jaxqc {__version__}")
    top = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs: dict[str, Parser] = {}

    def verb(where: Any, name: str, text: str, examples: str) -> Parser:
        full = name if where is top else f"{where.dest.removesuffix('_verb')} {name}"
        verbs[full] = where.add_parser(name, help=text, description=text, epilog=f"examples:\n{examples}")
        verbs[full].set_defaults(run=run[full])
        return verbs[full]

    recipe_verbs(top, verb)
    model_verbs(top, verb)
    weights_verbs(top, verb)
    data_verbs(top, verb)
    ledger_verbs(top, verb)
    export_verb(top, verb)
    return parser, verbs

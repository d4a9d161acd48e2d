"""Flags that the verbs of the ledger share, each above what reads it."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from jaxqc.atomic import write_text
from jaxqc.cli.parser import Parser


def add_ledger(parser: Parser) -> None:
    """`--ledger`."""
    where = "SQLite file, or postgresql://user@host/database (a password is best kept in ~/.pgpass)"
    parser.add_argument("--ledger", required=True, metavar="FILE", help=where)


def add_model(parser: Parser, default: str) -> None:
    """`--model`; default: whose findings are meant without it."""
    about = f"whose findings: the digest's beginning (default: {default})"
    parser.add_argument("--model", metavar="DIGEST", help=about)


def model_of(ledger: Any, start: str | None) -> str:
    """The whole digest that `--model` is the beginning of; "" without it."""
    return ledger.model(start) if start else ""


def add_rules(parser: Parser) -> None:
    """`--rules`."""
    parser.add_argument("--rules", metavar="FILE", help="grading rules, a .py file (it is run: it is code)")


def add_grading(parser: Parser) -> None:
    """`--rules`, `--model` and `--json`."""
    add_rules(parser)
    add_model(parser, "of each lot the one that inspected most of it, of several the last")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")


def write_json(file: str | None, value: Any) -> None:
    """Writes the file of `--json`, where it is given, and makes its folder."""
    if file is not None:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Values for JSON, which knows no infinity."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

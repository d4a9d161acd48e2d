"""The command line: one file a verb, over `jaxqc.api`. Nothing heavy is imported before a verb runs: `--help` is quick.

Exit codes: 0 done; 1 done, but something was found (bad samples, unreadable files, a failed verification); 2 the
arguments, config or data are the user's to mend (one line on stderr); 130 interrupted; 143 ended by SIGTERM.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from jaxqc.cli import (
    calibrate,
    convert,
    data,
    evaluate,
    export,
    fit,
    inspect,
    ledger,
    predict,
    recipes,
    review,
    serve,
    train,
    verify,
    weights,
)
from jaxqc.cli.parser import Parser
from jaxqc.cli.recipe_flags import choice_flags, fields_of, recipe_flags, shown, shown_choices
from jaxqc.errors import UserError
from jaxqc.interrupt import causes, was_interrupted

USER_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST,
              errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.EFBIG, errno.EIO, errno.ESTALE, errno.EMFILE,
              errno.ENOMEM)  # fmt: skip
# Libraries that write by themselves have no OSError for it.
DISK_FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full", "File too large")
NO_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory", "std::bad_alloc")


@runtime_checkable
class Verb(Protocol):
    """A module of this package. `kinds() -> tuple`, where it has that, gives one recipe of each kind it takes."""

    @staticmethod
    def add(verbs: Any) -> Parser:
        """Adds the verb's parser to those of its fellows."""
        ...

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Does it; the exit code."""
        ...


GROUPS = {"data": data.TEXTS, "ledger": ledger.TEXTS}
"""Help and description of the verbs that have verbs of their own."""
VERBS: dict[str, Verb] = {
    "train": train,
    "fit": fit,
    "evaluate": evaluate,
    "predict": predict,
    "inspect": inspect,
    "serve": serve,
    "review": review,
    "calibrate": calibrate,
    "verify": verify,
    "recipes": recipes,
    "weights": weights,
    "convert": convert,
    "data check": data.check,
    "data import": data.import_set,
    "data synthetic": data.synthetic,
    "data records": data.records,
    "data split": data.split,
    "data tfds": data.tfds,
    "ledger import-outcomes": ledger.import_outcomes,
    "ledger outcomes": ledger.outcomes,
    "ledger lots": ledger.lots,
    "ledger report": ledger.report,
    "ledger drift": ledger.drift,
    "ledger export": ledger.export,
    "export": export,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; `argv` without the program's name, None = the process's own."""
    try:
        args = parse(list(sys.argv[1:] if argv is None else argv) or ["--help"])
        code = VERBS[args.name].run(args)
        sys.stdout.flush()  # else it fails after this, where nobody catches it
        return code
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        _mute()
        return 141
    except (Exception, KeyboardInterrupt) as e:
        line, code = _line_of(e)
        if not line:
            raise
        try:
            sys.stdout.flush()
        except OSError:  # its disk is the full one
            _mute()
        print(f"jaxqc: {' '.join(line.split())}", file=sys.stderr)
        return code


def _mute() -> None:
    """Sends what is still to be printed nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line_of(error: BaseException) -> tuple[str, int]:
    """The line for the user and the exit code; "" where it is none of theirs."""
    if was_interrupted(error):
        return "interrupted", 130
    if isinstance(error, UserError):
        return str(error), 2
    if isinstance(error, OSError) and error.errno in USER_ERRNO:
        room = "; make room and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        reason = error.strerror
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            reason = "a file is there, where a folder is needed; give another path"
        return f"{error.filename or 'disk'}: {reason}{room}", 2
    if any(isinstance(one, MemoryError) or any(words in str(one) for words in NO_MEMORY) for one in causes(error)):
        return "out of memory; lower --batch or the size of images, or use a machine with more", 2
    full = next((words for one in causes(error) for words in DISK_FULL if words in str(one)), "")
    return f"{full}; make room and run the same command again" if full else "", 2


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Arguments of one command. `name` is its key in `VERBS`; `given` are the flags as typed, `flags` those left for
    the recipe, where it has one, with their values.

    Raises:
      UserError: an unknown verb or flag, a missing or bad value. SystemExit: after `--help` and `--version`.
    """
    parser, parsers = _parsers()
    name = " ".join(argv[:2]) if argv[0] in GROUPS else argv[0]
    make = getattr(VERBS.get(name), "kinds", None)
    if name in parsers:
        made = make() if make else ()
        kinds = {type(recipe).__name__: (recipe, fields_of(recipe)) for recipe in made}
        flags = [flag for _, fields in kinds.values() for flag in recipe_flags(fields)]
        parsers[name].check_flags(argv, [*flags, *(flag for recipe in made for flag in choice_flags(recipe))])
        known: set[str] = set()
        asked = not {"-h", "--help"}.isdisjoint(argv)
        for kind, (recipe, fields) in kinds.items() if asked else ():
            new = [field for field in fields if field[0] not in known]
            also = f"\nA recipe of kind {kind} also has, and has its own defaults:\n" if known else ""
            parsers[name].epilog = f"{parsers[name].epilog}{also}{shown(recipe, new)}"
            known |= {field[0] for field in fields}
        texts = [shown_choices(recipe, argv) for recipe in made] if asked else ()
        parsers[name].epilog = "".join([str(parsers[name].epilog or ""), *texts])
    else:
        parser.check_flags(argv[:1])
    args, rest = parser.parse_known_args(argv)
    if rest and not make:
        raise UserError(f"unexpected argument {rest[0]!r}; see jaxqc {name} --help")
    args.name, args.flags = name, rest
    args.given = [argument.partition("=")[0] for argument in argv if argument.startswith("--")]
    return args


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    """The command's parser, and those of its verbs by name."""
    from jaxqc.version import __version__

    parser = Parser(prog="jaxqc", description="Visual quality inspection in JAX: train, measure and use defect maps.")
    parser.epilog = "  jaxqc data synthetic plates\n  jaxqc data check plates\n  jaxqc train --help"
    parser.add_argument("--version", action="version", version=f"jaxqc {__version__}")
    top: Any = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    groups: dict[str, Any] = {}
    parsers: dict[str, Parser] = {}
    for name, verb in VERBS.items():
        group = name.partition(" ")[0]
        if group in GROUPS and group not in groups:
            own = top.add_parser(group, help=GROUPS[group][0], description=GROUPS[group][1])
            groups[group] = own.add_subparsers(dest=f"{group}_verb", required=True, metavar="VERB")
        parsers[name] = verb.add(groups.get(group, top))
    return parser, parsers

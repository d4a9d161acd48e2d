"""The command line: thin verbs over `jaxqc.api`. Nothing heavy is imported before a verb runs, so `--help` is quick.

Exit codes: 0 done; 1 done, but something was found (bad samples, unreadable files, a failed verification); 2 the
arguments, config or data are the user's to mend (one line on stderr); 130 interrupted; 143 ended by SIGTERM.
"""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

from jaxqc.arguments import parse
from jaxqc.errors import UserError
from jaxqc.export import cli as export
from jaxqc.inspection import cli as ledger
from jaxqc.verbs import data, train, use
from jaxqc.weights import cli as weights

USER_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST,
              errno.EISDIR, errno.ENAMETOOLONG)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; `argv` without the program's name, None = the process's own."""
    try:
        args, rest = parse(list(sys.argv[1:] if argv is None else argv) or ["--help"], VERBS, RECIPES)
        return args.run(args, rest) if args.verb in RECIPES else args.run(args)
    except UserError as e:
        print(f"jaxqc: {' '.join(str(e).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxqc: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:
        if e.errno not in USER_ERRNO:
            raise
        print(f"jaxqc: {e.filename or 'disk'}: {e.strerror}", file=sys.stderr)
        return 2


RECIPES: dict[str, Any] = {"train": train.train_recipes, "fit": train.fit_recipes}
VERBS: dict[str, Any] = {
    "train": train.train,
    "fit": train.fit,
    "evaluate": use.evaluate,
    "predict": use.predict,
    "inspect": use.inspect,
    "verify": use.verify,
    "export": export.run,
    "weights": weights.fetch,
    "convert": weights.convert,
    "data check": data.check,
    "data synthetic": data.synthetic,
    "data records": data.records,
    "data split": data.split,
    "data tfds": data.tfds,
    "ledger import-outcomes": ledger.import_outcomes,
    "ledger outcomes": ledger.outcomes,
    "ledger export": ledger.export,
    "ledger lots": ledger.lots,
}

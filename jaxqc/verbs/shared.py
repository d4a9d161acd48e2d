"""What several verbs share."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def unreadable(lines: Sequence[str], total: int | None = None, file: Path | None = None) -> int:
    """Lists files that could not be used; the exit code. total: how many there are, where `file` has more of them."""
    total = len(lines) if total is None else total
    if total:
        print(f"{total} files could not be used:", file=sys.stderr)
        for line in lines:
            print(f"  {line}", file=sys.stderr)
        if file is not None:
            print(f"all of them: {file}", file=sys.stderr)
    return 1 if total else 0


def keys(args: argparse.Namespace) -> Any:
    """A TFDS set's features from the command line; None where no flag names one."""
    from jaxqc.data.open import Keys, mask_values

    keys = Keys(args.image_key, args.mask_key, args.label_key, mask_values(args.foreground, "--foreground"))
    return None if keys == Keys() else keys

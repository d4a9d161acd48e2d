"""Folders that appear whole or not at all, and never over one that is there."""

import glob
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.lock import LOCK, locked


@contextmanager
def whole_folder(
    out: str | os.PathLike[str], flag: str = "--out", finish: Callable[[Path], object] = lambda part: None
) -> Iterator[Path]:
    """A new folder that becomes `out` when the block ends well; else nothing of it is left.

    What killed programs left of such a folder goes away at the next try.

    Args:
      flag: the flag that named it. finish: called on the folder after the block, before it takes its place.

    Raises:
      UserError: `out` is there and not empty, another program is writing it, or it cannot be written.

    Examples:
      >>> with whole_folder("set") as part:
      ...     _ = (part / "index.csv").write_text("id")
      >>> [path.name for path in Path("set").iterdir()]
      ['index.csv']
    """
    out = Path(out)
    name = printable(out)
    part = out.with_name(f".{out.name}.part-{os.getpid()}")
    stack = ExitStack()
    try:
        with locked(out):
            if any(path.name != LOCK for path in out.iterdir()):
                raise UserError(f"{name}: there already; choose another {flag}, or remove it first")
            for remains in out.parent.glob(f".{glob.escape(out.name)}.part-*"):  # of killed programs
                shutil.rmtree(remains, ignore_errors=True)
            stack.callback(shutil.rmtree, part, ignore_errors=True)
            part.mkdir(parents=True)
            yield part
            finish(part)
        part.replace(out)  # which does not replace a folder that another program has filled in this instant
    except OSError as e:
        raise UserError(f"{name}: cannot be written ({e.strerror or e}); make room there or choose another") from e
    finally:
        stack.close()

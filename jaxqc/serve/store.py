"""The pictures that a server took in, as files by their SHA-256: whole or not there, and never changed.

folder/ab/abcd.../KEY.png: a picture has a folder, and a file in it for each lot, piece and name under which it came;
all of them are one file with several links. So a sighting's path leads to the bytes, as that of a delivery does.
"""

import contextlib
import hashlib
import os
import threading
from pathlib import Path

from jaxqc.atomic import clear_remains
from jaxqc.data.decode import read_bytes
from jaxqc.errors import UserError

ENDINGS = ((b"\x89PNG", ".png", "image/png"), (b"\xff\xd8\xff", ".jpg", "image/jpeg"), (b"BM", ".bmp", "image/bmp"),
           (b"II", ".tif", "image/tiff"), (b"MM", ".tif", "image/tiff"), (b"GIF8", ".gif", "image/gif"),
           (b"RIFF", ".webp", "image/webp"), (b"\0\0\0\x0cjP", ".jp2", "image/jp2"), (b"\xff\x4f", ".jp2", "image/jp2"),
           (b"P", ".pnm", "image/x-portable-anymap"))  # fmt: skip
"""First bytes, ending and media type of the kinds of image."""

PARTS = "parts"
"""Folder in which files are written before they appear in their own."""


class Store:
    """A folder of pictures. Several processes may use one."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(os.path.abspath(folder))

    def open(self) -> None:
        """Makes the folder, and removes what killed writes left. Raises UserError where it cannot be written."""
        try:
            (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
            clear_remains(self.folder / PARTS)
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(None, "may not be written")
        except OSError as e:
            raise UserError(f"--pictures: {self.folder}: {e.strerror or e}; give a folder that can be written") from e

    def keep(self, sha256: str, data: bytes, *names: str) -> Path:
        """The file of a picture under these names, which is made where it is not there. Raises OSError."""
        folder = self._folder(sha256)
        key = hashlib.sha256("\0".join(names).encode("utf-8", "backslashreplace")).hexdigest()[:16]
        path = folder / f"{key}{kind_of(data)[0]}"
        if path.exists():
            return path
        folder.mkdir(parents=True, exist_ok=True)
        for other in folder.iterdir():
            if not other.name.startswith("."):
                with contextlib.suppress(OSError):  # a file system without links takes another copy
                    os.link(other, path)
                    return path
                break
        # In one place, so that the next start finds what a killed one left without a walk through all pictures.
        part = self.folder / PARTS / f".{sha256}-{threading.get_ident()}.{os.getpid()}.part"
        part.write_bytes(data)
        os.replace(part, path)
        return path

    def read(self, sha256: str) -> bytes | None:
        """A picture's bytes, which have this sum; None where it is not kept here."""
        folder = self._folder(sha256)
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return next(
            (data for path in files if not path.name.startswith(".") and (data := verified(path, sha256))), None
        )

    def _folder(self, sha256: str) -> Path:
        if not is_digest(sha256):
            raise ValueError("no SHA-256")
        return self.folder / sha256[:2] / sha256


def verified(path: str | Path, sha256: str) -> bytes | None:
    """A file's bytes where they have this sum; None for any other file, and where it cannot be read."""
    try:
        found, data = read_bytes(path)
    except UserError:
        return None
    return data if found == sha256 else None


def is_digest(text: str) -> bool:
    """True for 64 hexadecimal digits in lower case.

    Examples:
      >>> is_digest("0" * 64), is_digest("../../etc/passwd")
      (True, False)
    """
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def kind_of(data: bytes) -> tuple[str, str]:
    """Ending and media type of an image file by its first bytes.

    Examples:
      >>> kind_of(b"\\xff\\xd8\\xff\\xe0"), kind_of(b"?")
      (('.jpg', 'image/jpeg'), ('.bin', 'application/octet-stream'))
    """
    found = (one[1:] for one in ENDINGS if data.startswith(one[0]))
    return next(found, (".bin", "application/octet-stream"))

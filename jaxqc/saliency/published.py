"""Networks as their authors published them: a file of weights, or our own of such, → variables with their settings."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jaxqc.errors import UserError
from jaxqc.models.arrays import Arrays, flatten, put
from jaxqc.models.corrnet_names import convert_corrnet
from jaxqc.models.minet_names import convert_minet
from jaxqc.models.pp_liteseg_names import convert_pp_liteseg, size_of
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.uctransnet_names import convert_uctransnet
from jaxqc.types import Variables
from jaxqc.version import __version__
from jaxqc.weights.download import sha256
from jaxqc.weights.files import read_arrays, write_own
from jaxqc.weights.known import locate

FORMAT = "jaxqc network 1"


class Published(NamedTuple):
    """A network's weights as its authors published them.

    convert: their arrays by name → our variables, and a report. recipe: whose name says how they are used: the size and
    range of images. mean, std: what takes part in normalising them, one value or one a channel.
    """

    convert: Callable[[Arrays], tuple[dict[str, Any], LoadReport]]
    recipe: str
    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]


MINET = Published(convert_minet, "minet_sd900", 0.4669, 0.2437)
CORRNET = Published(convert_corrnet, "corrnet_sd900", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PP_LITESEG = {size: Published(partial(convert_pp_liteseg, size), "pp_liteseg_sd900", 0.5, 0.5) for size in ("b", "t")}
UCTRANSNET = Published(convert_uctransnet, "uctransnet_sd900", 0.0, 1.0)
"""Its authors divide by 255 and no more."""
FAMILIES: dict[str, Callable[[Arrays], str]] = {"pp_liteseg": lambda arrays: f"pp_liteseg_{size_of(arrays)}"}
"""Names of several networks: a file's arrays → the one that they are of."""


@dataclass(frozen=True)
class Found:
    """Variables of a network and the file that they were first read from, with its SHA-256."""

    network: str
    variables: Variables
    report: LoadReport
    source: str
    sha256: str


def network_in(source: str | Path, name: str) -> str:
    """The network of a file that was named by its family, such as `pp_liteseg`; another name as it is.

    Raises:
      UserError: no such file, a damaged one, or one of another family.
    """
    if name not in FAMILIES:
        return name
    path = locate(source)
    arrays, meta = read_arrays(path)
    try:
        return str(meta["model"]) if meta and "model" in meta else FAMILIES[name](arrays)
    except UserError as e:
        raise UserError(f"{path}: {e}") from e


def is_written(path: Path) -> bool:
    """True for a file of `write_published`."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    meta = read_arrays(path)[1]
    return meta is not None and meta.get("format") == FORMAT


def read_published(source: str | Path, network: str, published: Published) -> Found:
    """A file of the authors' or one of `write_published`, by its path or a short name of `jaxqc weights`.

    Raises:
      UserError: no such file, a damaged one, or one of another network; it names file and array.
    """
    path = locate(source)
    arrays, meta = read_arrays(path)
    if meta is None:
        try:
            variables, report = published.convert(arrays)
        except UserError as e:
            raise UserError(f"{path}: {e}") from e
        return Found(network, variables, report, path.name, sha256(path))
    if meta.get("format") != FORMAT or meta.get("model") != network:
        shown = f"{meta.get('format')!r} of {meta.get('model')!r}"
        raise UserError(f"{path}: {shown}, not {FORMAT!r} of {network!r}; convert its authors' file again")
    variables: dict[str, Any] = {}
    for name, value in arrays.items():
        put(variables, tuple(name.split("/")), value)
    report = LoadReport(network, (), len(arrays), parts="the whole network")
    return Found(network, variables, report, str(meta["source"]), str(meta["sha256"]))


def write_published(path: Path, found: Found) -> None:
    """Writes our own format: every variable under its path, and a JSON record of the file that it is from.

    Raises:
      UserError: it cannot be written.
    """
    arrays = {"/".join(place): value for place, value in flatten(found.variables).items()}
    meta = {"format": FORMAT, "model": found.network, "source": found.source, "sha256": found.sha256}
    write_own(path, arrays, {**meta, "jaxqc": __version__})

"""A backbone's variables from any file: somebody else's, or our own format, which this also makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.errors import UserError, suggest
from jaxqc.models.arrays import flatten
from jaxqc.models.backbones import backbone_names, family
from jaxqc.models.clip import CLIPS
from jaxqc.models.dinov2 import VITS
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.pretrained_clip import convert_clip, export_clip
from jaxqc.models.pretrained_vit import convert_vit, export_vit
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import Variables
from jaxqc.version import __version__
from jaxqc.weights.download import sha256
from jaxqc.weights.files import read_arrays, write_own
from jaxqc.weights.known import locate, model_of

FORMAT = "jaxqc backbone 1"


@dataclass(frozen=True)
class Weights:
    """A backbone's variables and where they are from.

    variables: `{"params", "batch_stats"}`, float32, of `jaxqc.models.backbones.build`, or `{"params"}` of
      `jaxqc.models.dinov2.build_vit(model)`, which is read whole and has no layers.
    source, sha256: name and digest of the file that they were first read from (through our own format, that one's).
    """

    model: str
    layers: tuple[int, ...]
    variables: Variables
    report: LoadReport
    source: str
    sha256: str

    def folded(self) -> Variables:
        """`{"params"}` with batch norm inside the kernels, for a network that is built with `folded=True`."""
        return fold_batch_norm(self.variables, family(self.model).epsilon)

    def meta(self) -> dict[str, Any]:
        """The part that a checkpoint keeps."""
        return {"model": self.model, "source": self.source, "sha256": self.sha256}


def load_weights(
    source: str | Path,
    model: str | None = None,
    layers: Sequence[int] | None = None,
    head: bool = False,
    seed: int = 0,
    prefix: str | None = None,
) -> Weights:
    """Reads a file, or the cached one of a short name (`jaxqc.weights.known.KNOWN`).

    Args:
      model: a name of `backbone_names` or `VITS`; None where the file or the short name gives it. A plain file may be
        read as its `NAME_cbam`, whose gates then start as exact identity.
      layers: those needed, of which nothing may lack; None = all that is whole. head: the classifier is needed too.
        Both are of ResNets.
      seed: draws the weights behind gates that the file does not bring.
      prefix: of the encoder's names in a file of several; None = the one below which most of what is needed stands.

    Raises:
      UserError: no such file, a damaged or foreign one, or one that does not fit; it names file and array.

    Examples:
      >>> weights = load_weights("synthetic-resnet18", layers=(1, 2))
      >>> weights.model, sorted(weights.variables)
      ('resnet18', ['batch_stats', 'params'])
    """
    path = locate(source)
    arrays, meta = read_arrays(path)
    own = meta is not None
    if own:
        arrays = _own(path, arrays, meta or {})
    if model is None:
        model = str((meta or {})["model"]) if own else model_of(str(source))
    if model is None:
        raise UserError(f"{path}: tells no model; name one, such as resnet50 (--model)")
    try:
        variables, report = _converted(arrays, model, layers, head, seed, prefix)
    except UserError as e:
        raise UserError(f"{path}: {e}") from e
    name, digest = (str(meta["source"]), str(meta["sha256"])) if meta else (path.name, sha256(path))
    return Weights(model, report.layers, variables, report, name, digest)


def _converted(
    arrays: dict[str, np.ndarray],
    model: str,
    layers: Sequence[int] | None,
    head: bool,
    seed: int,
    prefix: str | None,
) -> tuple[dict[str, Any], LoadReport]:
    if model in VITS:
        if layers is not None or head:
            raise UserError(f"{model}: is read whole; layers and head are of ResNets")
        return convert_vit(arrays, model, prefix)
    if model in CLIPS:
        if layers is not None or head:
            raise UserError(f"{model}: is read whole; layers and head are of ResNets")
        return convert_clip(arrays, model, prefix)
    if model not in (names := backbone_names()):
        raise UserError(f"model {model!r} is not one{suggest(model, [*names, *VITS, *CLIPS])}")
    return family(model).convert(arrays, model, layers, head, seed, prefix)


def save_weights(path: str | Path, weights: Weights) -> None:
    """Writes our own format: every variable under its path (`params/layer1_0/conv1/kernel`) and a JSON record `meta`.

    Raises:
      UserError: another ending than `.npz`.

    Examples:
      >>> save_weights("resnet18.npz", load_weights("synthetic-resnet18", layers=(1,)))
      >>> load_weights("resnet18.npz").model
      'resnet18'
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise UserError(f"{path}: our own format ends in .npz")
    arrays = {"/".join(place): value for place, value in flatten(weights.variables).items()}
    meta = {"format": FORMAT, **weights.meta(), "layers": list(weights.layers), "classes": weights.report.classes}
    write_own(path, arrays, {**meta, "jaxqc": __version__})


def _own(path: Path, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of our own format under the names that every file is read by."""
    if meta.get("format") != FORMAT or not {"model", "source", "sha256"} <= set(meta):
        raise UserError(f"{path}: format {meta.get('format')!r}, not {FORMAT!r}; convert the weights again")
    tree: dict[str, Any] = {}
    for name, value in arrays.items():
        *parents, last = name.split("/")
        node = tree
        for step in parents:
            node = node.setdefault(step, {})
        node[last] = value
    try:
        if meta["model"] in CLIPS:
            return export_clip(tree)
        return export_vit(tree) if meta["model"] in VITS else family(meta["model"]).export(tree, meta["model"])
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as e:
        raise UserError(f"{path}: an array's name is not of a backbone ({e!r}); convert the weights again") from e

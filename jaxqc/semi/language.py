"""Phrases that stand for classes: embeddings from a file, and a guide that labels by them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxqc.data.problems import printable
from jaxqc.errors import UserError, suggest
from jaxqc.models.clip import ClipVision, clip_spec
from jaxqc.models.language_decoder import guide_logits
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.semi.manifest import IGNORE

SURE = 0.5
"""Least share of a guide's certain pixels on the labelled images that have to be right."""


@dataclass(frozen=True)
class Phrases:
    """Unit embeddings of phrases, and the number of the class that each stands for."""

    values: Float[np.ndarray, "p e"]
    owner: Int[np.ndarray, " p"]


def read_phrases(path: str | Path, classes: tuple[str, ...], length: int) -> Phrases:
    """The phrases of a file's classes that the data have.

    path: an `.npz` of `values` [phrases, length] and `names`; `class_of` names each phrase's class where several stand
    for one, else the names are the classes'. Other classes of the file are left out.

    Raises:
      UserError: no such file, an array lacks or has another shape, vectors are not finite or zero, or a class has no
        phrase.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as e:  # BadZipFile, EOFError, zlib.error; TypeError of an .npy
        raise UserError(f"semi.language.embeddings: {printable(path)}: cannot be read ({e}); give an .npz") from e
    where = f"semi.language.embeddings: {printable(path)}"
    if lacking := [name for name in ("names", "values") if name not in arrays]:
        raise UserError(f"{where}: lacks {', '.join(lacking)}; make it by jaxqc convert --text")
    values = np.asarray(arrays["values"], np.float32)
    owners = [str(name) for name in arrays.get("class_of", arrays["names"])]
    if values.shape != (len(owners), length):
        raise UserError(f"{where}: values {values.shape} for {len(owners)} phrases of length {length}; make it anew")
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    if not np.isfinite(norm).all() or not norm.all():
        raise UserError(f"{where}: values that are not finite, or zero; make it anew")
    for name in classes:
        if name not in owners:
            raise UserError(f"{where}: no phrase for class {name!r}{suggest(name, owners)}")
    kept = [i for i, name in enumerate(owners) if name in classes]
    return Phrases((values / norm)[kept], np.array([classes.index(owners[i]) for i in kept]))


@dataclass(frozen=True, eq=False)
class Guide:
    """A frozen CLIP that labels images by phrases. params: on the host."""

    name: str
    params: Any
    confidence: float

    def logits(self, params: Any, text: Any, image: Float[Array, "n h w 3"]) -> Float[Array, "n h w k"]:
        """Its logits at the image's size; `params` may be on the device. text: `{"values", "owner"}`."""
        dense = ClipVision(clip_spec(self.name)).apply({"params": params}, image)["dense"]  # type: ignore[index]
        found = guide_logits(dense, text["values"], text["owner"])
        return jax.lax.stop_gradient(resize_align_corners(found, image.shape[1], image.shape[2]))


def certain(logits: Float[Array, "*shape k"], confidence: float) -> tuple[Int[Array, "*shape"], Float[Array, "*shape"]]:
    """Labels of a guide, and 1 where it is surer than `confidence`, else 0.

    Examples:
      >>> label, weight = certain(jnp.array([[9.0, 0.0], [0.1, 0.0]]), 0.9)
      >>> label.tolist(), weight.tolist()
      ([0, 0], [1.0, 0.0])
    """
    probability = jax.nn.softmax(logits.astype(jnp.float32))
    return probability.argmax(-1).astype(jnp.int32), (probability.max(-1) > confidence).astype(jnp.float32)


def precision(labels: Any, weights: Any, truths: Any) -> tuple[float, int]:
    """Share of certain pixels with a label that a guide calls rightly, and their number; 0 of none.

    Examples:
      >>> precision([np.array([0, 1, 1])], [np.array([1.0, 1.0, 0.0])], [np.array([0, 0, 1])])
      (0.5, 2)
    """
    right = count = 0
    for label, weight, truth in zip(labels, weights, truths, strict=True):
        counted = (np.asarray(weight) > 0) & (np.asarray(truth) != IGNORE)
        right += int((counted & (np.asarray(label) == truth)).sum())
        count += int(counted.sum())
    return (right / count if count else 0.0), count

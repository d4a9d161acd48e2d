"""A person's words on the values of image files: the range of black and white, and the bands that are the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxqc.data.stored import Range
from jaxqc.errors import UserError
from jaxqc.image_config import channels_of, range_of


@dataclass(frozen=True)
class Rendering:
    """The way from a file's values to a picture, where it is not that of the file itself."""

    range: Range | None = None
    """The values of black and white in files of more than 8 bits; None = by the file."""
    channels: tuple[int, ...] = ()
    """The bands that are grey, or red, green and blue, counted from 1; () = by the file."""

    def __bool__(self) -> bool:
        return bool(self.range or self.channels)


BY_FILE = Rendering()
"""Nothing was said: the file's own word counts."""


def rendering_of(options: Any, where: str = "data.") -> Rendering:
    """The rendering of a recipe's section of data, or of flags (`where` "--").

    Raises:
      UserError: no range, or no bands.

    Examples:
      >>> from jaxqc.config import DataConfig
      >>> rendering_of(DataConfig(range=(4095.0,), channels=(4,)))
      Rendering(range=(0.0, 4095.0), channels=(4,))
    """
    values, bands = (tuple(getattr(options, name, ())) for name in ("range", "channels"))
    return Rendering(range_of(values, f"{where}range"), channels_of(bands, f"{where}channels"))


def rendering_of_model(model: Any) -> Rendering:
    """The rendering that a model was trained with, by its recipe or its export's record."""
    found = rendering_of(getattr(getattr(model, "config", None), "data", None))
    meta = getattr(model, "meta", {})
    kept = Rendering(range_of(tuple(meta.get("range", ())), "range"), channels_of(meta.get("channels", ()), "channels"))
    return found or kept


def chosen(values: np.ndarray, channels: Sequence[int], name: str) -> np.ndarray:
    """The bands [h w] or [h w 3] of all those of a file, [h w] or [h w bands].

    Raises:
      UserError: naming the file, where it has fewer.

    Examples:
      >>> chosen(np.arange(4).reshape(1, 1, 4), (4, 2, 1), "a.tif").tolist()
      [[[3, 1, 0]]]
    """
    bands = values if values.ndim == 3 else values[..., None]
    if max(channels) > bands.shape[2]:
        has = f"{bands.shape[2]} channel{'s' * (bands.shape[2] > 1)}"
        flags = "--data.channels (data check and records: --channels)"
        raise UserError(f"{name}: has {has}, and {max(channels)} is asked for; name bands that it has by {flags}")
    return bands[..., [i - 1 for i in channels]] if len(channels) > 1 else bands[..., channels[0] - 1]

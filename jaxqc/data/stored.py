"""Pixel values as a file stores them, with its own word on their range, and the scaling of them to 8 bits."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from jaxqc.errors import UserError

Range = tuple[float, float]
"""The values that mean black and white."""

FAR = 4
"""A set whose largest value is this many times below its type's is taken for one of fewer bits (14 of 16: 4 times)."""


@dataclass(frozen=True)
class Stored:
    """An image as it is stored: grey [h w] or RGB [h w 3], of any numeric type."""

    values: np.ndarray
    stated: Range | None = None
    """The range by the file's own word, where that is not its type's."""
    notes: tuple[str, ...] = ()
    """Parts of the file that are not used, or that were assumed: one line each."""
    inverted: bool = False
    """True: the lowest value means white."""


@dataclass(frozen=True)
class Decoded:
    """An image in 8 bits, and how it was come by."""

    pixels: UInt8[np.ndarray, "h w c"]
    notes: tuple[str, ...] = ()
    """As `Stored.notes`."""
    peak: int | None = None
    """The largest value of 16 bits that were scaled by their type's range alone; None of all other files."""


def scaled(stored: Stored, given: Range | None, name: str) -> Decoded:
    """The image in 8 bits: values scaled over `given`, else the range that the file states, else its type's.

    Floating-point values have the range 0 to 1. Values of 8 bits stay as they are.

    Raises:
      UserError: naming the file, for values outside of that range, and for integers of a type without one.

    Examples:
      >>> scaled(Stored(np.array([[0, 4095]], np.uint16)), (0, 4095), "a.png").pixels[0, :, 0].tolist()
      [0, 255]
    """
    values, notes = stored.values, stored.notes
    if values.dtype == np.uint8:
        pixels = 255 - values if stored.inverted else values
        return Decoded(pixels.reshape(*pixels.shape[:2], -1), notes)
    low, high = values.min(), values.max()
    span = given or stored.stated
    if span and not given and high > span[1]:
        notes += (f"states values up to {span[1]:g} and holds {high}; its type's range was taken",)
        span = None
    kind, bits, bare = values.dtype.kind, 8 * values.dtype.itemsize, span is None
    span = span or ((0.0, 1.0) if kind == "f" else (0.0, 65535.0) if values.dtype == np.uint16 else None)
    if span is None:
        signed = "signed " if kind == "i" else ""
        raise UserError(
            f"{name}: {signed}{bits}-bit pixels have no stated range; fit or train with --data.range, as 0,4095, or"
            " save it with 8 or 16 unsigned bits"
        )
    if kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
        raise UserError(f"{name}: pixels that are no finite numbers (NaN or infinite); fill them and save it again")
    if not (low >= span[0] and high <= span[1]):
        if kind == "f" and bare:
            advice = "fit or train with --data.range, or save it with 8 or 16 bits"
            raise UserError(f"{name}: floating-point pixels outside [0, 1]; {advice}")
        raise UserError(
            f"{name}: values from {low} to {high} go beyond the range {span[0]:g} to {span[1]:g}; fit or train"
            " with a wider --data.range"
        )
    deep = values.dtype == np.uint16
    if deep:
        pixels = _table(*span)[values]
    else:
        step = np.float32(255 / (span[1] - span[0]))
        pixels = np.rint((values.astype(np.float32) - np.float32(span[0])) * step).astype(np.uint8)
    pixels = (255 - pixels if stored.inverted else pixels).reshape(*pixels.shape[:2], -1)
    return Decoded(pixels, notes, int(high) if bare and deep and not stored.inverted else None)


def over_black(values: np.ndarray, alpha: np.ndarray, premultiplied: bool) -> np.ndarray:
    """Pixels [h w] or [h w 3] composited over black, in their own type. alpha: [h w], of the same unsigned type.

    Examples:
      >>> over_black(np.full((1, 2), 200, np.uint16), np.array([[0, 65535]], np.uint16), False).tolist()
      [[0, 200]]
    """
    if premultiplied:
        return values
    top = np.iinfo(values.dtype).max
    wide = np.uint16 if values.dtype == np.uint8 else np.uint64  # large enough for a product
    share = alpha if values.ndim == 2 else alpha[..., None]
    return ((values.astype(wide) * share + wide(top // 2)) // wide(top)).astype(values.dtype)


def far_below(peaks: Sequence[int | None]) -> str:
    """A line on images whose 16 bits seem to hold fewer, by each one's `Decoded.peak`; "" where nothing is odd.

    Examples:
      >>> far_below([4095, 3000, None]).partition(":")[0]
      '2 images hold 16-bit values of at most 4095, 6.2 % of the range'
      >>> far_below([60000, 3])
      ''
    """
    deep = [peak for peak in peaks if peak is not None]
    highest = max(deep, default=0)
    if not 0 < highest <= 65535 // FAR:
        return ""
    top = 2 ** max(8, int(highest).bit_length()) - 1
    return (
        f"{len(deep)} images hold 16-bit values of at most {highest}, {highest / 655.35:.1f} % of the range: they come"
        f" out nearly black; for a camera of {top.bit_length()} bits fit or train with --data.range 0,{top} (data check"
        " and records: --range)"
    )


@functools.lru_cache(maxsize=8)
def _table(low: float, high: float) -> UInt8[np.ndarray, "65536"]:
    """8-bit values of all that 16 bits can hold."""
    share = (np.arange(65536) - low) / (high - low)
    table = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    table.flags.writeable = False
    return table

"""Label Studio's brush strokes: run lengths of bits for a picture of four channels, of which the last is the mask.

A header (32 bits: values; 5: bits a value less 1; four times 4: bits of a length less 1), then runs: a bit (1 = one
value repeated, 0 = as many as follow), 2 bits that choose the length's bits, the length less 1, the value or values.
The code is that of thi.ng/rle-pack, as `label_studio_sdk.converter.brush` reads and writes it; tested against it.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

HEAD = 32 + 5 + 4 * 4
SIZES = (3, 4, 8, 16)
"""Bits of the lengths that are written."""


def decode(data: Sequence[int], height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """The mask: True where the fourth channel is above 0.

    Raises:
      ValueError: no bytes, another number of values than four a pixel, or a stream that ends too early.

    Examples:
      >>> decode(encode(np.array([[True, False]])), 1, 2).tolist()
      [[True, False]]
    """
    try:
        packed = np.asarray(data, np.int64)
        bits = "".join(f"{byte:08b}" for byte in packed.tolist())
    except (TypeError, ValueError, OverflowError) as e:
        raise ValueError("brush strokes are a list of bytes") from e
    if packed.ndim != 1 or ((packed < 0) | (packed > 255)).any() or len(bits) < HEAD:
        raise ValueError("brush strokes are a list of bytes")
    count, size = int(bits[:32], 2), int(bits[32:37], 2) + 1
    if count != 4 * height * width:
        raise ValueError(
            f"the brush strokes hold {count} values, and {width} x {height} pixels need {4 * height * width}"
        )
    sizes = [int(bits[37 + 4 * i : 41 + 4 * i], 2) + 1 for i in range(4)]
    out, at, place = np.zeros(count, np.uint32), HEAD, 0
    while place < count:
        if at + 3 > len(bits):
            raise ValueError("the brush strokes end too early")
        repeated, width_of = bits[at] == "1", sizes[int(bits[at + 1 : at + 3], 2)]
        length = int(bits[at + 3 : at + 3 + width_of] or "0", 2) + 1
        at += 3 + width_of
        values = 1 if repeated else length
        if at + values * size > len(bits) or place + length > count:
            raise ValueError("the brush strokes end too early")
        found = [int(bits[at + i * size : at + (i + 1) * size], 2) for i in range(values)]
        out[place : place + length] = found[0] if repeated else found
        at, place = at + values * size, place + length
    return out.reshape(height, width, 4)[..., 3] > 0


def encode(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """A mask as bytes: each run of equal pixels is one run of 0 or 255 in all four channels.

    Examples:
      >>> len(encode(np.zeros((4, 4), bool)))
      9
    """
    flat = mask.reshape(-1)
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    bits = [f"{4 * flat.size:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        left, value = 4 * (end - start), f"{255 * int(flat[start]):08b}"
        while left:
            length = min(left, 2 ** SIZES[-1])
            which = next(i for i, size in enumerate(SIZES) if length <= 2**size)
            bits.append(f"1{which:02b}{length - 1:0{SIZES[which]}b}{value}")
            left -= length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - 48).tolist()

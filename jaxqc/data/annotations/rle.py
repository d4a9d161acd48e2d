"""COCO's run lengths: counts of 0 and 1 in turn down the columns, as numbers or as their own text.

The text holds five bits a character, from 48 on; from the fourth count on it is the difference to the last but one. As
`pycocotools.mask` reads and writes it (T.-Y. Lin et al., "Microsoft COCO", ECCV 2014), against which it is tested.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def counts_of(text: str | bytes) -> list[int]:
    """The counts in a compressed text.

    Raises:
      ValueError: a character that is none of the code, or a text that ends within a number.

    Examples:
      >>> counts_of("12")
      [1, 2]
    """
    counts: list[int] = []
    value = shift = 0
    open_one = False
    for byte in text.encode() if isinstance(text, str) else text:
        five = byte - 48
        if not 0 <= five < 64:
            raise ValueError(f"{chr(byte)!r} is no run length")
        value |= (five & 31) << shift
        shift += 5
        open_one = bool(five & 32)
        if open_one:
            continue
        if five & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if open_one:
        raise ValueError("the run lengths end within a number")
    return counts


def text_of(counts: Sequence[int]) -> str:
    """Counts as compressed text.

    Examples:
      >>> text_of([1, 2]), counts_of(text_of([7, 900, 3, 40000, 12]))
      ('12', [7, 900, 3, 40000, 12])
    """
    out = []
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            five = value & 31
            value >>= 5
            more = value != (-1 if five & 16 else 0)
            out.append(chr((five | 32 * more) + 48))
            if not more:
                break
    return "".join(out)


def decode(counts: Sequence[int], height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """The mask of run lengths.

    Raises:
      ValueError: a negative count, or counts that do not sum to the pixels.

    Examples:
      >>> decode([1, 2, 1], 2, 2).tolist()
      [[False, True], [True, False]]
    """
    runs = np.asarray(counts, np.int64)
    if runs.size and runs.min() < 0:
        raise ValueError(f"a run length of {runs.min()}")
    if runs.sum() != height * width:
        raise ValueError(f"the run lengths sum to {runs.sum()}, and {width} x {height} pixels are {height * width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def encode(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """The run lengths of a mask; the first counts pixels of 0.

    Examples:
      >>> encode(np.array([[False, True], [True, False]]))
      [1, 2, 1]
    """
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate([[0], edges, [flat.size]])
    counts = np.diff(bounds).tolist()
    return [0, *counts] if flat.size and flat[0] else counts

"""Dense convolutions and their gradients in float64."""

import numpy as np


def shifts(x: np.ndarray, taps: int, stride: int, padding: int) -> list[list[np.ndarray]]:
    """The pixels that each place of the kernel meets, in float64."""
    padded = np.pad(x.astype(np.float64), ((0, 0), *((padding, padding),) * 2, (0, 0)))
    height, width = (side - taps + 1 for side in padded.shape[1:3])
    return [[padded[:, a : a + height : stride, b : b + width : stride] for b in range(taps)] for a in range(taps)]


def plain(x: np.ndarray, kernel: np.ndarray, stride: int = 1, padding: int = 1) -> np.ndarray:
    """Shifted products in float64."""
    seen = shifts(x, len(kernel), stride, padding)
    return np.asarray(sum(seen[a][b] @ kernel[a, b].astype(np.float64) for a, b in np.ndindex(kernel.shape[:2])))


def gradients(x: np.ndarray, kernel: np.ndarray, g: np.ndarray, stride: int, padding: int):
    """dL/dx and dL/dkernel in float64, from g = dL/doutput."""
    taps, g = len(kernel), g.astype(np.float64)
    seen = shifts(x, taps, stride, padding)
    dkernel = np.array([[np.tensordot(part, g, ((0, 1, 2), (0, 1, 2))) for part in row] for row in seen])
    dx = np.zeros(np.add(x.shape, (0, 2 * padding, 2 * padding, 0)))
    height, width = (side - taps + 1 for side in dx.shape[1:3])
    for a, b in np.ndindex(taps, taps):
        dx[:, a : a + height : stride, b : b + width : stride] += g @ kernel[a, b].astype(np.float64).T
    return dx[:, padding : padding + x.shape[1], padding : padding + x.shape[2]], dkernel


def draw(rng: np.random.Generator, shape: tuple[int, ...], outputs: int, taps: int = 3):
    kernel = rng.standard_normal((taps, taps, shape[-1], outputs)) / np.sqrt(taps * taps * shape[-1])
    return rng.standard_normal(shape, np.float32), kernel.astype(np.float32)

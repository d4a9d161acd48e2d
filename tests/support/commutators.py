"""Grey portrait pictures like those of KolektorSDD: dark granular commutators, some with a thin meandering crack.

Good ones differ in light, zones, grain and blemishes (specks, smudges, straight tool marks), so that neither a grey
level nor any odd pixel betrays a crack.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

HEIGHT, WIDTH = 630, 250


def surface(rng: np.random.Generator, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A good surface, float [h w] in grey levels."""
    x, scale = np.linspace(0, 1, width), width / WIDTH
    profile = np.full(width, rng.uniform(55, 95))
    for centre, spread, gain in ((0.12, 0.10, 28), (0.5, 0.22, -14), (0.88, 0.09, 22), (0.33, 0.05, 8)):
        at = centre + rng.normal(0, 0.02)
        profile += gain * rng.uniform(0.6, 1.4) * np.exp(-0.5 * ((x - at) / spread) ** 2)
    streaks = ndimage.gaussian_filter1d(rng.normal(size=width), rng.uniform(1.5, 4))
    profile += rng.uniform(0.5, 2.0) * streaks / streaks.std()
    light = ndimage.gaussian_filter(rng.normal(size=(height, width)), 60 * scale, mode="reflect")
    image = profile[None] * (1 + rng.uniform(0.02, 0.08) * light / light.std())
    for sigma, share in ((rng.uniform(0.6, 0.9), 0.07), (rng.uniform(1.4, 2.2), 0.035), (6.0, 0.02)):
        grain = ndimage.gaussian_filter(rng.normal(size=(height, width)), sigma)
        image *= 1 + share * rng.uniform(0.7, 1.3) * grain / grain.std()
    for _ in range(rng.poisson(6)):  # specks
        spot(image, rng, rng.uniform(0.6, 1.6), rng.uniform(-0.5, 0.6))
    for _ in range(rng.poisson(2)):  # smudges
        spot(image, rng, rng.uniform(6, 18), rng.uniform(-0.12, 0.15))
    for _ in range(rng.poisson(0.7)):  # straight tool marks along the axis
        column, top = rng.uniform(5, width - 5), rng.integers(0, height // 2)
        long = int(rng.uniform(0.1, 0.5) * height)
        image[top : top + long] *= 1 + rng.uniform(-0.08, 0.1) * np.exp(-0.5 * ((np.arange(width) - column) / 1.2) ** 2)
    return image


def spot(image: np.ndarray, rng: np.random.Generator, sigma: float, gain: float) -> None:
    """Brightens or darkens a round spot of the image in place."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width]
    at = rng.uniform(0, height), rng.uniform(0, width)
    image *= 1 + gain * np.exp(-0.5 * ((y - at[0]) ** 2 + (x - at[1]) ** 2) / sigma**2)


def crack(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A surface with a crack of 30 to 200 pixels, 1 to 3 wide, that darkens it by a fifth to a half."""
    height, width = image.shape
    longest = min(200.0, 0.6 * max(height, width))
    length, angle = rng.uniform(30, longest), rng.uniform(-0.6, 0.6) + np.pi * rng.integers(2)
    at = np.array([rng.uniform(0.05, 0.95) * height, rng.uniform(0.1, 0.9) * width])
    line = np.zeros((4 * height, 4 * width), np.float32)  # four times as fine
    gain = 1.0
    for _ in range(int(4 * length)):
        angle += rng.normal(0, 0.09) + (0.25 * rng.normal() if rng.random() < 0.06 else 0)
        at += 0.25 * np.array([np.sin(angle), np.cos(angle)])
        gain = np.clip(gain + rng.normal(0, 0.04), 0.45, 1.0)
        row, column = (4 * at).astype(int)
        if 0 <= row < 4 * height and 0 <= column < 4 * width:
            line[row, column] = gain
    wide = rng.uniform(1.0, 2.4)
    line = ndimage.grey_dilation(line, size=(round(4 * wide), round(4 * wide)))
    line = ndimage.gaussian_filter(line.reshape(height, 4, width, 4).mean((1, 3)), 0.5)
    return image * (1 - rng.uniform(0.2, 0.5) * line)


def write(folder: Path, count: int, seed: int, cracked: bool = False, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """`count` pictures in a flat folder, in the four formats jpg, png, bmp and tif by turns."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        image = surface(rng, *size)
        image = crack(image, rng) if cracked else image
        grey = Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))
        grey.save(
            folder / f"{'cracked' if cracked else 'good'}{i:03}.{('jpg', 'png', 'bmp', 'tif')[i % 4]}", quality=92
        )
    return folder

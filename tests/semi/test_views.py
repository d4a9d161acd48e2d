"""The host's geometric view against a plain rendering: resize whole, pad, crop, flip."""

import numpy as np
import pytest
from PIL import Image

from jaxqc.semi.views import geometric_view


class Fixed(np.random.Generator):
    """Gives the draws that it was made with."""

    def __init__(self, *draws: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.draws = draws

    def random(self, n: int) -> np.ndarray:  # type: ignore[override]
        assert n == len(self.draws)
        return np.array(self.draws)


def pair(rng: np.random.Generator, height: int, width: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    image = rng.integers(0, 256, (height, width, channels)).astype(np.uint8)
    return image, rng.choice([0, 1, 2, 255], (height, width)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(40, 60), (61, 33), (16, 16)])
@pytest.mark.parametrize(
    "draws", [(0.0, 0.3, 0.6, 0.9), (0.2, 0.99, 0.0, 0.1), (0.7, 0.5, 0.5, 0.9), (0.999, 0, 0.999, 0)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_resize_pad_crop_flip(
    shape: tuple[int, int], draws: tuple, channels: int, rng: np.random.Generator
) -> None:
    image, mask = pair(rng, *shape, channels)
    size = 32
    view = geometric_view(image, mask, size, Fixed(*draws))

    factor = 0.5 + 1.5 * draws[0]
    tall, wide = round(shape[0] * factor), round(shape[1] * factor)
    whole = Image.fromarray(image.squeeze()).resize((wide, tall), Image.Resampling.BILINEAR).convert("RGB")
    labels = np.asarray(Image.fromarray(mask).resize((wide, tall), Image.Resampling.NEAREST))
    padded = np.zeros((max(tall, size), max(wide, size), 3), int)
    expected = np.full(padded.shape[:2], 255)
    valid = np.zeros(padded.shape[:2], bool)
    padded[:tall, :wide], expected[:tall, :wide], valid[:tall, :wide] = np.asarray(whole), labels, True
    top, left = int(draws[1] * (len(padded) - size + 1)), int(draws[2] * (padded.shape[1] - size + 1))
    cut = np.s_[top : top + size, left : left + size]
    step = -1 if draws[3] < 0.5 else 1
    assert np.abs(view.image - padded[cut][:, ::step]).max() <= 1
    assert (view.mask == expected[cut][:, ::step]).mean() > 0.93  # a row and a column may tie
    np.testing.assert_array_equal(view.valid, valid[cut][:, ::step])
    assert view.image.dtype == view.mask.dtype == np.uint8


def test_draws_are_uniform() -> None:
    rng = np.random.default_rng(3)
    column = np.arange(64, dtype=np.uint8)
    image = np.broadcast_to(column[None, :, None], (64, 64, 3)).copy()
    mask = np.broadcast_to(column[None], (64, 64)).copy()
    flipped, lefts, filled = [], [], []
    for _ in range(3000):
        view = geometric_view(image, mask, 32, rng)
        row = view.mask[0].astype(int)
        flipped.append(not view.valid[0, 0] or row[0] > row[view.valid[0]][-1])
        lefts.append(row[view.valid[0]].min())
        filled.append(view.valid.mean())
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.03)
    # The long side is 32 to 128: it never falls below the crop, so nothing is padded.
    assert min(filled) == 1
    # Side 64 f, room 64 f − 32, left edge U(0, room) / f: its mean over f ~ U(.5, 2) is 32 − 16 E[1/f].
    assert np.mean(lefts) == pytest.approx(32 - 16 * np.log(4) / 1.5, abs=0.8)


def test_small_images_are_padded(rng: np.random.Generator) -> None:
    image, mask = pair(rng, 10, 20)
    view = geometric_view(image, mask, 48, Fixed(0.3, 0.9, 0.9, 0.9))
    assert view.valid.sum() == round(10 * 0.95) * round(20 * 0.95)
    assert (view.mask[~view.valid] == 255).all()
    assert (view.image[~view.valid] == 0).all()

"""A maker of small data sets on disk, in both layouts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., Path]:
    """`make_set(layout, per_class=2, size=16)`: seeded grey noise images with a bright square each, and its mask."""

    def make(layout: str = "index", per_class: int = 2, size: int = 16, name: str = "set") -> Path:
        root = tmp_path / name
        images, masks = ("images", "masks") if layout == "index" else ("Source Images", "Ground truth")
        ending = "png" if layout == "index" else "bmp"
        (root / images).mkdir(parents=True)
        (root / masks).mkdir()
        rows = ["id,cls,image,mask,split"]
        rng = np.random.default_rng(3)
        for cls in ("In", "Pa", "Sc"):
            for i in range(1, per_class + 1):
                pixels = rng.integers(0, 100, (size, size)).astype(np.uint8)
                mask = np.zeros((size, size), np.uint8)
                mask[i % 4 : i % 4 + 5, 3:9] = 255
                pixels[mask > 0] += 100
                ident = f"{cls}_{i}"
                Image.fromarray(pixels).save(root / images / f"{ident}.{ending}")
                Image.fromarray(mask).save(root / masks / f"{ident}.png")
                split = "val" if i == 1 else "train"
                rows.append(f"{ident},{cls},images/{ident}.png,masks/{ident}.png,{split}")
        if layout == "index":
            (root / "index.csv").write_text("\n".join(rows) + "\n")
        return root

    return make

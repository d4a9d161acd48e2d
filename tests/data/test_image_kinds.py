"""Kinds of image files of the guide's table, made here, and a run on 16-bit images from fit to report."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxqc import api
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.data.decode import read_image, read_size
from jaxqc.data.readers.folder import image_files
from jaxqc.data.synthetic.boards import write_mvtec

HEIGHT, WIDTH = 20, 31
RAMP = np.add.outer(np.arange(HEIGHT) * 5, np.arange(WIDTH) * 3).astype(np.uint8)
COLOUR = np.stack([RAMP, RAMP[::-1], 255 - RAMP], 2)
DEEP = RAMP.astype(np.uint16) * 257


def tiff(array: np.ndarray, **options: object) -> Callable[[Path], None]:
    return lambda file: tifffile.imwrite(file, array, **options)


def pil(array: np.ndarray, mode: str = "", **options: object) -> Callable[[Path], None]:
    image = Image.fromarray(array).convert(mode) if mode else Image.fromarray(array)
    return lambda file: image.save(file, **options)


KINDS: dict[str, tuple[str, Callable[[Path], None], np.ndarray, int]] = {
    "8-bit grey": ("png", pil(RAMP), RAMP, 0),
    "16-bit grey": ("png", pil(DEEP), RAMP, 0),
    "16-bit TIFF in tiles": ("tif", tiff(DEEP, tile=(16, 16)), RAMP, 0),
    "10 bits by their largest value": (
        "tif",
        tiff(RAMP.astype(np.uint16) * 4, extratags=[(281, 3, 1, 1023, True)]),
        RAMP.astype(float) * 1020 / 1023,
        1,
    ),
    "float grey": ("tif", tiff(RAMP.astype(np.float32) / 255), RAMP, 0),
    "BigTIFF": ("tif", tiff(RAMP, bigtiff=True), RAMP, 0),
    "BMP": ("bmp", pil(COLOUR), COLOUR, 0),
    "WebP": ("webp", pil(COLOUR, lossless=True), COLOUR, 0),
    "AVIF": ("avif", pil(COLOUR, quality=100, subsampling="4:4:4"), COLOUR, 6),
    "AVIF without its name": ("dat", pil(COLOUR, format="AVIF", quality=100, subsampling="4:4:4"), COLOUR, 6),
    "JPEG 2000": ("jp2", pil(COLOUR), COLOUR, 0),
    "PNG with alpha": ("png", pil(np.dstack([COLOUR, np.full_like(RAMP, 255)])), COLOUR, 0),
    "CMYK": ("tif", pil(COLOUR, "CMYK"), COLOUR, 1),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_the_table(name: str, tmp_path: Path) -> None:
    ending, save, expected, near = KINDS[name]
    file = tmp_path / f"a.{ending}"
    save(file)
    found = read_image(file).astype(float)
    found = found[..., 0] if found.shape[2] == 1 else found
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= near
    assert read_size(file) == (HEIGHT, WIDTH)
    assert (ending == "dat") == (image_files(tmp_path) == [])


@pytest.mark.parametrize("ending", ["jpg", "tif", "png", "webp", "avif"])
@pytest.mark.parametrize("turn", [3, 6, 8])
def test_turns_are_those_of_exif(ending: str, turn: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = turn
    options = {"lossless": True} if ending == "webp" else {"quality": 100} if ending in ("jpg", "avif") else {}
    Image.fromarray(RAMP).save(tmp_path / f"a.{ending}", exif=exif, **options)
    upright = np.rot90(RAMP, {3: 2, 6: 3, 8: 1}[turn])
    found = read_image(tmp_path / f"a.{ending}")[..., 0].astype(float)
    assert np.abs(found - upright).max() <= 6
    assert read_size(tmp_path / f"a.{ending}") == upright.shape


@pytest.mark.slow
def test_sixteen_bits_from_fit_to_report(tmp_path: Path) -> None:
    """The same boards in 8 and in 12 of 16 bits: the same scores, and pictures that are not black."""
    eight, deep = write_mvtec(tmp_path / "eight", normals=12, defects=3, size=48), tmp_path / "deep"
    for file in eight.rglob("*.png"):
        pixels, other = np.asarray(Image.open(file)), deep / file.relative_to(eight)
        other.parent.mkdir(parents=True, exist_ok=True)
        if "ground_truth" in file.parts:
            other.write_bytes(file.read_bytes())
        else:
            tifffile.imwrite(other.with_suffix(".tif"), pixels.astype(np.uint16) * 16, photometric="rgb")
    scores = {}
    for root, span in ((eight, ()), (deep, (0.0, 4080.0))):
        backbone = BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1,))
        data = FitDataConfig(size=48, range=span)
        config = FitConfig(
            Gaussian(channels=8), backbone=backbone, data=data, decision=DecisionConfig(folds=1), pasted=0
        )
        api.fit(config, root, root / "run", progress=False)
        found = api.inspect(root / "run", root / "test", root / "out", progress=False)
        scores[root] = {Path(line["image"]).stem: line["score"] for line in lines_of(root / "out/findings.jsonl")}
        assert found.report.is_file()
        photos = [np.asarray(Image.open(f)) for f in (root / "out").rglob("*.jpg")]
        assert photos
        assert all(photo.mean() > 30 for photo in photos)
    assert scores[eight] == pytest.approx(scores[deep], rel=1e-5)


def lines_of(file: Path) -> list[dict]:
    import json

    return [json.loads(line) for line in file.read_text().splitlines()]

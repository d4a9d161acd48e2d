"""Bands of files that a person names: the values of every kind of file, and the run that those bands alone give."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxqc import api
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.cli import main
from jaxqc.config import DataConfig, TrainConfig
from jaxqc.data.decode import decode, from_pil, read_image
from jaxqc.data.rendering import Rendering, rendering_of_model
from jaxqc.data.synthetic.boards import write_mvtec
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.overrides import override
from tests.data.test_deep import png16

BANDS = np.random.default_rng(0).integers(0, 256, (12, 20, 7), dtype=np.uint8)


def tiff(count: int, kind: type = np.uint8, **options: Any) -> Callable[[Path], object]:
    values = BANDS[..., :count].astype(kind) * (257 if kind is np.uint16 else 1)
    if options.get("planarconfig") == "separate":
        values = np.moveaxis(values, -1, 0)
    given: dict[str, Any] = {"photometric": "minisblack"} | options
    return lambda file: tifffile.imwrite(file, values, **given)


def pillow(mode: str, **options: Any) -> Callable[[Path], object]:
    count = len(Image.new(mode, (1, 1)).getbands())
    return lambda file: Image.merge(mode, [Image.fromarray(BANDS[..., i]) for i in range(count)]).save(file, **options)


def deep_png(count: int) -> Callable[[Path], object]:
    data = png16(BANDS[..., :count].astype(np.uint16) * 257)
    return lambda file: file.write_bytes(data)


FILES: dict[str, tuple[str, Callable[[Path], object], int]] = {
    "RGB": ("png", pillow("RGB"), 3),
    "grey": ("bmp", pillow("L"), 1),
    "alpha of 8 bits": ("png", pillow("RGBA"), 4),
    "grey and alpha": ("png", pillow("LA"), 2),
    "alpha of 16 bits": ("png", lambda file: file.write_bytes(png16(BANDS[..., :4].astype(np.uint16) * 257)), 4),
    "grey and alpha of 16 bits": (
        "png",
        lambda file: file.write_bytes(png16(BANDS[..., :2].astype(np.uint16) * 257)),
        2,
    ),
    "inks": ("tif", pillow("CMYK"), 4),
    "RGB and near infrared": ("tif", tiff(4, photometric="rgb", extrasamples=["unspecified"]), 4),
    "RGB and transparency": ("tif", tiff(4, photometric="rgb", extrasamples=["unassalpha"]), 4),
    "seven bands of a spectrum": ("tif", tiff(7, planarconfig="contig"), 7),
    "seven planes": ("tif", tiff(7, planarconfig="separate"), 7),
    "five of 16 bits, packed": ("tif", tiff(5, np.uint16, planarconfig="contig", compression="zlib"), 5),
    "five in tiles": ("tif", tiff(5, tile=(16, 16), planarconfig="contig"), 5),
    "BigTIFF": ("tif", tiff(5, bigtiff=True, planarconfig="contig"), 5),
}


@pytest.mark.parametrize("name", FILES)
def test_named_bands_are_the_files_own(name: str, tmp_path: Path) -> None:
    ending, save, count = FILES[name]
    file = tmp_path / f"a.{ending}"
    save(file)
    for wanted in ((count,), (1,), (count, 1, (count + 1) // 2)):
        found = decode(file, rendering=Rendering(channels=wanted))
        np.testing.assert_array_equal(found.pixels, BANDS[..., [i - 1 for i in wanted]])
        assert not found.notes
    beyond = rf"a\.{ending}: has {count} channels?, and {count + 1} is asked for; name bands"
    with pytest.raises(UserError, match=beyond):
        read_image(file, rendering=Rendering(channels=(count + 1,)))


def test_bands_are_turned_and_scaled_as_all_others(tmp_path: Path) -> None:
    camera = BANDS[..., :5].astype(np.uint16) * 16
    tifffile.imwrite(tmp_path / "a.tif", camera, photometric="minisblack", planarconfig="contig",
                     extratags=[(274, 3, 1, 6, True)])  # fmt: skip
    found = read_image(tmp_path / "a.tif", rendering=Rendering((0, 4080), (5,)))
    np.testing.assert_array_equal(found[..., 0], np.rot90(BANDS[..., 4], -1))
    white = np.dstack([BANDS[..., 0]] * 2)
    tifffile.imwrite(tmp_path / "w.tif", white, photometric="miniswhite", extrasamples=["unspecified"])
    assert (read_image(tmp_path / "w.tif", rendering=Rendering(channels=(2,)))[..., 0] == 255 - BANDS[..., 0]).all()


def test_an_image_of_pillows_and_a_palette(tmp_path: Path) -> None:
    image = Image.fromarray(BANDS[..., :4], "RGBA")
    np.testing.assert_array_equal(from_pil(image, rendering=Rendering(channels=(4,)))[..., 0], BANDS[..., 3])
    colours = image.convert("RGB").quantize(16)
    colours.save(tmp_path / "p.png")
    blue = read_image(tmp_path / "p.png", rendering=Rendering(channels=(3,)))
    np.testing.assert_array_equal(blue[..., 0], np.asarray(colours.convert("RGB"))[..., 2])


def test_the_setting_is_checked_and_goes_with_the_model() -> None:
    config = override(TrainConfig(), ["--data.channels", "4,2,1"])
    assert rendering_of_model(SimpleNamespace(config=config, meta={})) == Rendering(channels=(4, 2, 1))
    assert rendering_of_model(SimpleNamespace(meta={"channels": [4]})) == Rendering(channels=(4,))
    for bad in ((1, 2), (0,), (1, 2, 3, 4)):
        with pytest.raises(UserError, match=r"data\.channels: .*: give one band, or three as red, green and blue"):
            validate(TrainConfig(data=DataConfig(channels=bad)))


def test_data_check_takes_bands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiff(5, planarconfig="contig")(tmp_path / "a.tif")
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "--data.channels" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path), "--channels", "5,2,1"]) == 0
    assert main(["data", "check", str(tmp_path), "--channels", "two"]) == 2
    assert "--channels: two are no numbers; give bands counted from 1" in capsys.readouterr().err


@pytest.mark.slow
def test_a_fit_to_a_fourth_band_is_that_to_the_band_alone(tmp_path: Path) -> None:
    """Fit, evaluation, prediction and inspection; the other bands are noise."""
    alone, four = write_mvtec(tmp_path / "alone", normals=12, defects=3, size=48), tmp_path / "four"
    rng = np.random.default_rng(0)
    for file in [*alone.rglob("*.png")]:
        other = four / file.relative_to(alone)
        other.parent.mkdir(parents=True, exist_ok=True)
        if "ground_truth" in file.parts:
            other.write_bytes(file.read_bytes())
            continue
        grey = np.asarray(Image.open(file).convert("L"))
        Image.fromarray(grey).save(file)
        noise = rng.integers(0, 256, (*grey.shape, 3), dtype=np.uint8)
        tifffile.imwrite(other.with_suffix(".tif"), np.dstack([noise, grey]), photometric="rgb",
                         extrasamples=["unspecified"])  # fmt: skip
    scores, found = {}, {}
    for root, bands in ((alone, ()), (four, (4,))):
        config = FitConfig(
            Gaussian(channels=8),
            backbone=BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1,)),
            data=FitDataConfig(size=48, channels=bands),
            decision=DecisionConfig(folds=1),
            pasted=0,
        )
        api.fit(config, root, root / "run", progress=False)
        api.inspect(root / "run", root / "test", root / "out", progress=False)
        lines = [json.loads(line) for line in (root / "out/findings.jsonl").read_text().splitlines()]
        scores[root] = {Path(line["image"]).with_suffix("").as_posix(): line["score"] for line in lines}
        file = next((root / "test").rglob("0*.*"))
        found[root] = api.load(root / "run").predict(str(file))
        assert main(["evaluate", "--checkpoint", str(root / "run"), "--data", str(root)]) == 0
    assert scores[alone] == pytest.approx(scores[four], rel=1e-5)
    np.testing.assert_allclose(np.asarray(found[alone]), np.asarray(found[four]), rtol=1e-5)

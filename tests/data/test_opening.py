"""Opening: further pages and frames are refused, remarks do not matter, an end is not pixels."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin, TiffImagePlugin

from jaxqc.data.decode import decode, read_image, read_size
from jaxqc.data.decode_masks import read_mask
from jaxqc.data.opening import ignore_warnings
from jaxqc.errors import UserError

SHOTS = [Image.fromarray(np.full((9, 12), value, np.uint8)) for value in (10, 20, 30)]


def several(file: Path, **options: object) -> Path:
    SHOTS[0].save(file, save_all=True, append_images=SHOTS[1:], **options)
    return file


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.tif", {}),
        ("b.tif", {"big_tiff": True}),
        ("c.gif", {}),
        ("d.png", {}),
        ("e.webp", {"lossless": True}),
        ("f.jpg", {"format": "MPO"}),
    ],
)
def test_further_pages_and_frames_are_named(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    file = several(tmp_path / name, **options)
    for read in (read_image, read_mask, read_size):
        with pytest.raises(UserError, match=rf"{name}: a file of 3 (pages|frames|images), .* save each as a file"):
            read(file)


def test_the_slices_of_a_volume_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    for values in (np.zeros((4, 9, 12), np.uint8), np.zeros((4, 9, 12), np.uint16)):
        tifffile.imwrite(file, values, volumetric=True, photometric="minisblack")
        with pytest.raises(UserError, match=r"a\.tif: a file of 4 pages"):
            read_image(file)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"\0\0\0\x1cftypheic\0", "HEIC, which is not read"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"hello, world", "not an image .begins with"),
    ],
)
def test_what_a_file_is_instead_of_an_image(start: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(start)
    with pytest.raises(UserError, match=rf"a\.png: .*{said}.*; give PNG"):
        read_image(tmp_path / "a.png")


def test_a_second_pnm_image_is_named(tmp_path: Path) -> None:
    for number, image in enumerate([b"P5 3 2 255\nabcdef", b"P6 1 1 4095\nabcdef", b"P4 9 1\nab"]):
        file = tmp_path / f"{number}.pnm"
        file.write_bytes(image)
        assert read_image(file).size
        file.write_bytes(2 * image)
        with pytest.raises(UserError, match="a file of 2 images"):
            read_image(file)


def test_thumbnails_are_no_pages(tmp_path: Path) -> None:
    thumbnail = TiffImagePlugin.ImageFileDirectory_v2()
    thumbnail[254] = 1
    with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / "a.tif"), new=True) as file:
        SHOTS[0].save(file, format="TIFF")
        file.newFrame()
        SHOTS[1].resize((4, 3)).save(file, format="TIFF", tiffinfo=thumbnail)
    assert read_image(tmp_path / "a.tif").max() == 10
    small = SHOTS[2].resize((4, 3))
    SHOTS[0].save(tmp_path / "b.jpg", format="MPO", save_all=True, append_images=[small])  # as a phone's gain map
    assert read_image(tmp_path / "b.jpg").shape == (9, 12, 1)


def test_a_png_with_large_remarks(tmp_path: Path) -> None:
    remarks = PngImagePlugin.PngInfo()
    remarks.add_text("log", "x" * 3_000_000, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    SHOTS[0].save(tmp_path / "text.png", pnginfo=remarks, exif=exif)
    assert read_image(tmp_path / "text.png").shape == (12, 9, 1)
    SHOTS[0].save(tmp_path / "profile.png", icc_profile=bytes(2**21))
    assert (read_image(tmp_path / "profile.png") == 10).all()
    data = (tmp_path / "profile.png").read_bytes()
    late = struct.pack(">I", 4) + b"tEXt" + b"a\0bc" + struct.pack(">I", zlib.crc32(b"tEXta\0bc") ^ 1)
    (tmp_path / "late.png").write_bytes(data[:-12] + late + data[-12:])  # after the pixels, with a wrong sum
    assert (read_image(tmp_path / "late.png") == 10).all()
    body = b"zTXt" + b"a\0\0" + zlib.compress(bytes(3_000_000))
    late = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    SHOTS[0].save(tmp_path / "plain.png")
    data = (tmp_path / "plain.png").read_bytes()
    (tmp_path / "late.png").write_bytes(data[:-12] + late + data[-12:])  # too large for Pillow
    assert (read_image(tmp_path / "late.png") == 10).all()
    assert read_size(tmp_path / "late.png") == (9, 12)
    deep = cv2.imencode(".png", np.full((9, 12, 3), 257 * 10, np.uint16))[1].tobytes()
    (tmp_path / "deep.png").write_bytes(deep[:-12] + late + deep[-12:])
    assert (read_image(tmp_path / "deep.png") == 10).all()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_marker(tmp_path: Path, progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    file = tmp_path / "a.jpg"
    Image.fromarray(noise).save(file, progressive=progressive)
    data, pixels = file.read_bytes(), read_image(file)
    file.write_bytes(data[:-2])
    found = decode(file)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.notes == ("the end marker is missing; every pixel is there",)
    for missing in (3, 4, 8, 20, 200, 1000):
        file.write_bytes(data[:-missing])
        with pytest.raises(UserError, match=r"a\.jpg: .*truncated"):
            read_image(file)


def test_library_warnings_stay_out_of_the_output(tmp_path: Path) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a description of some length"
    SHOTS[0].save(file, "JPEG", exif=exif.tobytes()[:-20])
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        assert read_image(tmp_path / "a.jpg").shape == (9, 12, 1)
        assert seen
        seen.clear()
        ignore_warnings()
        assert read_image(tmp_path / "a.jpg").shape == (9, 12, 1)
        assert not seen


def test_the_pixel_limit_names_no_setting(tmp_path: Path) -> None:
    SHOTS[0].save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"12 x 9 pixels is above the limit of 99, .*; make it smaller or cut it"):
        read_image(tmp_path / "a.png", max_pixels=99)

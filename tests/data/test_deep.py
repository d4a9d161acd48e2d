"""Files of more than 8 bits: range by the file's word, TIFF types and bands, black and white the right way round."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from jaxqc.data.decode import decode, read_image
from jaxqc.data.decode_masks import read_mask, read_values
from jaxqc.data.rendering import Rendering
from jaxqc.errors import UserError

GREY = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
CAMERA = GREY.astype(np.uint16) * 17 + 5
"""Values of a camera of 12 bits."""
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], -1)


def tif(file: Path, values: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(file, values, **({"photometric": "minisblack"} | options))
    return file


def png16(values: np.ndarray, significant: int = 0) -> bytes:
    """A PNG of 16 bits made by hand from its specification."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    bands = 1 if values.ndim == 2 else values.shape[2]
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    said = chunk(b"sBIT", bytes([significant] * bands)) if significant else b""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = chunk(b"IHDR", head) + said + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_camera_depth_by_the_files_word(tmp_path: Path) -> None:
    want = np.rint(CAMERA / 4095 * 255).astype(np.uint8)[..., None]
    (tmp_path / "a.png").write_bytes(png16(CAMERA, significant=12))
    tif(tmp_path / "b.tif", CAMERA, extratags=[(281, 3, 1, 4095, True)])
    for name in ("a.png", "b.tif"):
        found = decode(tmp_path / name)
        np.testing.assert_array_equal(found.pixels, want)
        assert found.peak is None
    # As the specification wants them: moved up to 16 bits, also where all are dark.
    for values in (CAMERA << 4 | CAMERA >> 8, np.minimum(CAMERA, 200) << 4):
        (tmp_path / "c.png").write_bytes(png16(values, significant=12))
        np.testing.assert_array_equal(read_image(tmp_path / "c.png")[..., 0], np.rint(values / 257))


def test_a_setting_goes_before_and_silence_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png16(CAMERA))
    assert decode(file).peak == CAMERA.max()
    np.testing.assert_array_equal(
        decode(file, rendering=Rendering((0, 4095))).pixels[..., 0], np.rint(CAMERA / 4095 * 255)
    )
    with pytest.raises(UserError, match=r"a\.png: values from 5 to 4068 go beyond the range 0 to 1023"):
        decode(file, rendering=Rendering((0, 1023)))
    # A largest value that is this one image's says nothing about white; one that is exceeded is not believed.
    assert decode(tif(tmp_path / "b.tif", CAMERA, extratags=[(281, 3, 1, 4068, True)])).peak == 4068
    found = decode(tif(tmp_path / "c.tif", CAMERA, extratags=[(281, 3, 1, 1023, True)]))
    assert found.peak == 4068
    assert found.notes == ("states values up to 1023 and holds 4068; its type's range was taken",)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits(tmp_path: Path, bits: int) -> None:
    values = np.arange(64).reshape(8, 8) * (2**bits // 64) + 3
    packed = int("".join(f"{v:0{bits}b}" for v in values.ravel()), 2).to_bytes(8 * bits, "big")
    tags = [(256, 8), (257, 8), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, len(packed))]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + struct.pack("<H", len(tags))
    (tmp_path / "a.tif").write_bytes(head + rows + struct.pack("<I", 0))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], np.rint(values / (2**bits - 1) * 255))


def test_sixteen_bits_in_colour_keep_what_they_hold(tmp_path: Path) -> None:
    deep = COLOUR.astype(np.uint16) * 251 + 100
    alpha = np.full((12, 20, 1), 13107, np.uint16)  # one fifth
    want, fifth = np.rint(deep / 257), np.rint(np.rint(deep / 5) / 257)
    (tmp_path / "a.png").write_bytes(png16(deep))
    (tmp_path / "b.png").write_bytes(png16(np.dstack([deep, alpha])))
    (tmp_path / "c.png").write_bytes(png16(np.dstack([deep[..., :1], alpha])))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), want)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), fifth)
    np.testing.assert_array_equal(read_image(tmp_path / "c.png"), fifth[..., :1])
    for number, options in enumerate([{}, {"compression": "zlib"}, {"planarconfig": "separate"}]):
        stored = np.moveaxis(deep, -1, 0) if "planarconfig" in options else deep
        file = tif(tmp_path / f"{number}.tif", stored, photometric="rgb", **options)
        np.testing.assert_array_equal(read_image(file), want)


def test_a_fourth_band_that_is_no_transparency(tmp_path: Path) -> None:
    for kind in (np.uint8, np.uint16):
        bands = (np.dstack([COLOUR, GREY]).astype(np.uint32) * np.iinfo(kind).max // 255).astype(kind)
        file = tif(tmp_path / "a.tif", bands, photometric="rgb", extrasamples=["unspecified"])
        assert decode(file).notes == ("1 of 4 bands are not used",)
        np.testing.assert_array_equal(decode(file).pixels, COLOUR)
        unsaid = file.read_bytes().replace(struct.pack("<HHI", 338, 3, 1), struct.pack("<HHI", 339, 3, 1))
        file.write_bytes(unsaid.replace(struct.pack("<HHIHH", 339, 3, 1, 0, 0), struct.pack("<HHIHH", 339, 3, 1, 1, 0)))
        np.testing.assert_array_equal(decode(file).pixels, COLOUR)
        straight = tif(tmp_path / "b.tif", bands, photometric="rgb", extrasamples=["unassalpha"])
        np.testing.assert_array_equal(read_image(straight), np.rint(COLOUR * (GREY / 255)[..., None]))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64])
def test_white_is_zero(tmp_path: Path, kind: type) -> None:
    top = 1 if np.dtype(kind).kind == "f" else np.iinfo(kind).max
    values = GREY.astype(np.float64) / 255 * top
    file = tif(tmp_path / "a.tif", values.astype(kind), photometric="miniswhite", extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_array_equal(read_image(file)[..., 0], np.rot90(255 - GREY, -1))
    if top == 255:  # two bands, which Pillow does not open
        two = tif(tmp_path / "b.tif", np.dstack([GREY, GREY]), photometric="miniswhite", extrasamples=["unspecified"])
        np.testing.assert_array_equal(read_image(two)[..., 0], 255 - GREY)


def test_other_sample_types(tmp_path: Path) -> None:
    for kind in (np.float16, np.float64):
        np.testing.assert_array_equal(read_image(tif(tmp_path / "a.tif", (GREY / 255).astype(kind)))[..., 0], GREY)
    for kind, word in ((np.int16, "signed 16"), (np.int32, "signed 32"), (np.uint32, "32")):
        file = tif(tmp_path / "b.tif", GREY.astype(kind))
        with pytest.raises(UserError, match=rf"b\.tif: {word}-bit pixels have no stated range; fit or train with --"):
            read_image(file)
        np.testing.assert_array_equal(decode(file, rendering=Rendering((0, 255))).pixels[..., 0], GREY)
        np.testing.assert_array_equal(read_values(file)[0], GREY)  # labels need no range
    assert read_mask(tif(tmp_path / "m.tif", (GREY > 99).astype(np.float64))).sum() == 140
    assert read_image(tif(tmp_path / "big.tif", GREY, bigtiff=True)).shape == (12, 20, 1)


def test_bands_without_a_stated_colour(tmp_path: Path) -> None:
    three = decode(tif(tmp_path / "3.tif", COLOUR, planarconfig="contig"))
    np.testing.assert_array_equal(three.pixels, COLOUR)
    assert "without a stated colour" in three.notes[0]
    for count in (4, 5, 7):
        file = tif(tmp_path / f"{count}.tif", np.dstack([GREY] * count), planarconfig="contig")
        with pytest.raises(UserError, match=rf"TIFF of {count} bands of 8 bits.* not grey or RGB"):
            read_image(file)
    seven = np.dstack([COLOUR, *[GREY] * 4])
    assert decode(tif(tmp_path / "rgb.tif", seven, photometric="rgb")).notes == ("4 of 7 bands are not used",)


def test_damaged_deep_files(tmp_path: Path) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((40, 40)))
    (tmp_path / "a.tif").write_bytes(file.getvalue()[:-3000])
    (tmp_path / "b.png").write_bytes(png16(COLOUR.astype(np.uint16))[:-40])
    for name in ("a.tif", "b.png"):
        with pytest.raises(UserError, match=rf"{name}: "):
            read_image(tmp_path / name)

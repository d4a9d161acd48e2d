"""Decoding: every kind of file has a defined answer, and no bytes whatever raise anything but UserError."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.data.decode import MAX_PIXELS, read_image
from jaxqc.data.decode_masks import read_mask
from jaxqc.data.resizing import resize_image, resize_mask
from jaxqc.errors import UserError

GREY = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], -1)


def save(path: Path, array: np.ndarray | Image.Image, **options: object) -> Path:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **options)
    return path


def png(width: int, height: int, depth: int, rows: bytes, colour: int = 0) -> bytes:
    """A PNG made by hand from its specification."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "gif", "pgm"])
def test_grey_is_exact_with_one_channel(tmp_path: Path, ending: str) -> None:
    got = read_image(save(tmp_path / f"a.{ending}", GREY))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, GREY[..., None])


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm", "webp", "jp2"])
def test_colour_is_exact_with_three_channels(tmp_path: Path, ending: str) -> None:
    options = {"lossless": True} if ending == "webp" else {}
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a.{ending}", COLOUR, **options)), COLOUR)


def test_the_extension_may_lie(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY).rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg")[..., 0], GREY)


def test_sixteen_bits_are_scaled_over_the_full_range(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    want = np.rint(deep / 257).astype(np.uint8)[..., None]
    for ending in ("png", "tif"):
        np.testing.assert_array_equal(read_image(save(tmp_path / f"a.{ending}", deep)), want)
    (tmp_path / "big.pgm").write_bytes(b"P5 8 1 65535\n" + deep.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "big.pgm"), want)


def test_palettes(tmp_path: Path) -> None:
    indices = Image.fromarray(np.array([[0, 1], [1, 2]], np.uint8), "L").convert("P")
    colour, grey = indices.copy(), indices.copy()
    colour.putpalette([10, 20, 30, 200, 0, 0, 0, 90, 0])
    grey.putpalette([7, 7, 7, 99, 99, 99, 250, 250, 250])
    got = read_image(save(tmp_path / "c.png", colour))
    np.testing.assert_array_equal(got, [[[10, 20, 30], [200, 0, 0]], [[200, 0, 0], [0, 90, 0]]])
    np.testing.assert_array_equal(read_image(save(tmp_path / "g.png", grey))[..., 0], [[7, 99], [99, 250]])


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    for name in ("a.jpg", "a.tif"):
        got = read_image(save(tmp_path / name, Image.fromarray(flat).convert("CMYK")))
        assert got.shape == flat.shape
        assert np.abs(got.astype(int) - flat).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    # What the viewer should see, by the EXIF specification's table of (row 0, column 0).
    upright = {
        1: GREY,
        2: GREY[:, ::-1],
        3: GREY[::-1, ::-1],
        4: GREY[::-1],
        5: GREY.T,
        6: np.rot90(GREY, -1),
        7: GREY[::-1, ::-1].T,
        8: np.rot90(GREY),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read_image(save(tmp_path / name, GREY, exif=exif))[..., 0], upright)
    mask = save(tmp_path / "m.png", (GREY > 99).astype(np.uint8) * 255, exif=exif)
    np.testing.assert_array_equal(read_mask(mask), upright > 99)


def test_alpha_is_composited_over_black(tmp_path: Path) -> None:
    alpha = np.full(GREY.shape, 51, np.uint8)  # one fifth
    alpha[0] = 255
    want = np.rint(COLOUR * (alpha / 255)[..., None])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", np.dstack([COLOUR, alpha]))), want)
    got = read_image(save(tmp_path / "la.png", Image.fromarray(np.dstack([GREY, alpha]), "LA")))
    np.testing.assert_array_equal(got[..., 0], np.rint(GREY * (alpha / 255)))


def test_one_bit_and_one_pixel(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", GREY > 99))[..., 0], (GREY > 99) * 255)
    assert read_image(save(tmp_path / "b.png", GREY[:1, 5:6])).tolist() == [[[5]]]


def test_floating_point_needs_the_unit_range(tmp_path: Path) -> None:
    values = np.array([[0, 0.5, 1]], np.float32)
    assert read_image(save(tmp_path / "a.tif", values))[0, :, 0].tolist() == [0, 128, 255]
    for factor, reason in ((300, "floating-point"), (-1, "floating-point"), (np.nan, "NaN"), (np.inf, "NaN")):
        with pytest.raises(UserError, match=rf"bad\.tif: .*{reason}"):
            read_image(save(tmp_path / "bad.tif", np.array([[0.5, 1]], np.float32) * np.float32(factor)))
    with pytest.raises(UserError, match=r"int\.tif: signed 32-bit"):
        read_image(save(tmp_path / "int.tif", np.array([[1, 2]], np.int32)))


def test_damaged_files_name_file_and_reason(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    good = save(file, COLOUR).read_bytes()
    cases = {
        b"": "empty file",
        good[:60]: "cannot be read|damaged",
        good[:20]: "damaged|cannot",
        b"hello": "not an image",
    }
    for content, reason in cases.items():
        file.write_bytes(content)
        with pytest.raises(UserError, match=rf"a\.png: .*({reason})"):
            read_image(file)
    jpeg = save(tmp_path / "b.jpg", np.kron(COLOUR, np.ones((9, 9, 1), np.uint8)))
    jpeg.write_bytes(jpeg.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"b\.jpg: .*truncated"):
        read_image(jpeg)


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(UserError, match="not a regular file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")  # opening it would block for ever
    with pytest.raises(UserError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")


@pytest.mark.skipif(os.name != "posix", reason="byte names")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    good = os.fsencode(tmp_path) + b"/\xff\xe4.png"
    Path(os.fsdecode(good)).write_bytes(save(tmp_path / "a.png", GREY).read_bytes())
    np.testing.assert_array_equal(read_image(os.fsdecode(good))[..., 0], GREY)
    Path(os.fsdecode(good)).write_bytes(b"")
    with pytest.raises(UserError) as e:
        read_image(os.fsdecode(good))
    assert str(e.value).encode("ascii")  # can be printed anywhere
    assert r"\udcff\udce4.png: empty file" in str(e.value)


def test_long_images_are_read_and_bombs_refused_from_the_header(tmp_path: Path) -> None:
    (tmp_path / "long.png").write_bytes(png(20_000, 300, 1, (b"\0" + b"\xf0" * 2500) * 300))
    assert read_image(tmp_path / "long.png").shape == (300, 20_000, 1)
    (tmp_path / "bomb.png").write_bytes(png(20_000, 20_000, 8, b""))  # would fail as truncated if it were decoded
    with pytest.raises(UserError, match=r"bomb\.png: 20000 x 20000 pixels is above the limit of 200,000,000"):
        read_image(tmp_path / "bomb.png")
    # Above Pillow's own limits the argument alone decides: the file is now decoded, and found truncated.
    with pytest.raises(UserError, match=r"bomb\.png: .*(truncated|cannot be read|damaged)"):
        read_image(tmp_path / "bomb.png", max_pixels=2 * MAX_PIXELS)
    with pytest.raises(UserError, match="limit of 239"):
        read_mask(save(tmp_path / "a.png", GREY), max_pixels=239)
    assert read_image(tmp_path / "a.png", max_pixels=240).size == 240


SQUARE = np.zeros((8, 10), np.uint8)
SQUARE[2:5, 3:7] = 1


DEEP = SQUARE.astype(np.uint16)


@pytest.mark.parametrize(
    "stored",
    [
        SQUARE * 255,
        SQUARE > 0,
        SQUARE,
        SQUARE * 129 + 100,
        DEEP * 65535,
        DEEP,
        DEEP * 255,
        np.dstack([SQUARE * 255] * 3),
    ],
    ids=["255", "1-bit", "0-1", "soft", "16-bit", "16-bit 0-1", "16-bit 255", "rgb"],
)
def test_masks(tmp_path: Path, stored: np.ndarray) -> None:
    got = read_mask(save(tmp_path / "m.png", stored))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, SQUARE)


def test_mask_threshold_is_above_128(tmp_path: Path) -> None:
    assert read_mask(save(tmp_path / "m.png", np.array([[0, 127, 128, 129, 255]], np.uint8))).tolist() == [
        [0, 0, 0, 1, 1]
    ]
    deep = np.array([[0, 128 * 257, 129 * 257, 65535]], np.uint16)
    assert read_mask(save(tmp_path / "d.png", deep)).tolist() == [[0, 0, 1, 1]]


def test_mask_with_a_palette_or_alpha(tmp_path: Path) -> None:
    indexed = Image.fromarray(SQUARE, "L").convert("P")
    indexed.putpalette([0, 0, 0, 128, 0, 0])  # the VOC palette: index 1 is dark red
    np.testing.assert_array_equal(read_mask(save(tmp_path / "p.png", indexed)), SQUARE)
    indexed.putpalette([0, 0, 0, 255, 255, 255])
    np.testing.assert_array_equal(read_mask(save(tmp_path / "q.png", indexed)), SQUARE)
    white = np.dstack([np.full(SQUARE.shape, 255, np.uint8)] * 3 + [SQUARE * 255])
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", white)), SQUARE)


def test_lossy_masks_are_thresholded(tmp_path: Path) -> None:
    large = np.kron(SQUARE, np.ones((16, 16), np.uint8))
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.jpg", large * 255, quality=60)), large)


def test_masks_that_are_not_binary_are_refused(tmp_path: Path) -> None:
    for bad in (np.arange(12, dtype=np.uint8).reshape(3, 4), SQUARE * 128):
        with pytest.raises(UserError, match=r"m\.png: not a binary mask: no value above 128 \(values 0, "):
            read_mask(save(tmp_path / "m.png", bad))
    red = np.dstack([SQUARE * 255, SQUARE * 0, SQUARE * 0])
    with pytest.raises(UserError, match=r"r\.png: a mask in colour"):
        read_mask(save(tmp_path / "r.png", red))


def test_resizing_keeps_image_and_mask_aligned() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 15:45] = 1
    image = np.dstack([mask * 200] * 3)
    small_image, small_mask = resize_image(image, 20), resize_mask(mask, 20)
    assert small_image.shape == (20, 20, 3)
    want = np.zeros((20, 20), np.uint8)
    want[5:15, 5:15] = 1
    np.testing.assert_array_equal(small_mask, want)
    np.testing.assert_array_equal(small_image[..., 0] > 100, want > 0)
    assert resize_image(image[..., :1], 33).shape == (33, 33, 1)
    assert resize_mask(mask[:40, :40], 40).tolist() == mask[:40, :40].tolist()

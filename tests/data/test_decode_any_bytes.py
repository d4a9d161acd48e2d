"""Whatever bytes a file holds, decoding gives pixels or one clear error: random bytes, and valid files mutated."""

import io
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxqc.data.decode import DECODERS, read_image
from jaxqc.data.decode_masks import read_mask
from jaxqc.errors import UserError
from tests.data.test_decode import COLOUR, GREY


def _valid_files() -> list[bytes]:
    """One small file of each kind, as seeds to mutate."""
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = Image.fromarray(GREY).convert("P")
    cases: list[tuple[str, object, dict[str, object]]] = [
        ("PNG", COLOUR, {"exif": exif}),
        ("PNG", palette, {"transparency": 3}),
        ("PNG", GREY.astype(np.uint16) * 257, {}),
        ("JPEG", COLOUR, {"exif": exif}),
        ("JPEG", Image.fromarray(COLOUR).convert("CMYK"), {}),
        ("BMP", GREY, {}),
        ("TIFF", COLOUR, {"compression": "tiff_lzw"}),
        ("TIFF", GREY.astype(np.float32) / 255, {}),
        ("GIF", palette, {}),
        ("WEBP", COLOUR, {}),
        ("JPEG2000", COLOUR, {}),
        ("PPM", COLOUR, {}),
    ]
    out = []
    for kind, pixels, options in cases:
        file = io.BytesIO()
        (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, kind, **options)
        out.append(file.getvalue())
    return out


VALID = _valid_files()


def assert_decoded_or_refused(file: Path, content: bytes) -> None:
    """Reads give uint8 pixels of a sane shape, or UserError naming the file; nothing else."""
    file.write_bytes(content)
    for read, dims in ((read_image, 3), (read_mask, 2)):
        try:
            got = read(file, max_pixels=100_000)
        except UserError as e:
            assert "fuzz" in str(e)  # noqa: PT017
            assert "\n" not in str(e)  # noqa: PT017
        else:
            assert got.dtype == np.uint8
            assert got.ndim == dims
            assert 0 < got.size <= 300_000


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(start=st.sampled_from([b"", *(m for m, _ in DECODERS)]), rest=st.binary(max_size=300))
def test_random_bytes(tmp_path: Path, start: bytes, rest: bytes) -> None:
    assert_decoded_or_refused(tmp_path / "fuzz.png", start + rest)


@FUZZ
@given(
    content=st.sampled_from(VALID),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    head_edits=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=3),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_mutations_of_valid_files(
    tmp_path: Path, content: bytes, edits: list[tuple[float, int]], head_edits: list[tuple[int, int]], keep: float
) -> None:
    data = bytearray(content)
    for place, value in edits:
        data[int(place * len(data))] = value
    for at, value in head_edits:
        data[min(at, len(data) - 1)] = value
    assert_decoded_or_refused(tmp_path / "fuzz.png", bytes(data[: round(keep * len(data))]))

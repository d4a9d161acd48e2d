"""Opening any layout by its path, `data check` on stores, and a TFDS set's features by name: API and command line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.cli import main
from jaxqc.data.check import check_path
from jaxqc.data.load import load_arrays
from jaxqc.data.open import Keys, mask_values, open_data
from jaxqc.data.records import write_records
from jaxqc.data.synthetic.boards import write_mvtec
from jaxqc.data.synthetic.plates import write_sd900
from jaxqc.errors import UserError
from tests.support.foreign_tfds import pets


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    return write_sd900(tmp_path / "plates", 9, 48, seed=1)


def test_every_layout_gives_the_same_samples(plates: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = open_data(plates)
    write_records(files, tmp_path / "plates.array_record")
    assert main(["data", "tfds", str(plates), str(tmp_path / "sets")]) == 0
    prepared = Path(capsys.readouterr().out.rsplit("prepared ", 1)[1].strip())
    truth = {i: image for i, image in zip(files_ids(files), load_arrays(files).images, strict=True)}
    for path in (tmp_path / "plates.array_record", prepared):
        data = load_arrays(open_data(path))
        assert sorted(data.ids) == sorted(truth)
        for i, image in zip(data.ids, data.images, strict=True):
            np.testing.assert_array_equal(image, truth[i])


def files_ids(dataset) -> list[str]:
    return [sample.id for sample in dataset.samples]


def test_the_check_reads_stored_samples(plates: Path, tmp_path: Path) -> None:
    by_file = check_path(plates)
    file = tmp_path / "plates.array_record"
    write_records(open_data(plates), file)
    by_record = check_path(file)
    assert (by_record.counts, by_record.sizes, by_record.channels) == (by_file.counts, by_file.sizes, by_file.channels)
    assert by_record.foreground == pytest.approx(by_file.foreground)
    assert by_record.ok
    assert {p.kind for p in by_record.problems} == {p.kind for p in by_file.problems}


def test_a_damaged_record_is_found(plates: Path, tmp_path: Path) -> None:
    file = tmp_path / "plates.array_record"
    write_records(open_data(plates), file)
    content = bytearray(file.read_bytes())
    content[2000:2100] = bytes(100)  # within the first samples' pixels
    file.write_bytes(bytes(content))
    assert main(["data", "check", str(file)]) in (1, 2)


def test_feature_names_from_the_command_line(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture
) -> None:
    folder, _ = pets(tmp_path, rng)
    assert main(["data", "check", str(folder)]) == 2
    assert "name those of defects by --foreground" in capsys.readouterr().err
    keys = ["--mask-key", "segmentation_mask", "--label-key", "species", "--foreground", "1,3"]
    assert main(["data", "check", str(folder), *keys]) == 0
    assert "9 samples" in capsys.readouterr().out
    dataset = open_data(folder, keys=Keys(mask="segmentation_mask", label="species", foreground=(1, 3)))
    assert len(dataset.classes) == 2
    assert {s.label for s in dataset.samples} == {0}
    assert main(["data", "check", str(folder), "--foreground", "1;3"]) == 2
    assert "--foreground: '1;3' is no list of mask values" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "values"), [("", ()), ("1", (1,)), ("1,3", (1, 3)), (" 1, 3,", (1, 3))])
def test_mask_values(text: str, values: tuple[int, ...]) -> None:
    assert mask_values(text, "here") == values


def test_mask_values_refuses_words() -> None:
    with pytest.raises(UserError, match="here: 'one' is no list"):
        mask_values("one", "here")


def test_words_that_a_layout_cannot_use_are_named(tmp_path: Path) -> None:
    """A plain folder and a record file have no class to call normal, and record files no mask values."""
    plain = tmp_path / "plain"
    plain.mkdir()
    for i in range(2):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(plain / f"{i}.png")
    for layout in ("auto", "folder"):
        with pytest.raises(UserError, match="normal: no class 'ok'"):
            open_data(plain, layout, keys=Keys(normal="ok"), masks=False)
        said = open_data(plain, layout, keys=Keys(unmasked="good"), masks=False)
        assert [said.classes[s.label] for s in said.samples] == ["good"] * 2
    file = tmp_path / "a.array_record"
    write_records(open_data(write_mvtec(tmp_path / "boards", normals=2, defects=2, size=32)), file)
    with pytest.raises(UserError, match="normal: no class 'ok'"):
        open_data(file, keys=Keys(normal="ok"))
    with pytest.raises(UserError, match=r"foreground: the masks of .*a\.array_record are of 0 and 1 already"):
        open_data(file, keys=Keys(foreground=(3,)))

"""The same plates in the published layout and as annotations: the same arrays, and runs by the command line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.cli import main
from jaxqc.data.annotations.marked import Found, Marked
from jaxqc.data.annotations.writers import WRITERS
from jaxqc.data.load import load_arrays, load_sample
from jaxqc.data.open import open_data
from tests.support.tiny_run import plates, recipe, run_folder, tiny_network  # noqa: F401 - fixtures

FORMS = ("coco", "yolo", "labelme", "labelstudio")


def annotated(root: Path, plates: Path, form: str) -> Path:
    """The plates with their masks as annotations."""
    dataset = open_data(plates)
    place = "images/" if form in ("yolo", "coco") else ""
    with WRITERS[form](root, dataset.classes) as put:
        for sample in dataset.samples:
            image, mask = load_sample(sample)
            file = root / place / f"{sample.id}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(file)
            regions = (Found(mask.astype(bool), dataset.classes[sample.label]),)
            put(Marked(f"{sample.id}.png", *mask.shape, regions))
    return root


@pytest.mark.parametrize("form", FORMS)
def test_the_same_arrays(form: str, plates: Path, tmp_path: Path) -> None:
    source, found = load_arrays(open_data(plates)), load_arrays(open_data(annotated(tmp_path / "set", plates, form)))
    ids = [ident.rpartition("/")[2] for ident in found.ids]
    order = [ids.index(ident) for ident in source.ids]
    assert found.classes == source.classes
    np.testing.assert_array_equal(found.images[order], source.images)
    np.testing.assert_array_equal(found.masks[order], source.masks)
    np.testing.assert_array_equal(found.labels[order], source.labels)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_verb_takes_it(form: str, plates: Path, recipe: Path, tmp_path: Path) -> None:
    data = annotated(tmp_path / "set", plates, form)
    run = tmp_path / "run"
    for command in (
        f"data check {data}",
        f"train --config {recipe} --data {data} --out {run} --quiet",
        f"evaluate --checkpoint {run} --data {data} --layout {form} --out {tmp_path / 'measured'} --quiet",
        f"evaluate --checkpoint {run} --data {plates} --split all --out {tmp_path / 'others'} --quiet",
        f"inspect --checkpoint {run} --images {data} --layout {form} --out {tmp_path / 'inspected'} --quiet",
        f"predict --checkpoint {run} --images {data} --out {tmp_path / 'drawn'} --format {form} --quiet",
        f"data import {data} {tmp_path / 'imported'} --quiet",
        f"data records {data} {tmp_path / 'set.array_record'}",
    ):
        assert main(command.split()) == 0, command
    np.testing.assert_array_equal(
        load_arrays(open_data(tmp_path / "set.array_record")).masks, load_arrays(open_data(tmp_path / "imported")).masks
    )

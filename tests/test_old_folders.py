"""Run folders, fits, an export and a ledger that version 0.1.0 left (commit 6b62759) still load and prove themselves.

fixtures/old_folders.zip: a TSCARNet run of a tenth of the width, the three detectors' fits on a ResNet's first layer, a
run of few labels, an export of the Gaussian, the ledger of an inspection; generated images of 28 to 48 pixels.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest

import jaxqc
from jaxqc.inspection.ledger.queries import entries, lot_findings
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.rules import GradeRules
from jaxqc.verify import verify
from tests.support.few_labels import use_tiny

FITS = ("gaussian", "gaussian_full", "patchcore", "spade")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(Path(__file__).parent / "fixtures" / "old_folders.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("name", ["saliency", *FITS, "segmentation", "export"])
def test_a_folder_loads_and_its_golden_output_comes_again(old, name, monkeypatch):
    use_tiny(monkeypatch)  # the network of the run of few labels
    verdict = verify(old / name)
    assert verdict.ok, verdict.lines()
    assert verdict.then["git_commit"].startswith("6b62759")


# All fits predict in one way, and give their golden maps above.
@pytest.mark.parametrize(
    "name", ["gaussian", *(pytest.param(n, marks=pytest.mark.slow) for n in ("saliency", *FITS[1:]))]
)
def test_a_folder_predicts(old, name):
    image = np.random.default_rng(0).integers(0, 256, (2, 40, 48, 3), np.uint8)
    maps = jaxqc.load(old / name).predict(image)
    assert maps.shape == (2, 40, 48)
    assert ((maps >= 0) & (maps <= 1)).all()


def test_the_long_side_of_a_run_of_few_labels_is_kept(old, monkeypatch):
    """Its recipe calls it `fast`."""
    use_tiny(monkeypatch)
    model = jaxqc.load(old / "segmentation")
    assert model.input_size(56, 28)[0] == 28


def test_a_ledger_opens_and_its_lots_are_graded(old):
    notes: list[str] = []
    for _ in range(2):  # with its tables of then, which are changed, and with those of now
        with open_ledger(str(old / "ledger.sqlite"), create=False, note=notes.append) as ledger:
            lots = {lot.name: finding.images for lot, finding in lot_findings(ledger, GradeRules())}
            assert {(entry.row["lot"], entry.finding.image.split("/")[0]) for entry in entries(ledger)} == {
                (name, name) for name in LOTS}  # fmt: skip
            assert ledger.count() == {
                "models": 1,
                "lots": 5,
                "inspections": 16,
                "sightings": 16,
                "defects": 6,
                "outcomes": 0,
                "reviews": 0,
                "uninspected": 0,
            }
        assert lots == LOTS
    assert len(notes) == 1


LOTS = {"color": 2, "good": 8, "hole": 2, "liquid": 2, "scratch": 2}

"""Stand-ins for the names in the pages' commands: small data sets, and one trained, fitted or inspected folder each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.cli import main
from jaxqc.config import Phase
from jaxqc.data.readers import open_dataset
from jaxqc.export.writing import write
from jaxqc.inspection.ledger.reviews import Review, add
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.reviewing.waiting import pictures
from jaxqc.models.resnet import BACKBONES
from jaxqc.semi.recipe import SemiDataConfig
from jaxqc.semi.train import train_semi
from tests.support import narrow
from tests.support.few_labels import recipe as recipe_of_few
from tests.support.few_labels import use_tiny, write_images
from tests.support.foreign_tfds import pets
from tests.support.tiny_boards import make_boards, make_weights


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """A TFDS set of other origin."""
    return pets(tmp_path_factory.mktemp("foreign"), np.random.default_rng(0))[0]


@pytest.fixture(scope="module")
def camera(tmp_path_factory) -> Path:
    """A folder of images in which 12 bits stand in 16."""
    folder = tmp_path_factory.mktemp("camera")
    for i, image in enumerate(np.random.default_rng(0).integers(0, 4096, (3, 32, 32), np.uint16)):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def spectrum(tmp_path_factory) -> Path:
    """A folder of TIFFs of five bands."""
    folder = tmp_path_factory.mktemp("spectrum")
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 5), np.uint8)):
        tifffile.imwrite(folder / f"{i}.tif", image, photometric="minisblack", planarconfig="contig")
    return folder


@pytest.fixture(scope="module")
def narrow_backbone() -> Iterator[str]:
    """The narrowest ResNet, by its name, while a file's tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, narrow.NAME, narrow.SPEC)
        yield narrow.NAME


@pytest.fixture(scope="module")
def tiles(narrow_backbone, tmp_path_factory) -> tuple[Path, Path]:
    """A data set in MVTec AD's layout and a fit to it."""
    folder = tmp_path_factory.mktemp("normals")
    boards, weights = make_boards(folder / "boards"), make_weights(folder / "narrow.npz", narrow_backbone)
    backbone = BackboneConfig(narrow_backbone, str(weights), (1, 2))
    config = FitConfig(
        backbone=backbone,
        data=FitDataConfig(size=48),
        decision=DecisionConfig(folds=1),
        detector=Gaussian(channels=20),
        batch=8,
        pasted=0,
        devices=1,
    )
    return boards, fit(config, open_dataset(boards), folder / "fit", progress=False).folder or folder


@pytest.fixture(scope="module")
def segments(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A segmentation set, lists of it, and a run on them."""
    folder = tmp_path_factory.mktemp("segments")
    data, lists = write_images(folder / "set", {"any": 24}), folder / "lists"
    assert main(["data", "split", str(data), "--out", str(lists), "--quiet"]) == 0
    few = recipe_of_few("supervised", phases=(Phase(1, 28, 4),), views=SemiDataConfig(splits=str(lists)))
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch)
        train_semi(few, data, folder / "run", progress=False)
    return data, lists, folder / "run"


@pytest.fixture(scope="module")
def ledger(tiles, tmp_path_factory) -> Path:
    """The ledger of an inspection of the unseen boards."""
    folder = tmp_path_factory.mktemp("inspected") / "boards"
    inspect = ["inspect", "--checkpoint", str(tiles[1]), "--images", str(tiles[0] / "test"), "--out", str(folder)]
    assert main([*inspect, "--quiet"]) == 0
    return folder / "ledger.sqlite"


@pytest.fixture
def waiting(ledger, tmp_path) -> Path:
    """The table of a review, filled in."""
    file = tmp_path / "filled.csv"
    assert main(["review", "--ledger", str(ledger), "--out", str(file), "--all"]) == 0
    file.write_text(file.read_text().replace(",,,,\n", ",ok,,,\n", 1))
    return file


@pytest.fixture
def reviewed(ledger, tmp_path) -> Path:
    """The ledger with a person's verdict on every picture, by the folders' names."""
    copy = Path(shutil.copy(ledger, tmp_path / "reviewed.sqlite"))
    with open_ledger(copy) as there:
        verdict = lambda picture: "pass" if "good" in picture.lots else "reject"
        add(there, [Review(picture.sha256, verdict(picture)) for picture in pictures(there)])
    return copy


@pytest.fixture(scope="module")
def returns(tmp_path_factory) -> Path:
    """A file of orders, of a lot that the ledger has."""
    file = tmp_path_factory.mktemp("returns") / "returns.csv"
    file.write_text("order,lot,returned\n1,good,no\n2,good,yes\n")
    return file


@pytest.fixture(scope="module")
def exported(run_folder, tmp_path_factory) -> Path:
    """A StableHLO export of the finished run."""
    folder = tmp_path_factory.mktemp("exported") / "first"
    write(run_folder, folder, platforms=("cpu",))
    return folder

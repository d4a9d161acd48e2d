"""A camera's 12 bits in files of 16: pointed out before a run, and taken in by the setting `data.range`."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from jaxqc.config import DataConfig, TrainConfig
from jaxqc.data.check import check_path
from jaxqc.data.dataset import with_rendering
from jaxqc.data.depth import dark_samples, dark_values
from jaxqc.data.load import load_sample
from jaxqc.data.readers import open_dataset
from jaxqc.data.rendering import BY_FILE, Rendering, rendering_of_model
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.overrides import override

Make = Callable[..., Path]


@pytest.fixture
def camera(make_set: Make) -> Path:
    """A set whose images hold 12 bits in 16."""
    root = make_set()
    rng = np.random.default_rng(0)
    for file in (root / "images").iterdir():
        Image.fromarray(rng.integers(0, 4096, (16, 16)).astype(np.uint16)).save(file)
    return root


def test_the_set_is_warned_of_and_the_setting_mends_it(camera: Path) -> None:
    report = check_path(camera)
    dark = [p.message for p in report.warnings if p.kind == "dark-values"]
    assert len(dark) == 1
    assert "6 images hold 16-bit values of at most 40" in dark[0]
    assert "for a camera of 12 bits fit or train with --data.range 0,4095" in dark[0]
    assert not check_path(camera, rendering=Rendering((0, 4095))).problems

    dataset = open_dataset(camera)
    assert dark_samples(dataset) == tuple(dark)
    ranged = with_rendering(dataset, Rendering((0, 4095)))
    assert dark_samples(ranged) == ()
    assert load_sample(dataset.samples[0])[0].max() < 17
    assert load_sample(ranged.samples[0])[0].max() > 250


def test_eight_bits_are_not_decoded(make_set: Make) -> None:
    root = make_set()
    image = next((root / "images").iterdir())
    image.write_bytes(image.read_bytes()[:60])  # whoever needs the pixels names it
    assert dark_samples(open_dataset(root)) == ()
    assert dark_values([image, root / "absent.png"]) == ()


def test_the_setting_is_checked() -> None:
    config = override(TrainConfig(), ["--data.range", "0,4095"])
    assert config.data.range == (0.0, 4095.0)
    assert rendering_of_model(SimpleNamespace(config=config, meta={})) == Rendering((0, 4095))
    assert rendering_of_model(SimpleNamespace(meta={"range": [100.0, 900.0]})) == Rendering((100, 900))
    assert rendering_of_model(SimpleNamespace(meta={})) == BY_FILE
    for bad in ((5.0, 5.0), (0.0, 1.0, 2.0), (0.0,)):
        with pytest.raises(UserError, match=r"data\.range: .* is no range; give the values of black and white"):
            validate(TrainConfig(data=DataConfig(range=bad)))

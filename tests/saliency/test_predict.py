"""A folder's maps at a size that the network was not trained at."""

import numpy as np
import pytest
from PIL import Image

from jaxqc.kinds import KINDS
from tests.support.tiny_models import tiny_saliency


def test_a_size_far_below_the_trained_one_is_said(tmp_path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(tmp_path / "plate.png")
    model, predict = tiny_saliency(monkeypatch, 64), KINDS["saliency"].predict
    result = predict(model, tmp_path, tmp_path / "maps", size=32, progress=False)
    assert [path.name for path in result.written] == ["plate.png"]
    assert result.notes == (
        "size 32 is far below the 64 that this network was trained at; its maps suffer, leave the size out",
    )
    monkeypatch.setattr(model, "size", 32)
    assert predict(model, tmp_path, tmp_path / "maps", size=32, progress=False).notes == ()

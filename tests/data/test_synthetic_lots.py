"""Generated deliveries: two suppliers' lots with a manifest, the same each time; one of the two drifts."""

import numpy as np
import pytest
from PIL import Image

from jaxqc.data.synthetic.deliveries import DRIFTING, STEADY, defective_share, write_lots
from jaxqc.errors import UserError
from jaxqc.inspection.manifest import read_manifest


@pytest.mark.parametrize("kind", ["steel", "wood"])
def test_the_manifest_names_every_image_with_lot_and_supplier(tmp_path, kind):
    manifest = read_manifest(write_lots(tmp_path / "lots", kind, lots=2, images=3, size=32))
    assert manifest.problems == ()
    assert len(manifest) == 12
    assert {(item.lot, item.supplier) for item in manifest.items} == {
        ("A-2041", STEADY), ("T-2041", DRIFTING), ("A-2044", STEADY), ("T-2044", DRIFTING),
    }  # fmt: skip
    assert len({np.asarray(Image.open(item.image)).tobytes() for item in manifest.items}) == 12
    assert all(item.time is not None for item in manifest.items)


def test_the_same_seed_gives_the_same_images_in_place_of_the_old(tmp_path):
    first = {f.name: f.read_bytes() for f in write_lots(tmp_path, "steel", 1, 2, 32).parent.rglob("A-*/*.png")}
    again = {f.name: f.read_bytes() for f in write_lots(tmp_path, "steel", 1, 2, 32).parent.rglob("A-*/*.png")}
    assert first == again
    assert len(first) == 2


def test_one_supplier_drifts():
    steady = [defective_share(STEADY, i, 6) for i in range(6)]
    drifting = [defective_share(DRIFTING, i, 6) for i in range(6)]
    assert steady == [0.05] * 6
    assert drifting[:2] == [0.05] * 2
    assert drifting[2:] == sorted(drifting[2:])
    assert drifting[-1] == pytest.approx(0.85)


def test_refusals_write_nothing(tmp_path):
    with pytest.raises(UserError, match="give 1 or more"):
        write_lots(tmp_path / "a", "steel", lots=0)
    with pytest.raises(UserError, match="size"):
        write_lots(tmp_path / "b", "steel", size=3)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="other files"):
        write_lots(tmp_path / "c", "wood", 1, 1, 32)
    assert sorted(f.name for f in tmp_path.rglob("*")) == ["c", "mine.txt"]

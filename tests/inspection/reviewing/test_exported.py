"""People's words as a data set: what is in it, what is not and why, and lots that no split divides."""

import hashlib
import io
import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jaxqc.cli import main
from jaxqc.data.grouped import one_class
from jaxqc.data.load import load_sample
from jaxqc.data.normals import is_normal
from jaxqc.data.open import open_data
from jaxqc.data.splits import apply_protocol
from jaxqc.data.tables.read import read_table
from jaxqc.errors import UserError
from jaxqc.inspection.ledger import masks
from jaxqc.inspection.ledger.reviews import Review, add
from jaxqc.inspection.ledger.sightings import Sighting
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.reviewing import exported as module
from jaxqc.inspection.reviewing.exported import export_reviewed
from jaxqc.inspection.reviewing.sides import groups_of, held_out
from tests.support.ledger_makers import MODEL, finding
from tests.support.postgres_server import postgres, where  # noqa: F401 - fixtures
from tests.support.tiny_boards import stripes

SIZE = (56, 48)


class Shop:
    """A ledger of small pictures, and what people say of them."""

    def __init__(self, where, folder):
        self.where, self.folder, self.sums, self.clock = where, folder, [], 0

    def bring(self, ledger, *lots, verdict="review", name="", product=""):
        """A new picture in these lots; its SHA-256."""
        out = io.BytesIO()
        Image.fromarray(stripes(len(self.sums), False, *SIZE)[0]).save(out, "PNG")
        sha256 = hashlib.sha256(out.getvalue()).hexdigest()
        seen = []
        for lot in lots or ("",):
            path = self.folder / (lot.replace("/", "_") or "alone") / f"{name or len(self.sums)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(out.getvalue())
            seen.append(Sighting(sha256, path.name, {"lot": lot, "product": product}, str(path)))
        one = replace(finding(1), sha256=sha256, height=SIZE[0], width=SIZE[1], verdict=verdict, image=seen[0].image)
        ledger.add([one], MODEL, seen=seen)
        self.sums.append(sha256)
        return sha256

    def say(self, ledger, sha256, verdict, mask=None, **more):
        self.clock += 1
        event = Review(sha256, verdict, time=f"2026-03-01T00:00:{self.clock:02}+00:00", **more)
        done = masks.add(ledger, event, mask) if mask is not None else add(ledger, [event])
        assert done.new == 1


@pytest.fixture
def shop(tmp_path):
    return Shop(str(tmp_path / "quality.sqlite"), tmp_path / "pictures")


def square(left):
    mask = np.zeros(SIZE, bool)
    mask[3:9, left : left + 7] = True
    return mask


def listed(folder, name="index.csv"):
    table = read_table(folder / name, ())
    return [cells for _, cells in table.records()]


def test_what_people_said_last_is_what_is_learned_from(where, tmp_path):
    """Each way in which words and masks may follow one another, on both databases, read back by the usual reader."""
    shop = Shop(where, tmp_path / "pictures")
    with open_ledger(where) as ledger:
        masks.prepare(ledger)
        overturned, confirmed = shop.bring(ledger, "L-1"), shop.bring(ledger, "L-2", verdict="pass")
        marked, again = shop.bring(ledger, "L-1", product="strip"), shop.bring(ledger, "L-2", name="17")
        taken_back, since = shop.bring(ledger, "L-1"), shop.bring(ledger, "L-2")
        unmarked, gone, other, nobody = (shop.bring(ledger, "L-3") for _ in range(4))
        odd = shop.bring(ledger, "L-3")
        shop.say(ledger, overturned, "reject", square(1), person="Li")  # a mask that is taken back by the pass
        shop.say(ledger, overturned, "pass", person="Wang")
        shop.say(ledger, confirmed, "pass")
        shop.say(ledger, marked, "reject", square(2), class_name="crack", person="Li")
        shop.say(ledger, again, "reject", square(3), class_name="pit")
        shop.say(ledger, again, "reject", square(5), class_name="pit")  # the last mask counts
        shop.say(ledger, again, "reject", class_name="dent", person="Wang")  # of another class, in the same place
        shop.say(ledger, taken_back, "reject", square(1))
        shop.say(ledger, taken_back, "undone")
        shop.say(ledger, since, "reject", square(1), person="Li")
        shop.say(ledger, since, "undone", person="Li")
        shop.say(ledger, since, "reject", person="Li")  # without a mask since
        shop.say(ledger, unmarked, "reject")
        shop.say(ledger, gone, "pass")
        shop.say(ledger, other, "pass")
        shop.say(ledger, odd, "reject", square(9), class_name="Good")
        kept = {sha256: masks.mask_of(ledger, sha256)[0] for sha256 in (marked, again, odd)}
        (shop.folder / "L-3" / f"{shop.sums.index(gone)}.png").unlink()
        (shop.folder / "L-3" / f"{shop.sums.index(other)}.png").write_bytes(b"another")
        done = export_reviewed(ledger, tmp_path / "set", progress=False)
        more = export_reviewed(ledger, tmp_path / "more", without_mask=True, progress=False)
    rows = {row["id"]: row for row in listed(tmp_path / "set")}
    assert {sha256: row["cls"] for sha256, row in rows.items()} == {
        overturned: "good", confirmed: "good", marked: "crack", again: "dent", odd: "defect"}  # fmt: skip
    left = {row["sha256"]: row["reason"] for row in listed(tmp_path / "set", "left_out.csv")}
    assert left == {taken_back: "withdrawn", since: "no-mask", unmarked: "no-mask", gone: "missing-file",
                    other: "changed-bytes"}  # fmt: skip
    assert nobody not in {**rows, **left}
    assert (done.judged, done.used, done.good, done.overturned, done.defective, done.masks) == (10, 5, 2, 1, 3, 3)
    assert done.used + sum(done.left_out.values()) == done.judged
    assert done.lost == 2
    assert done.left_out == {"withdrawn": 1, "no-mask": 2, "missing-file": 1, "changed-bytes": 1}
    counts = json.loads((tmp_path / "set" / "export.json").read_text())
    assert (counts["judged"], counts["left_out"]) == (10, done.left_out)
    for sha256, png in kept.items():
        assert (tmp_path / "set" / rows[sha256]["mask"]).read_bytes() == png
    dataset = open_data(tmp_path / "set")
    assert not dataset.warnings
    samples = {sample.id: sample for sample in dataset.samples}
    assert [is_normal(samples[s], dataset) for s in (overturned, confirmed, marked, odd)] == [True, True, False, False]
    for sha256, left_edge in ((marked, 2), (again, 5), (odd, 9)):
        image, mask = load_sample(samples[sha256])
        assert np.array_equal(mask > 0, square(left_edge))
        assert np.array_equal(image[..., 0], stripes(shop.sums.index(sha256), False, *SIZE)[0])
    assert samples[marked].product == "strip"
    assert all(load_sample(sample)[1].any() != is_normal(sample, dataset) for sample in dataset.samples)
    assert sum(map(len, apply_protocol(dataset, "index"))) == 5  # as `jaxqc train` divides it
    assert (more.used, more.defective, more.masks, more.left_out["no-mask"]) == (7, 5, 3, 0)


def test_no_lot_is_on_both_sides(shop, tmp_path):
    """Also lots that share a picture, lots of odd names, and pictures without a lot."""
    names = ["L-1", "none", "=cmd", "a\u3000b", "L/5 ü", "N/A", "L-7", "L-8"]
    with open_ledger(shop.where) as ledger:
        for lot in names:
            for _ in range(2):
                shop.say(ledger, shop.bring(ledger, lot), "pass")
        shop.say(ledger, shop.bring(ledger, "L-1", "none"), "pass")
        for _ in range(3):
            shop.say(ledger, shop.bring(ledger), "pass")
        for seed in range(4):
            done = export_reviewed(ledger, tmp_path / f"{seed}", share=0.4, seed=seed, progress=False)
            dataset = open_data(tmp_path / f"{seed}")
            sides = {}
            for sample in dataset.samples:
                assert sample.group
                sides.setdefault(sample.group, set()).add(sample.split)
            assert all(len(own) == 1 for own in sides.values())
            assert len(sides) == len(names) - 1 + 3
            assert done.sides["train"]["groups"] + done.sides["test"]["groups"] == len(sides)
            lots = {row["id"]: row["lots"] for row in listed(tmp_path / f"{seed}")}
            assert "L-1; none" in lots.values()
            parts = one_class(dataset)
            assert not {s.group for s in parts.test.samples} & {s.group for s in parts.fit.samples}


def test_a_lot_stays_on_its_side_as_others_come():
    lots = {f"lot {i}": frozenset({"good", "defective"}) for i in range(40)}
    few = held_out(dict(list(lots.items())[:20]), 0.3)
    assert held_out(lots, 0.3) & set(list(lots)[:20]) == few
    assert 4 <= len(held_out(lots, 0.3)) <= 20
    assert held_out(lots, 0.3, seed=1) != held_out(lots, 0.3)


@pytest.mark.parametrize("share", [1e-6, 0.3, 1 - 1e-6])
@pytest.mark.parametrize(
    "kinds",
    [["g", "g"], ["gd", "gd"], ["g", "d"], ["g", "d", "d"], ["gd", "g"], ["gd", "gd", "d"], ["g", "g", "g", "d"]],
)
def test_both_sides_have_what_two_lots_have(share, kinds):
    word = {"g": "good", "d": "defective"}
    for seed in range(8):
        lots = {f"lot {i}": frozenset(word[k] for k in own) for i, own in enumerate(kinds)}
        held = held_out(lots, share, seed)
        sides = ["".join(kinds[i] for i in range(len(kinds)) if (f"lot {i}" in held) == side) for side in (False, True)]
        assert "g" in sides[0], "nothing to learn from"
        if sum("g" in own for own in kinds) > 1:
            assert "g" in sides[1]


def test_refusals(shop, tmp_path, capsys):
    export = ["ledger", "export", "--ledger", shop.where, "--quiet"]
    with open_ledger(shop.where) as ledger:
        first = shop.bring(ledger, "L-1")
    assert main([*export, "--dataset", str(tmp_path / "set")]) == 2
    assert "judged no picture" in capsys.readouterr().err
    with open_ledger(shop.where) as ledger:
        shop.say(ledger, first, "reject")
    assert main([*export, "--dataset", str(tmp_path / "set")]) == 2
    assert (
        "none of 1 judged pictures can be used (1: rejected, and nobody marked the defect)" in capsys.readouterr().err
    )
    assert main([*export, "--dataset", str(tmp_path / "set"), "--without-mask"]) == 2
    assert "judge pictures of another lot, or give --held-out 0" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    done = [*export, "--dataset", str(tmp_path / "set"), "--without-mask", "--held-out", "0"]
    assert main(done) == 0
    assert "1 judged pictures, 1 used: 0 good" in capsys.readouterr().out
    assert main(done) == 2
    assert "there already; choose another --dataset" in capsys.readouterr().err
    for more, words in (([], "give one of them"), (["--out", "a", "--dataset", "b"], "give one of them"),
                        (["--dataset", "b", "--format", "csv"], "--format"), (["--out", "a", "--seed", "1"], "--seed"),
                        (["--dataset", "b", "--held-out", "1"], "--held-out: 1 must be")):  # fmt: skip
        assert main([*export, *more]) == 2
        assert words in capsys.readouterr().err


def test_a_full_disk_and_a_killed_export_leave_nothing(shop, tmp_path, monkeypatch):
    with open_ledger(shop.where) as ledger:
        for i in range(4):
            shop.say(ledger, shop.bring(ledger, f"L-{i}"), "pass")
        wrote, write = [], module._write

        def full(file, data):
            wrote.append(file)
            if len(wrote) == 3:
                raise OSError(28, "No space left on device")
            write(file, data)

        monkeypatch.setattr(module, "_write", full)
        with pytest.raises(UserError, match="No space left"):
            export_reviewed(ledger, tmp_path / "set", progress=False)
        assert not list(tmp_path.glob("*set*"))
        monkeypatch.undo()
        left = tmp_path / ".set.part-4194305"
        left.mkdir()
        export_reviewed(ledger, tmp_path / "set", progress=False)
    assert not left.exists()
    assert len(listed(tmp_path / "set")) == 4


KILLED = """
import sys, time
from jaxqc.inspection.reviewing import exported
write = exported._write
def slow(file, data):
    write(file, data)
    print("wrote", flush=True)
    time.sleep(60)
exported._write = slow
from jaxqc.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_sigkill_leaves_no_half_data_set(shop, tmp_path):
    with open_ledger(shop.where) as ledger:
        for i in range(3):
            shop.say(ledger, shop.bring(ledger, f"L-{i}"), "pass")
    command = ["ledger", "export", "--ledger", shop.where, "--dataset", str(tmp_path / "set"), "--quiet"]
    with subprocess.Popen([sys.executable, "-c", KILLED, *command], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"wrote\n"
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert not (tmp_path / "set" / "index.csv").exists()
    assert main(command) == 0
    assert len(listed(tmp_path / "set")) == 3
    assert [p.name for p in tmp_path.iterdir() if "set" in p.name] == ["set"]


def test_groups_are_connected_lots():
    """Against a plain search through the graph of lots."""
    rng = np.random.default_rng(0)
    lots = {f"{i:x}": [f"L{n}" for n in rng.choice(30, size=rng.integers(1, 3), replace=False)] for i in range(24)}
    found = groups_of(lots)
    for one, own in lots.items():
        reached, border = set(own), set(own)
        while border:
            border = {n for other in lots.values() if reached & set(other) for n in other} - reached
            reached |= border
        assert {s for s, group in found.items() if group == found[one]} == {
            s for s, other in lots.items() if reached & set(other)}  # fmt: skip

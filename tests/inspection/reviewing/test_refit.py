"""`jaxqc fit --from`: what is taken from where, and an old and a new detector on the same held-out reviews."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import jaxqc
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.cli import main
from jaxqc.data.joined import content_keys, join
from jaxqc.data.labelled import Labelled
from jaxqc.data.normals import is_normal
from jaxqc.data.open import open_data
from jaxqc.data.tables.write import write_table
from jaxqc.error_rates import clopper_pearson
from jaxqc.inspection.reviewing.compare import Comparison, Judged, compare
from jaxqc.inspection.reviewing.refit import COMPARED, plan_of
from jaxqc.models.resnet import BACKBONES
from tests.support import narrow
from tests.support.tiny_boards import boards, make_weights, stripes  # noqa: F401 - a fixture

CONFIG = FitConfig(
    detector=Gaussian(channels=20),
    data=FitDataConfig(size=48),
    decision=DecisionConfig(folds=1, false_alarm=0.1),
    batch=8,
    pasted=0,
    devices=1,
)


@pytest.fixture(scope="module")
def run(boards, tmp_path_factory):
    """A fit to the boards, by their path."""
    folder = tmp_path_factory.mktemp("old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, narrow.NAME, narrow.SPEC)
        backbone = BackboneConfig(narrow.NAME, str(make_weights(folder / "narrow.npz", narrow.NAME)), (1, 2))
        jaxqc.fit(replace(CONFIG, backbone=backbone), boards, folder / "run", progress=False)
        yield folder / "run"


def brushed(seed, hole):
    """A board of another finish: darker, in the other direction; good ones are called by whoever has not seen any."""
    image = 255 - stripes(seed, False, 56, 56)[0].T // 2
    image = image[:, :48].copy()
    if hole:
        image[20:32, 10:22] = 10
    return image


def write_reviewed(folder, lots=6, each=3, holes=1):
    """As `jaxqc ledger export --dataset` leaves it: lots of good pictures with a defective one each."""
    rows = []
    for lot in range(lots):
        for i in range(each + holes):
            name, hole = f"{lot}-{i}", i >= each
            (folder / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(brushed(900 + 10 * lot + i, hole)).save(folder / f"images/{name}.png")
            rows.append({"id": name, "cls": "crack" if hole else "good", "image": f"images/{name}.png", "mask": "",
                         "split": "test" if lot >= lots - 2 else "train", "group": f"lot {lot}"})  # fmt: skip
    write_table(folder / "index.csv", list(rows[0]), rows)
    return folder


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    return write_reviewed(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture(scope="module")
def again(run, reviewed, tmp_path_factory):
    """A refit by the command: its folder and what it printed."""
    out = tmp_path_factory.mktemp("new") / "run"
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("builtins.print", lambda *words, **more: said.append(" ".join(map(str, words))))
        assert main(["fit", "--from", str(run), "--data", str(reviewed), "--out", str(out), "--quiet"]) == 0
    return out, "\n".join(said)


@pytest.mark.slow
def test_a_refit_says_what_it_takes_from_where(again, run, boards, reviewed):
    out, said = again
    assert f"from {boards} (the old fit's): 17 good images of split train" in said
    assert f"from {reviewed} (new): 12 good and 4 defective images of split train" in said
    assert f"held out to compare: 6 good and 2 defective images of split test of {reviewed}" in said
    meta = json.loads((out / "meta.json").read_text())
    assert meta["sources"] == [str(boards), str(reviewed)]
    assert meta["fit"] + meta["calibrate"] == 17 + 12
    assert meta["refit_of"] == str(run)
    old, new = (json.loads((folder / "config.json").read_text()) for folder in (run, out))
    assert old == new
    assert jaxqc.load(out).meta["test"] == 12 + 8


@pytest.mark.slow
def test_the_comparison_is_of_both_models_on_the_same_pictures(again, run, reviewed):
    """The oracle is an inspection of the held-out pictures with each model."""
    out, _ = again
    found = json.loads((out / COMPARED).read_text())
    assert found["pictures"] == 8
    dataset = open_data(reviewed, masks=False)
    held = [s for s in dataset.samples if s.split == "test"]
    assert [one["id"] for one in found["each"]] == [s.id for s in held]
    for name, folder in (("old", run), ("new", out)):
        model = jaxqc.load(folder)
        answers = {s.id: model.answers([model.shrunk(np.asarray(Image.open(s.image))[..., None])])[0] for s in held}
        found_by = {s.id: model.found(56, 48, *answers[s.id]) for s in held}
        for one in found["each"]:
            assert one[f"{name}_score"] == pytest.approx(found_by[one["id"]].score, rel=1e-5)
            assert one[f"{name}_called"] == found_by[one["id"]].defective
            assert one["defective"] == one["id"].endswith("-3")
        calls = [one[f"{name}_called"] for one in found["each"] if not one["defective"]]
        alarms = found["models"][name]["false_alarms"]
        assert (alarms["called"], alarms["of"]) == (sum(calls), 6)
        assert alarms["interval"] == list(clopper_pearson(sum(calls), 6, 0.95))
    alarms = {name: found["models"][name]["false_alarms"]["called"] for name in ("old", "new")}
    assert alarms["new"] < alarms["old"] == 6  # the old one has never seen this finish


def by_counting(scores, defective):
    """The AUROC by its definition: all pairs."""
    pairs = [(d > g) + 0.5 * (d == g) for d in scores[defective] for g in scores[~defective]]
    return float(np.mean(pairs))


def test_areas_and_changes_are_those_of_their_definitions(rng):
    for _ in range(20):
        n = int(rng.integers(4, 30))
        defective = rng.random(n) < 0.5
        defective[:2] = True, False
        old, new = (Judged(np.round(rng.random(n), 1), rng.random(n) < 0.4) for _ in range(2))
        both = Comparison(tuple(map(str, range(n))), defective, old, new)
        assert both.auroc("old") == pytest.approx(by_counting(old.scores, defective))
        alone, other, p = both.changed(True)
        assert alone == sum(o and not w for o, w, d in zip(old.called, new.called, defective, strict=True) if d)
        total = alone + other
        from math import comb

        tail = [comb(total, k) / 2**total for k in range(total + 1)]
        assert p == pytest.approx(min(1.0, sum(t for t in tail if t <= tail[other] * (1 + 1e-9))))
    empty = Comparison(("a",), np.array([False]), Judged(np.zeros(1), np.zeros(1, bool)),
                       Judged(np.zeros(1), np.ones(1, bool)))  # fmt: skip
    assert np.isnan(empty.auroc("old"))
    assert "no defective pictures" in empty.lines()[0]
    assert json.loads(json.dumps(empty.to_json(), allow_nan=False))["models"]["old"]["image_auroc"] is None


def test_what_the_old_fit_has_seen_is_not_compared_and_the_last_word_counts(boards, reviewed, tmp_path):
    """Copies of old images under other names, a lot that the old fit has seen, a verdict that was taken back."""
    new = shutil.copytree(reviewed, tmp_path / "reviewed")
    index = new / "index.csv"
    shutil.copy(boards / "train/good/003.png", new / "images/old.png")
    shutil.copy(boards / "train/good/004.png", new / "images/bad.png")
    with index.open("a") as file:
        file.write("same,good,images/old.png,,test,lot 5\r\nturned,crack,images/bad.png,,train,lot 0\r\n")
    plan = plan_of(CONFIG, [str(boards)], str(new))
    assert "2 of its images count as the new data have them" in plan.notes[0]
    assert "1 more of split test are not compared" in plan.notes[-1]
    assert {one.sample.id for one in plan.held_out} == {f"{lot}-{i}" for lot in (4, 5) for i in range(4)}
    good = [s for s in plan.dataset.samples if s.split == "train" and is_normal(s, plan.dataset)]
    assert len(good) == 17 - 2 + 12
    # The loop once more: the first export is an old source now, and some of its words were taken back since.
    write_table(new / "left_out.csv", ["sha256", "reason"], [{"sha256": "0-0", "reason": "withdrawn"},
                                                             {"sha256": "0-1", "reason": "no-mask"}])  # fmt: skip
    lines = index.read_text().splitlines()
    index.write_text("\n".join(line for line in lines if not line.startswith(("0-0,", "0-1,"))))
    plan = plan_of(CONFIG, [str(boards), str(reviewed)], str(new))
    assert any("1 pictures are left out: people took their verdict back since" in line for line in plan.notes)
    ids = [s.image for s in plan.dataset.samples]
    assert not any(path.name == "0-0.png" for path in ids)
    assert sum(path.name == "0-1.png" for path in ids) == 1  # still the first export's word
    assert len(plan.dataset) == len({s.id for s in plan.dataset.samples})


def test_a_lot_that_the_old_fit_has_seen_is_not_compared(boards, reviewed, tmp_path):
    first = write_reviewed(tmp_path / "first", lots=3)  # lots 1 and 2 in test, lot 0 in train
    later = shutil.copytree(reviewed, tmp_path / "later")
    text = (later / "index.csv").read_text()
    (later / "index.csv").write_text(text.replace("train,lot 0", "test,lot 0"))
    plan = plan_of(CONFIG, [str(boards), str(first)], str(later))
    assert {one.sample.group for one in plan.held_out} == {"lot 4", "lot 5"}


def test_sets_of_any_ids_join_and_nothing_is_twice(boards, reviewed, tmp_path):
    twin = shutil.copytree(boards, tmp_path / "twin")
    sets = [open_data(boards, masks=False), open_data(twin, masks=False), open_data(reviewed, masks=False)]
    joined = join(sets, content_keys(sets))
    assert joined.again == (len(sets[0]), 0, 0)
    assert len(joined.dataset) == len(sets[1]) + len(sets[2])
    sides = {s.image.resolve(): is_normal(s, joined.dataset) for s in joined.dataset.samples}
    for own in sets[1:]:
        assert all(sides[s.image.resolve()] == is_normal(s, own) for s in own.samples)


def test_refusals(run, boards, reviewed, tmp_path, capsys):
    def refused(*words, code=2):
        assert main(["fit", *map(str, words), "--quiet"]) == code
        return capsys.readouterr().err

    to = ("--out", tmp_path / "out")
    assert "no folder of a fit" in refused("--from", tmp_path, "--data", reviewed, *to)
    assert "is the fit to compare with" in refused("--from", run, "--data", reviewed, "--out", run)
    assert "--config: the recipe is that of --from" in refused("--from", run, "--config", "x", "--data", reviewed)
    assert "--old-data: goes with --from" in refused("--data", reviewed, "--old-data", boards)
    moved = shutil.copytree(run, tmp_path / "moved")
    meta = json.loads((moved / "meta.json").read_text())
    (moved / "meta.json").write_text(json.dumps(meta | {"sources": ["/nowhere"]}))
    assert "its data /nowhere are gone; name them by --old-data" in refused("--from", moved, "--data", reviewed, *to)
    (moved / "meta.json").write_text(json.dumps({k: v for k, v in meta.items() if k != "sources"}))
    assert "does not say where its data lie" in refused("--from", moved, "--data", reviewed, *to)
    (moved / "meta.json").write_text(json.dumps(meta | {"kind": "training of a detector"}))
    assert "not a finished fit of a detector" in refused("--from", moved, "--data", reviewed, *to)
    bad = tmp_path / "bad"
    bad.mkdir()
    shutil.copy(reviewed / "images/0-0.png", bad / "a.png")
    (bad / "index.csv").write_text("id,cls,image,split\na,crack,a.png,train\n")
    assert "no good picture in split 'train'" in refused("--from", run, "--data", bad, *to)
    assert not (tmp_path / "out").exists()
    assert main(["train", "--from", str(run), "--data", "x"]) == 2
    assert "--from: goes with fit; a network starts" in capsys.readouterr().err


def test_pictures_of_several_sizes_are_compared_each_at_its_place(run, tmp_path):
    held = []
    for i, shape in enumerate([(56, 48), (40, 64), (56, 48), (40, 64), (48, 48)]):
        Image.fromarray(stripes(i, False, *shape)[0]).save(tmp_path / f"{i}.png")
        held.append(Labelled(jaxqc.data.dataset.Sample(str(i), tmp_path / f"{i}.png"), bool(i % 2)))
    model = jaxqc.load(run, batch=2)
    both = compare(model, model, held, progress=False)
    assert both.old.scores.tolist() == both.new.scores.tolist()
    for i, one in enumerate(held):
        alone = compare(model, model, [one], progress=False)
        assert alone.old.scores[0] == pytest.approx(both.old.scores[i], abs=1e-6)


def test_a_plain_folder_of_good_images_is_an_old_set_too(boards, reviewed):
    """As `jaxqc fit --data GOOD` takes it: no classes, no split."""
    plan = plan_of(CONFIG, [str(boards / "train" / "good")], str(reviewed))
    good = [s for s in plan.dataset.samples if s.split == "train" and is_normal(s, plan.dataset)]
    assert len(good) == 17 + 12
    assert "17 good images of split train" in plan.notes[0]
    assert len(plan.held_out) == 8
    assert all(s.split for s in plan.dataset.samples)

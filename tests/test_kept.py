"""Nothing that was there before is lost: split lists, golden records, source images; and refusals are clear."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc import api
from jaxqc.cli import main
from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from jaxqc.lock import locked
from jaxqc.training.folder_sums import kept_file
from tests.support.tiny_run import plates, recipe, run_folder, tiny_network  # noqa: F401 - fixtures


@pytest.fixture
def run(run_folder, tmp_path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def rewrite(run: Path, **changes) -> None:
    """meta.json with other values, as the run itself would write it."""
    values = json.loads((run / "meta.json").read_text()) | changes
    with kept_file(run, "meta.json") as part:
        part.write_text(json.dumps(values))


def train(run: Path, recipe: Path, data: Path, *more: str) -> int:
    return main(["train", "--config", str(recipe), "--data", str(data), "--out", str(run), "--quiet", *more])


def test_a_refused_call_leaves_the_split_lists(run, recipe, plates, capsys):
    before = (run / "splits" / "test.txt").read_text()
    assert train(run, recipe, plates, "--seed", "3") == 2
    assert train(run, recipe, plates, "--no-resume") == 2
    assert (run / "splits" / "test.txt").read_text() == before


def test_two_programs_do_not_share_a_folder(run, recipe, plates, capsys):
    with ThreadPoolExecutor(1) as another:
        holding = locked(run)
        another.submit(holding.__enter__).result()
        assert train(run, recipe, plates) == 2
        assert "in use by process" in capsys.readouterr().err
        another.submit(holding.__exit__, None, None, None).result()
    assert main(["verify", str(run)]) == 0


def test_a_finished_run_keeps_its_golden_record_and_papers(run, recipe, plates):
    rewrite(run, git_commit="another")
    golden, marked = (run / "golden.npz").read_bytes(), (run / "meta.json").read_text()
    assert train(run, recipe, plates) == 0
    assert (run / "golden.npz").read_bytes() == golden
    assert (run / "meta.json").read_text() == marked
    (run / "golden.npz").unlink()
    assert train(run, recipe, plates) == 2
    (run / "SHA256SUMS").unlink()  # as a run of before had it
    assert train(run, recipe, plates) == 0
    assert (run / "golden.npz").is_file()
    assert main(["verify", str(run)]) == 0


def test_checkpoints_carry_seed_versions_and_device(run):
    rewrite(run, versions={})
    meta = api.load(run).meta
    assert meta["seed"] == 0
    assert meta["versions"]["jax"]
    assert meta["device"].startswith("cpu")


def test_a_run_with_damaged_checkpoints_only_is_refused_every_time(run, recipe, plates, capsys):
    for step in (run / "checkpoints").iterdir():
        shutil.rmtree(step)
        step.mkdir()
    rows = (run / "metrics.jsonl").read_text()
    for _ in range(2):
        assert train(run, recipe, plates) == 2
        assert "every checkpoint is damaged" in capsys.readouterr().err
    assert (run / "metrics.jsonl").read_text() == rows


def test_a_damaged_meta_file_is_named(run, capsys):
    (run / "meta.json").write_text('{"classes": ')
    assert main(["verify", str(run)]) == 2
    assert "damaged (meta.json is not as it was saved)" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"damaged \(meta\.json is not as it was saved\)"):
        api.load(run)


def test_other_data_with_some_equal_ids_are_measured_whole_and_it_says_so(run, plates, tmp_path):
    other = Path(shutil.copytree(plates, tmp_path / "other"))
    names = sorted(p.stem for p in (other / "Source Images").iterdir())
    for folder, suffix in (("Source Images", ".bmp"), ("Ground truth", ".png")):
        for name in names[::3]:
            (other / folder / f"{name}{suffix}").rename(other / folder / f"{name}00{suffix}")
    result = api.evaluate(run, other, progress=False)
    assert len(result.per_image) == 30
    assert "have the ids of training images" in result.split


def test_predict_replaces_no_source_image(run, tmp_path, capsys, monkeypatch):
    source = tmp_path / "src"
    (source / "sub").mkdir(parents=True)
    for name in ("x.png", "sub/x.png"):
        Image.fromarray(np.full((40, 40), 77, np.uint8)).save(source / name)
    monkeypatch.chdir(tmp_path)
    arguments = ["predict", "--checkpoint", str(run), "--quiet", "--images"]
    assert main([*arguments, "src", "--out", str(source)]) == 2
    assert "would replace an image" in capsys.readouterr().err
    assert np.asarray(Image.open(source / "x.png")).max() == 77
    # maps below the images' folder are no images the next time
    for _ in range(2):
        assert main([*arguments, "src", "--out", "src/maps"]) == 0
        assert sorted(p.relative_to(source / "maps").as_posix() for p in (source / "maps").rglob("*.png")) == [
            "sub/x.png",
            "x.png",
        ]


def test_maps_that_would_share_a_name_are_refused(run, tmp_path, capsys):
    source = tmp_path / "src"
    source.mkdir()
    for name in ("a.bmp", "a.jpg", "a.jpg.png"):
        Image.fromarray(np.full((40, 40), 77, np.uint8)).save(source / name)
    assert main(["predict", "--checkpoint", str(run), "--images", str(source), "--out", str(tmp_path / "o")]) == 2
    assert "one name" in capsys.readouterr().err


def test_synthetic_sets_are_not_mixed(tmp_path, capsys):
    make = ["data", "synthetic", str(tmp_path / "set"), "--size", "48"]
    assert main([*make, "--count", "4"]) == 0
    assert main([*make, "--count", "4"]) == 0
    assert main([*make, "--count", "2", "--seed", "9"]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert len(open_data(tmp_path / "set")) == 4
    (tmp_path / "file").write_text("")
    assert main(["data", "synthetic", str(tmp_path / "file")]) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--eval-size", "200"], "eval_size=200 is not a multiple of 32; the next one is 224"),
        (["--phases", '[{"epochs": 1, "size": 40, "batch": 8}]'], "phases.0.size=40"),
        (["--seed", "5000000000"], "seed=5000000000 must be below"),
        (["--model.width", "inf"], "model.width=inf must be finite"),
    ],
)
def test_what_would_fail_late_is_refused_at_once(flags, message, recipe, plates, tmp_path, capsys):
    assert train(tmp_path / "out", recipe, plates, *flags) == 2
    assert message in capsys.readouterr().err


def test_a_recipe_that_raises_is_one_line(tmp_path, plates, capsys):
    recipe = tmp_path / "broken.py"
    recipe.write_text("def get_config():\n    raise KeyError('nothing')\n")
    assert train(tmp_path / "out", recipe, plates) == 2
    assert "broken.py: KeyError: 'nothing'" in capsys.readouterr().err


@pytest.mark.slow
def test_data_without_classes_train_and_evaluate(recipe, tmp_path, plates):
    data = tmp_path / "bare"
    shutil.copytree(plates, data)
    names = sorted(p.stem for p in (data / "Source Images").iterdir())[:12]
    rows = [
        f"{name},Source Images/{name}.bmp,Ground truth/{name}.png,{'train' if i < 8 else 'val'}"
        for i, name in enumerate(names)
    ]
    (data / "index.csv").write_text("\n".join(["id,image,mask,split", *rows]) + "\n")
    assert train(tmp_path / "out", recipe, data, "--data.protocol", "index") == 0
    result = api.evaluate(tmp_path / "out", data, tmp_path / "evaluation", progress=False)
    assert len(result.per_image) == 4


@pytest.mark.slow
def test_streams_of_grey_and_colour_files_end_well(recipe, tmp_path, plates):
    data = tmp_path / "mixed"
    shutil.copytree(plates, data)
    for path in sorted((data / "Source Images").iterdir())[::2]:
        Image.open(path).convert("RGB").save(path)
    assert train(tmp_path / "out", recipe, data, "--data.mode", "stream") == 0
    assert main(["verify", str(tmp_path / "out")]) == 0


def test_streams_refuse_bad_files_at_the_start_or_skip_them(recipe, tmp_path, plates, capsys):
    data = tmp_path / "bad"
    shutil.copytree(plates, data)
    first, second = sorted((data / "Source Images").iterdir())[:2]
    first.write_bytes(first.read_bytes()[:500])
    for path in (second, data / "Ground truth" / (second.stem + ".png")):
        Image.open(path).resize((64, 64)).save(path)
    stream = ["--data.mode", "stream"]
    assert train(tmp_path / "out", recipe, data, *stream) == 2
    error = capsys.readouterr().err
    assert first.stem in error or second.stem in error
    assert train(tmp_path / "out", recipe, data, *stream, "--skip-bad") == 0
    told = capsys.readouterr().err
    assert f"skipped {first.stem}" in told
    assert f"skipped {second.stem}" in told


@pytest.mark.slow
def test_statistics_are_not_taken_from_a_run_that_never_began(recipe, tmp_path, plates):
    out = tmp_path / "out"
    out.mkdir()
    (out / "meta.json").write_text(json.dumps({"mean": 0.9, "std": 0.01, "foreground": 0.5}))
    assert train(out, recipe, plates, "--data.mode", "stream") == 0
    assert json.loads((out / "meta.json").read_text())["mean"] < 0.8


def test_negative_record_size(plates, tmp_path):
    assert main(["data", "records", str(plates), str(tmp_path / "r.array_record"), "--size", "-5"]) == 2
    assert not list(tmp_path.iterdir())

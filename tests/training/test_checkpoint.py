"""Checkpoints: exact, self-checking, and refusing by name what does not fit."""

import dataclasses
import functools
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxqc.config import OptimConfig, TrainConfig
from jaxqc.errors import UserError
from jaxqc.fields import as_now, from_dict, to_dict
from jaxqc.training import checkpoint
from jaxqc.training.optim import make_optimizer
from jaxqc.training.state import create
from tests.support.tiny_method import TinyMethod, tiny_config

CONFIG = tiny_config()


@functools.cache
def fresh(norm: bool):
    make = jax.jit(lambda key: create(TinyMethod(norm), make_optimizer(CONFIG.optim), key))
    return jax.tree.map(np.asarray, jax.device_get(make(jax.random.key(0))))


def host_state(seed: int, norm: bool = True):
    """A state of random numbers: cheap, and different for every seed."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: np.asarray(100 * rng.normal(size=x.shape)).astype(x.dtype), fresh(norm))


def write(folder: Path, steps=(2, 4, 6), best=2) -> None:
    saves = checkpoint.Checkpoints(folder)
    for step in steps:
        record = {"config": to_dict(CONFIG), "data": "d" * 64, "metrics": {"mae": step / 10}, "best": {"step": best}}
        saves.save(step, host_state(step), record, best)
    saves.close()


def restore(folder: Path, warn=None, **changes):
    config = dataclasses.replace(CONFIG, **changes.get("config", {}))
    template = changes.get("template") or fresh(True)
    return checkpoint.restore_latest(folder, template, config, changes.get("data", "d" * 64), warn or [].append)


def damage(path: Path) -> None:
    """Flips one bit in the middle of every data file."""
    for file in path.glob("state/**/d/*"):
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    write(folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """A copy of its own, which also shows that checkpoints may be moved."""
    return Path(shutil.copytree(written, tmp_path / "checkpoints"))


def test_what_was_saved_comes_back_bit_for_bit(folder):
    state, record = restore(folder)
    wanted = host_state(6)
    assert jax.tree.structure(state) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert record["step"] == 6
    assert from_dict(record["config"], TrainConfig) == CONFIG


def test_the_two_latest_and_the_best_are_kept(tmp_path):
    write(tmp_path / "c", steps=(1, 2, 3, 4, 5), best=2)
    assert checkpoint.steps_in(tmp_path / "c") == [2, 4, 5]


@pytest.mark.parametrize("how", ["bits", "missing", "record"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(folder, how):
    if how == "bits":
        damage(folder / "6")
    elif how == "missing":
        next(iter((folder / "6" / "state" / "d").iterdir())).unlink()
    else:
        (folder / "6" / "_CHECKPOINT_METADATA").write_text("{")
    notes: list[str] = []
    state, record = restore(folder, notes.append)
    assert record["step"] == 4
    np.testing.assert_array_equal(state.params["first"]["kernel"], host_state(4).params["first"]["kernel"])
    assert len(notes) == 1
    assert str(folder / "6") in notes[0]
    assert "damaged" in notes[0]
    assert checkpoint.steps_in(folder) == [2, 4]
    assert (folder / "6.damaged").is_dir()


def test_sums_are_those_of_sha256sum(folder):
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder / "6", capture_output=True, text=True, check=True
    )
    assert done.stdout.count(": OK") == len([f for f in (folder / "6").rglob("*") if f.is_file()]) - 1


def test_a_checkpoint_whose_sums_were_not_yet_written_is_read(folder):
    (folder / "6" / "SHA256SUMS").unlink()
    assert restore(folder)[1]["step"] == 6


def test_a_half_written_checkpoint_is_not_taken_for_one(folder):
    half = folder / "8.orbax-checkpoint-tmp"
    (half / "state").mkdir(parents=True)
    _, record = restore(folder)
    assert record["step"] == 6
    write(folder, (8,))
    assert not half.exists()
    assert restore(folder)[1]["step"] == 8


def test_nothing_sound_left_is_an_error(folder):
    for step in (2, 4, 6):
        damage(folder / str(step))
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        restore(folder)


def test_nothing_there_is_none(tmp_path):
    assert restore(tmp_path / "absent") is None


def test_another_recipe_data_network_or_format_names_the_mismatch(folder):
    with pytest.raises(UserError, match=r"seed was 0, is 5"):
        restore(folder, config={"seed": 5})
    optim = dataclasses.replace(CONFIG.optim, lr=0.7)
    with pytest.raises(UserError, match=r"optim\.lr was 0\.1, is 0\.7"):
        restore(folder, config={"optim": optim})
    with pytest.raises(UserError, match="trained on other data"):
        restore(folder, data="e" * 64)
    with pytest.raises(UserError, match=r"another network's checkpoint; 5 arrays differ, the first is model_state/"):
        restore(folder, template=fresh(False))
    assert restore(folder, config={"devices": 3, "backend": "shard_map"}) is not None
    path = folder / "6" / "_CHECKPOINT_METADATA"
    path.write_text(path.read_text().replace('"format": 1', '"format": 7'))
    (folder / "6" / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="format 7; this jaxqc reads format 1"):
        restore(folder)


def test_a_run_from_before_a_field_existed_goes_on_with_its_default(tmp_path):
    old = to_dict(CONFIG)
    del old["nan_patience"], old["optim"]["clip"]
    assert (CONFIG.optim.clip, as_now(old, TrainConfig)) == (OptimConfig().clip, to_dict(CONFIG))
    saves = checkpoint.Checkpoints(tmp_path / "checkpoints")
    saves.save(2, host_state(2), {"config": old, "data": "d" * 64, "metrics": {}, "best": {"step": 2}}, 2)
    saves.close()
    assert restore(tmp_path / "checkpoints")[1]["step"] == 2
    with pytest.raises(UserError, match=r"optim\.clip was 10\.0, is 7\.0"):
        restore(tmp_path / "checkpoints", config={"optim": dataclasses.replace(CONFIG.optim, clip=7.0)})
    assert as_now(old | {"gone": 1}, TrainConfig) == old | {"gone": 1}


def test_load_variables_gives_best_or_last_with_the_recipe(folder):
    run = folder.parent
    (run / "meta.json").write_text('{"classes": ["a"]}')
    variables, config, meta = checkpoint.load_variables(run)
    assert (meta["step"], meta["metrics"], meta["classes"]) == (2, {"mae": 0.2}, ["a"])
    assert config == CONFIG
    assert set(variables) == {"params", "batch_stats"}
    np.testing.assert_array_equal(variables["params"]["last"]["kernel"], host_state(2).params["last"]["kernel"])
    assert checkpoint.load_variables(run, "last")[2]["step"] == 6
    damage(folder / "2")
    with pytest.raises(UserError, match=r"checkpoints/2 is damaged .*step 6"):
        checkpoint.load_variables(run)
    with pytest.raises(UserError, match="no checkpoint there"):
        checkpoint.load_variables(run / "elsewhere")
    with pytest.raises(UserError, match="did you mean 'best'"):
        checkpoint.load_variables(run, "bset")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "file"))):
        checkpoint.Checkpoints(tmp_path / "file" / "checkpoints")


FULL_DISK = """
import sys
sys.path[:0] = sys.argv[2:]
import numpy as np, resource
from pathlib import Path
from jaxqc.errors import UserError
from jaxqc.training.checkpoint import Checkpoints
saves = Checkpoints(Path(sys.argv[1]))
record = {"config": {}, "data": "", "best": {"step": 1}}
saves.save(1, {"params": {"w": np.ones(8, np.float32)}}, record, 1)
saves.wait()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    saves.save(2, {"params": {"w": np.random.default_rng(0).normal(size=100_000)}}, record, 1)
    saves.close()
except UserError as e:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("USER ERROR", e)
"""


def test_a_full_disk_is_a_clear_error_and_leaves_the_earlier_checkpoints(tmp_path):
    """A file-size limit stands in for the full disk: both make the write itself fail."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "c"), root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ}, check=False)
    assert "USER ERROR" in done.stdout, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert "saving the checkpoint of step 2 failed" in done.stdout
    assert "checkpoints 1 are intact" in done.stdout
    assert checkpoint.steps_in(tmp_path / "c") == [1]
    flat, _ = checkpoint.read(tmp_path / "c" / "1")
    np.testing.assert_array_equal(flat[("params", "w")], np.ones(8, np.float32))

"""The loop end to end, in this process: learning, records, resumption, phases, modes, guards."""

import csv
import json
import os
import signal

import jax
import numpy as np
import pytest

from jaxqc.config import DataConfig, OptimConfig, Phase
from jaxqc.errors import UserError
from jaxqc.training import feed, loop
from jaxqc.training.checkpoint import load_variables, read, steps_in
from jaxqc.training.evaluate import make_evaluate, predict_maps
from jaxqc.training.logs import WALL_FIELDS, read_rows
from jaxqc.training.parallel import make_parallel
from tests.support.tiny_method import SIDE, TinyMethod, tiny_config, tiny_data

TRAIN, VAL = tiny_data(24), tiny_data(6, 1)


def run(folder, method=None, train=TRAIN, val=VAL, **changes):
    return loop.run(method or TinyMethod(), tiny_config(**changes), train, val, folder, progress=False)


def records(folder):
    """The run's rows without the fields that tell of the machine's pace."""
    return [{k: v for k, v in row.items() if k not in WALL_FIELDS} for row in read_rows(folder / "metrics.jsonl")]


def final(folder):
    flat, record = read(folder / "checkpoints" / str(steps_in(folder / "checkpoints")[-1]))
    return flat, record


def assert_same_run(a, b):
    (flat_a, record_a), (flat_b, record_b) = final(a), final(b)
    assert flat_a.keys() == flat_b.keys()
    for key, value in flat_a.items():
        np.testing.assert_array_equal(value, flat_b[key], err_msg="/".join(key))
    assert records(a) == records(b)
    assert (record_a["best"], record_a["metrics"]) == (record_b["best"], record_b["metrics"])
    for name in ("image", "map", "step"):
        np.testing.assert_array_equal(np.load(a / "golden.npz")[name], np.load(b / "golden.npz")[name])


class Interrupt:
    """Sends this process SIGTERM once `step` has been started."""

    def __init__(self, monkeypatch, step):
        plain = feed.Resident.run

        def patched(self, state, stretch, start, count):
            if start <= step < start + count:
                os.kill(os.getpid(), signal.SIGTERM)
            return plain(self, state, stretch, start, count)

        monkeypatch.setattr(feed.Resident, "run", patched)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder)


def test_it_learns_and_says_what_it_reached(whole):
    folder, result = whole
    rows = records(folder)
    losses = [r["loss"] for r in rows if r["kind"] == "train"]
    assert losses[-1] < 0.6 * losses[0]
    evals = [r for r in rows if r["kind"] == "eval"]
    assert [r["step"] for r in evals] == [3, 6, 9, 12]
    assert result.step == 12
    assert result.metrics["mae"] == evals[-1]["mae"]
    best = min(evals, key=lambda r: r["mae"])
    assert (result.best_step, result.best["mae"]) == (best["step"], best["mae"])
    # an independent evaluation of what load_variables gives
    variables, _, meta = load_variables(folder)
    maps = predict_maps(TinyMethod(), variables, VAL.images, SIDE)["map"]
    assert np.abs(maps - VAL.masks).mean() == pytest.approx(best["mae"], abs=1e-6)
    assert meta["step"] == best["step"]


def test_the_run_folder_is_complete(whole):
    folder, _ = whole
    assert sorted(p.name for p in folder.iterdir()) == [
        "SHA256SUMS", "checkpoints", "config.json", "golden.npz", "log.csv", "meta.json", "metrics.jsonl", "tb",
    ]  # fmt: skip
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["data_digest"] == TRAIN.digest()
    assert meta["versions"]["jax"] == jax.__version__
    table = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    rows = read_rows(folder / "metrics.jsonl")
    assert len(table) == len(rows)
    assert [float(t["step"]) for t in table] == [r["step"] for r in rows]
    assert list((folder / "tb").iterdir())
    golden = dict(np.load(folder / "golden.npz"))
    variables, _, _ = load_variables(folder)
    np.testing.assert_array_equal(golden["image"], VAL.images[:2])
    again = predict_maps(TinyMethod(), variables, golden["image"], int(golden["size"]))
    np.testing.assert_allclose(golden["map"], again["map"], atol=1e-6)


@pytest.mark.parametrize("step", [1, pytest.param(5, marks=pytest.mark.slow), 8])
def test_sigterm_saves_and_the_resumed_run_is_bit_identical(whole, tmp_path, monkeypatch, capsys, step):
    with monkeypatch.context() as patch:
        Interrupt(patch, step)
        with pytest.raises(SystemExit) as ended:
            loop.run(TinyMethod(), tiny_config(), TRAIN, VAL, tmp_path)
    assert ended.value.code == 143
    assert "SIGTERM: saved step" in capsys.readouterr().err
    saved = steps_in(tmp_path / "checkpoints")[-1]
    assert step < saved <= step + 4
    result = run(tmp_path)
    assert result.step == 12
    assert_same_run(whole[0], tmp_path)


def test_resuming_a_finished_run_only_reports(whole, monkeypatch):
    folder, first = whole
    before = (folder / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(feed.Resident, "run", lambda *a: pytest.fail("nothing is left to train"))
    again = run(folder)
    assert (again.step, again.metrics, again.best) == (first.step, first.metrics, first.best)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_another_recipe_or_a_fresh_start_over_a_run_is_refused(whole):
    folder, _ = whole
    with pytest.raises(UserError, match=r"seed was 0, is 1"):
        run(folder, seed=1)
    with pytest.raises(UserError, match="holds a run already"):
        loop.run(TinyMethod(), tiny_config(), TRAIN, VAL, folder, resume=False)


def test_damaged_last_checkpoint_the_one_before_it_goes_on_to_the_same_end(whole, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        Interrupt(patch, 7)
        with pytest.raises(SystemExit):
            run(tmp_path)
    last = steps_in(tmp_path / "checkpoints")[-1]
    (tmp_path / "checkpoints" / str(last) / "SHA256SUMS").write_text("00  state/_METADATA\n")
    loop.run(TinyMethod(), tiny_config(), TRAIN, VAL, tmp_path)
    assert f"{last} is damaged" in capsys.readouterr().err
    assert_same_run(whole[0], tmp_path)


def test_a_run_goes_on_on_other_devices(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Interrupt(patch, 7)
        with pytest.raises(SystemExit):
            run(tmp_path)
    run(tmp_path, devices=4, backend="shard_map")
    for key, value in final(whole[0])[0].items():
        np.testing.assert_allclose(final(tmp_path)[0][key], value, atol=1e-5)


def test_stream_mode_gives_the_same_run(whole, tmp_path):
    run(tmp_path, data=DataConfig(mode="stream"), devices=2)
    for key, value in final(whole[0])[0].items():
        np.testing.assert_allclose(final(tmp_path)[0][key], value, atol=1e-5)
    assert [r["step"] for r in records(tmp_path)] == [r["step"] for r in records(whole[0])]


def test_resident_data_takes_the_recipes_size():
    assert feed.in_memory(TRAIN, DataConfig(size=0)) is TRAIN
    assert feed.in_memory(TRAIN, DataConfig(size=SIDE)) is TRAIN
    small = feed.in_memory(TRAIN, DataConfig(size=6))
    assert (small.images.shape, small.masks.shape, small.ids) == ((24, 6, 6, 1), (24, 6, 6), TRAIN.ids)
    assert np.abs(small.masks.mean() - TRAIN.masks.mean()) < 0.05
    assert small.images.mean() == pytest.approx(TRAIN.images.mean(), abs=3)


def test_no_training_data_is_an_error(tmp_path):
    with pytest.raises(UserError, match="training split is empty"):
        run(tmp_path, train=TRAIN.take([]))


def test_the_step_compiles_once_a_phase(tmp_path):
    """Chunks of 4, 3 and 1 steps, evaluations and saves between them: one program a phase size all the same."""
    compiled: list[str] = []
    traced: list[int] = []

    class Counted(TinyMethod):
        def loss(self, params, model_state, batch, key, extra=None):
            traced.append(batch["image"].shape[1])
            return super().loss(params, model_state, batch, key)

    def listen(event, duration, **kwargs):
        if event == "/jax/core/compile/backend_compile_duration":  # also what a persistent cache answers
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        run(tmp_path / "short", Counted())
        assert traced == [8, 12]
        short = len(compiled)
        run(tmp_path / "long", Counted(), phases=(Phase(7, 8, 8), Phase(9, SIDE, 8)))
        # four times the steps, not one compilation more (fewer, where small helpers are cached in the process)
        assert 0 < len(compiled) - short <= short
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_the_transfer_guard_is_on_in_the_loop(tmp_path, monkeypatch):
    plain = feed.Resident.run

    def leaky(self, state, stretch, start, count):
        _ = jax.numpy.sin(np.ones(3))  # a hidden copy to the device
        return plain(self, state, stretch, start, count)

    monkeypatch.setattr(feed.Resident, "run", leaky)
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        run(tmp_path)


def test_nan_patience_names_the_step_the_last_checkpoint_and_the_batch(tmp_path):
    plan = loop.plan.make_plan(tiny_config(), 24, 1)
    batch = plan[1].indices(7, 1, 0, 24)[0]
    poisoned = tiny_data(24, poisoned=(int(batch[0]),))
    bad = next(s for s in range(12) if batch[0] in plan[s >= 6].indices(s, 1, 0, 24)[0])
    with pytest.raises(UserError) as error:
        run(tmp_path, TinyMethod(), poisoned, nan_patience=1)
    ids = plan[bad >= 6].indices(bad, 1, 0, 24)[0]
    assert f"step {bad + 1}: loss or gradient not finite" in str(error.value)
    assert ", ".join(f"s{i:02d}" for i in ids) in str(error.value)
    # with patience the run goes through, without the poisoned batch of each epoch
    run(tmp_path / "patient", TinyMethod(), poisoned, nan_patience=2)
    rows = [r for r in records(tmp_path / "patient") if r["kind"] == "train"]
    assert sum(r["skipped"] for r in rows) == 4
    assert all(np.isfinite(r["loss"]) for r in rows)


def test_evaluation_counts_every_sample_once_on_any_devices():
    method, val = TinyMethod(), tiny_data(7, 2)
    variables = jax.device_get(method.init(jax.random.key(4)))
    maps = predict_maps(method, variables, val.images, SIDE)["map"]
    for devices, batch in ((1, 4), (4, 8), (8, 3)):
        parallel = make_parallel("pmap", devices)
        evaluate = make_evaluate(method, parallel, SIDE, batch)
        mae = evaluate(parallel.replicate(variables), [val.take([0, 1, 2]), val.take([3, 4, 5, 6])])["mae"]
        assert mae == pytest.approx(np.abs(maps - val.masks).mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"best_metric": "maee"}, "did you mean 'mae'"),
        ({"devices": 99}, "devices: 99"),
        ({"phases": (Phase(1, 8, 100),)}, "100 is more than the 24"),
        ({"optim": OptimConfig(warmup_epochs=50)}, "warmup_epochs"),
    ],
)
def test_recipes_that_cannot_run_are_refused_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        run(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        run(tmp_path / "file" / "run")


def test_without_validation_data_the_last_is_the_best(tmp_path):
    result = run(tmp_path, val=None, phases=(Phase(1, 8, 8),))
    assert (result.metrics, result.best) == ({}, {})
    assert load_variables(tmp_path)[2]["step"] == 3


def test_best_is_highest_or_for_mae_lowest(tmp_path):
    still = OptimConfig(lr=1e-9, warmup_epochs=0)
    for name in ("mae", "s_measure"):
        result = run(tmp_path / name, best_metric=name, optim=still, phases=(Phase(2, SIDE, 8),))
        rows = [r for r in records(tmp_path / name) if r["kind"] == "eval"]
        pick = min if name == "mae" else max
        assert result.best[name] == pick(r[name] for r in rows)
        assert len({r[name] for r in rows}) == 2  # batch statistics move although the weights hardly do


@pytest.mark.misuse
def test_a_method_of_an_earlier_version_is_refused_with_what_it_lacks(tmp_path):
    class Earlier:
        """All that a tiny method has, but for two functions."""

        def __getattr__(self, name):
            if name in ("active", "refuse"):
                raise AttributeError(name)
            return getattr(TinyMethod(), name)

    with pytest.raises(UserError, match=r"Earlier of tests\.\S*test_fit has no active, refuse; .*SingleNetwork"):
        run(tmp_path / "run", Earlier())
    assert not (tmp_path / "run").exists()

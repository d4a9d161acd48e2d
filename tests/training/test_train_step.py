"""The step: devices, backends, micro-batches, the NaN guard, and one compilation for every count."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.config import OptimConfig
from jaxqc.errors import UserError
from jaxqc.training.feed import Resident
from jaxqc.training.optim import flatten, make_optimizer, make_schedule
from jaxqc.training.parallel import make_parallel
from jaxqc.training.plan import make_plan
from jaxqc.training.state import create
from jaxqc.training.step import make_scan, make_step
from tests.support.tiny_method import SIDE, TinyMethod, tiny_config, tiny_data

CALL = 4
SEED = 0


def train(method, backend="pmap", devices=1, steps=CALL, accumulate=1, data=None, optim=None):
    """`steps` batches of 8 in one call of the resident scan of CALL steps; gives the host state and logs."""
    data = data or tiny_data(24)
    config = tiny_config(optim=optim or OptimConfig(lr=0.1, warmup_epochs=0))
    parallel = make_parallel(backend, devices)
    optimizer = make_optimizer(config.optim)
    step = make_step(method, optimizer, make_schedule(config.optim, 12), SIDE, accumulate)
    call = parallel.map(make_scan(step, CALL), donate=(0,))
    state = parallel.replicate(jax.device_get(create(method, optimizer, jax.random.key(1))))
    arrays = parallel.replicate({"image": data.images, "mask": data.masks, "label": data.labels})
    rows = make_plan(config, len(data), 1)[0].indices(0, CALL, SEED, len(data))
    rows = rows.reshape(CALL, devices, -1).transpose(1, 0, 2)
    counts = parallel.put(np.full(devices, steps, np.int32))
    state, logs = call(state, arrays, parallel.put(rows), counts, parallel.replicate(np.uint32(SEED)))
    return parallel.unreplicate(state), {k: v[:steps] for k, v in parallel.unreplicate(logs).items()}


def assert_close(a, b, tol=1e-5):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tol, atol=tol)


@pytest.fixture(scope="module")
def alone():
    return train(TinyMethod())


@pytest.mark.parametrize(("backend", "devices"), [("pmap", 8), ("shard_map", 8)])
def test_any_backend_and_number_of_devices_give_the_same(alone, backend, devices):
    state, logs = train(TinyMethod(), backend, devices)
    assert_close(state, alone[0])
    assert_close(logs, alone[1])
    assert logs["loss"].shape == (4,)
    assert int(state.step) == 4


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_the_resident_feed_gives_the_same_in_calls_of_any_length(alone, steps):
    class Calls(Resident):
        @property
        def steps(self):
            return steps

    config = tiny_config(optim=OptimConfig(lr=0.1, warmup_epochs=0), seed=SEED)
    parallel, data, optimizer = make_parallel("pmap", 2), tiny_data(24), make_optimizer(config.optim)
    feed = Calls(TinyMethod(), optimizer, make_schedule(config.optim, 12), config, parallel, data)
    state = parallel.replicate(jax.device_get(create(TinyMethod(), optimizer, jax.random.key(1))))
    span = replace(make_plan(config, len(data), 2)[0], size=SIDE)
    state, fetch = feed.run(state, span, 0, CALL)
    assert_close(parallel.unreplicate(state), alone[0])
    assert_close(fetch(), alone[1])


def test_unsynchronised_batch_norm_would_be_seen(alone):
    """The comparison above can fail: one device's batch norm over its own image differs."""

    class Local(TinyMethod):
        def loss(self, params, model_state, batch, key, extra=None):
            stats = jax.tree.map(lambda x: x * (1 + jax.lax.axis_index("devices")), model_state)
            return super().loss(params, stats, batch, key)

    state, _ = train(Local(), "pmap", 8)
    with pytest.raises(AssertionError):
        assert_close(state.model_state, alone[0].model_state)


def test_every_replica_holds_the_same_state():
    parallel = make_parallel("pmap", 8)
    method, optim = TinyMethod(), OptimConfig(lr=0.1, warmup_epochs=0)
    optimizer = make_optimizer(optim)
    step = make_step(method, optimizer, make_schedule(optim, 12), SIDE)
    call = parallel.map(lambda s, b, seed: step(s, b, jax.random.key(seed)), donate=(0,))
    state = parallel.replicate(jax.device_get(create(method, optimizer, jax.random.key(1))))
    data = tiny_data(8)
    batch = {"image": data.images, "mask": data.masks, "label": data.labels, "weight": np.ones(8, np.float32)}
    state, _ = call(state, parallel.shard(batch), parallel.replicate(np.uint32(0)))
    for leaf in jax.tree.leaves(state):
        rows = [np.asarray(s.data) for s in leaf.addressable_shards]
        assert len(rows) == 8
        assert all(np.array_equal(rows[0], r) for r in rows)


def test_micro_batches_equal_the_plain_batch_without_batch_norm():
    method = TinyMethod(norm=False)
    plain, plain_logs = train(method)
    cut, logs = train(method, "pmap", 2, accumulate=2)
    assert_close(cut, plain)
    assert_close(logs, plain_logs)


def test_augmentation_draws_by_place_in_the_batch_and_anew_each_step():
    """With a learning rate of 0 the same batch gives another loss at another step, by the flips alone."""

    class Flips(TinyMethod):
        def loss(self, params, model_state, batch, key, extra=None):
            loss, (state, logs) = super().loss(params, model_state, batch, key)
            column = (batch["image"] * jnp.arange(SIDE)[:, None]).mean()
            return loss, (state, {**logs, "column": column})

    data = tiny_data(8)
    _, logs = train(Flips(), data=data, optim=OptimConfig(lr=0.0, warmup_epochs=0))
    assert len(set(logs["column"].round(5).tolist())) > 1
    _, spread = train(Flips(), "pmap", 8, data=data, optim=OptimConfig(lr=0.0, warmup_epochs=0))
    np.testing.assert_allclose(spread["column"], logs["column"], rtol=1e-5)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted():
    data = tiny_data(24)
    rows = make_plan(tiny_config(), 24, 1)[0].indices(0, 4, 0, 24)
    poisoned = tiny_data(24, poisoned=(int(rows[1][0]), int(rows[2][3])))
    before, _ = train(TinyMethod(), steps=1, data=data)
    after, logs = train(TinyMethod(), steps=3, data=poisoned)
    assert logs["bad"].tolist() == [0, 1, 2]
    assert np.isnan(logs["loss"][1:]).all()
    assert int(after.bad_steps) == 2
    assert int(after.step) == 3
    for part in ("params", "model_state", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, part), getattr(before, part))
    # a good step sets the count back; the rate goes on by the step, not by the steps applied
    once = tiny_data(24, poisoned=(int(np.setdiff1d(rows[2], rows[3])[0]),))
    _, logs = train(TinyMethod(), steps=4, data=once)
    assert logs["bad"].tolist() == [0, 0, 1, 0]
    schedule = make_schedule(OptimConfig(lr=0.1, warmup_epochs=0), 12)
    np.testing.assert_allclose(logs["lr"], [float(schedule(jnp.int32(s))) for s in range(4)], rtol=1e-6)


def test_rows_beyond_the_count_are_not_run():
    method, config = TinyMethod(), tiny_config()
    parallel = make_parallel("pmap", 1)
    optimizer = make_optimizer(config.optim)
    traces = []

    class Counted(TinyMethod):
        def loss(self, *args):
            traces.append(1)
            return super().loss(*args)

    step = make_step(Counted(), optimizer, make_schedule(config.optim, 12), SIDE)
    call = parallel.map(make_scan(step, 4))
    data = tiny_data(24)
    state = parallel.replicate(jax.device_get(create(method, optimizer, jax.random.key(1))))
    arrays = parallel.replicate({"image": data.images, "mask": data.masks, "label": data.labels})
    rows = parallel.put(np.arange(32, dtype=np.int32).reshape(1, 4, 8) % 24)
    seed = parallel.replicate(np.uint32(0))
    for count in (4, 1, 3):
        new, logs = call(state, arrays, rows, parallel.put(np.array([count], np.int32)), seed)
        assert int(parallel.unreplicate(new.step)) == count
        loss = parallel.unreplicate(logs)["loss"]
        assert (loss[:count] > 0).all()
        assert (loss[count:] == 0).all()
    assert len(traces) == 1


def test_what_rests_stays_as_it_is_and_so_do_its_parts_of_adams_vectors():
    """The first array moves in every second step alone."""

    class Resting(TinyMethod):
        def active(self, params, step):
            first, *others = jax.tree.leaves(params)
            flags = [jnp.full(first.shape, step % 2 == 0, jnp.float32), *map(jnp.ones_like, others)]
            return jax.tree.unflatten(jax.tree.structure(params), flags)

    adam = OptimConfig("adam", lr=0.1, weight_decay=0.0, warmup_epochs=0, clip=0.0)
    one, two = (train(Resting(), steps=steps, optim=adam)[0] for steps in (1, 2))
    vectors = lambda state: [x for x in jax.tree.leaves(state.opt_state) if np.ndim(x)]
    first = jax.tree.leaves(one.params)[0]
    assert len(vectors(one)) == 2
    assert np.abs(first - jax.tree.leaves(TinyMethod().init(jax.random.key(1))["params"])[0]).max() > 0
    for a, b in zip(*([flatten(s.params), *vectors(s)] for s in (one, two)), strict=True):
        np.testing.assert_array_equal(a[: first.size], b[: first.size])
        assert np.abs(a[first.size :] - b[first.size :]).max() > 0


@pytest.mark.misuse
def test_parallel_refuses_what_is_not_there():
    with pytest.raises(UserError, match="devices: 99"):
        make_parallel("pmap", 99)
    with pytest.raises(UserError, match="backend"):
        make_parallel("xmap", 0)


def test_replicas_and_shards_go_to_the_device_and_back(rng):
    parallel = make_parallel("shard_map", 4)
    tree = {"a": rng.normal(size=(3, 2)), "b": np.asarray(7, np.int32)}
    back = parallel.unreplicate(parallel.replicate(tree))
    np.testing.assert_allclose(back["a"], tree["a"].astype(np.float32))
    assert back["b"].shape == ()
    shard = parallel.shard({"x": np.arange(8)})["x"]
    assert [s.data.tolist() for s in shard.addressable_shards] == [[[0, 1]], [[2, 3]], [[4, 5]], [[6, 7]]]
    assert replace(parallel, backend="pmap").count == 4

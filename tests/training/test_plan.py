"""The run laid out in advance: every step once, whatever step it is resumed from."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.config import OptimConfig, Phase
from jaxqc.data.pipeline import make_loader
from jaxqc.errors import UserError
from jaxqc.training.plan import make_chunks, make_plan, step_at
from tests.support.tiny_method import tiny_config, tiny_data

phases = st.lists(
    st.builds(Phase, st.sampled_from([0.5, 1.0, 2.0, 3.5]), st.just(8), st.sampled_from([2, 4, 8])),
    min_size=1,
    max_size=3,
).map(tuple)


@settings(max_examples=60, deadline=None)
@given(phases, st.integers(8, 30), st.integers(1, 7), st.sampled_from([0, 0.5, 1, 3]), st.sampled_from([0, 1, 2]))
def test_chunks_run_every_step_once_and_end_where_something_follows(phases, n, k, evaluate, save):
    config = tiny_config(
        phases=phases, steps_per_call=k, eval_every_epochs=float(evaluate), checkpoint_every_epochs=float(save)
    )
    plan = make_plan(config, n, 1)
    chunks = list(make_chunks(plan, config))
    steps = [s for c in chunks for s in range(c.start, c.stop)]
    assert steps == list(range(plan[-1].stop))
    assert all(1 <= c.count <= k and c.span.start <= c.start and c.stop <= c.span.stop for c in chunks)
    assert chunks[-1].evaluate
    assert chunks[-1].save
    total = plan[-1].epoch(plan[-1].stop)
    if evaluate:
        marks = {step_at(plan, i * evaluate) for i in range(1, int(total / evaluate + 1e-9) + 1)} - {0}
        assert {c.stop for c in chunks if c.evaluate} == marks | {plan[-1].stop}
    # resumed anywhere, the same grid from there on
    for start in range(plan[-1].stop):
        rest = list(make_chunks(plan, config, start))
        assert rest[0].start == start
        assert rest[1:] == [c for c in chunks if c.start >= rest[0].stop]


def test_phases_count_their_own_batches_and_go_on_counting_epochs():
    config = tiny_config(phases=(Phase(2, 8, 8), Phase(1.5, 12, 4)))
    first, second = make_plan(config, 26, 1)
    assert (first.start, first.stop, first.per_epoch) == (0, 6, 3)
    assert (second.start, second.stop, second.per_epoch) == (6, 15, 6)
    assert second.epoch(15) == 3.5
    assert [step_at((first, second), e) for e in (0, 1, 2, 2.5, 3, 3.5, 9)] == [0, 3, 6, 9, 12, 15, 15]


def test_batches_are_those_of_the_stream_loader_and_no_epoch_repeats_an_order():
    data = tiny_data(24)
    plan = make_plan(tiny_config(), 24, 1)
    epochs = []
    for span in plan:
        loader = make_loader(data, span.batch, 5, span.position)
        rows = span.indices(span.start, span.stop - span.start, 5, 24)
        for row in rows:
            np.testing.assert_array_equal(data.images[row], next(loader)["image"])
        epochs += list(rows.reshape(-1, 24))
    assert all(sorted(e) == list(range(24)) for e in epochs)
    assert len({tuple(e) for e in epochs}) == len(epochs) == 4


@pytest.mark.parametrize(
    ("change", "devices", "words"),
    [
        ({"phases": ()}, 1, "phases"),
        ({"phases": (Phase(1, 8, 64),)}, 1, r"phases\[0\].batch: 64 is more than the 24"),
        ({"phases": (Phase(1, 8, 6),)}, 4, "multiple of 4"),
        ({"phases": (Phase(0, 8, 8),)}, 1, r"phases\[0\]"),
        ({"steps_per_call": 0}, 1, "steps_per_call"),
        ({"optim": OptimConfig(accumulate=0)}, 1, "accumulate"),
    ],
)
def test_impossible_recipes_are_refused(change, devices, words):
    with pytest.raises(UserError, match=words):
        make_plan(replace(tiny_config(), **change), 24, devices)

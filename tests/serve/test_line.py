"""The rule of the line: who goes into a batch and when, by a plain clock; and a model that does it by brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.errors import UserError
from jaxqc.serve.line import Job, Line, fitting, retry_after, sizes_to
from jaxqc.serve.pace import Pace
from jaxqc.serve.settings import SIZES, Batches, Limits, Settings, is_loopback


def test_a_full_kind_goes_before_the_first_job_has_waited():
    line = Line(most=2, wait=10.0)
    for item, kind in (("a", 1), ("b", 2), ("c", 2)):
        line.put(Job(item, kind, came=0.0))
    assert line.due(0.0) == 0.0
    assert [job.item for job in line.take(0.0)] == ["b", "c"]
    assert line.due(0.0) == 10.0
    assert line.take(9.9) == []
    assert [job.item for job in line.take(10.0)] == ["a"]
    assert line.due(10.0) == math.inf


def test_a_job_that_has_waited_goes_before_a_kind_that_is_full():
    line = Line(most=2, wait=1.0)
    for item, kind, came in (("old", 1, 0.0), ("b", 2, 1.0), ("c", 2, 1.0)):
        line.put(Job(item, kind, came))
    assert [job.item for job in line.take(1.0)] == ["old"]


def test_closing_waits_for_nobody():
    line = Line(most=8, wait=100.0)
    line.put(Job("a", 0, came=0.0))
    assert [job.item for job in line.take(0.0, closing=True)] == ["a"]


def test_gone_and_late_jobs_leave_without_a_batch():
    line = Line(most=8, wait=1.0)
    jobs = [Job("gone", 0, 0.0, gone=True), Job("late", 0, 0.0, deadline=0.5), Job("here", 0, 0.0, deadline=5.0)]
    for job in jobs:
        line.put(job)
    assert line.due(0.0) == 0.5
    assert [job.item for job in line.drop(0.5)] == ["late"]
    assert [job.item for job in line.take(1.0)] == ["here"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1), st.booleans()), max_size=30),
    st.sampled_from(SIZES[:4]),
    st.floats(0, 0.5),
)
def test_every_job_is_taken_once_in_order_and_never_too_early(came, most, wait):
    """Whatever comes, each job that is not gone is in one batch, of its kind alone, in order of arrival."""
    came = sorted(came, key=lambda one: one[1])
    line, taken, now = Line(most, wait), [], 0.0
    jobs = [Job(i, kind, at, gone=gone) for i, (kind, at, gone) in enumerate(came)]
    coming = list(jobs)
    while coming or len(line):
        now = min(coming[0].came if coming else math.inf, max(now, line.due(now)))
        while coming and coming[0].came <= now:
            line.put(coming.pop(0))
        line.drop(now)
        while batch := line.take(now):
            taken.append(batch)
            assert len(batch) == most or now >= batch[0].came + wait
            assert len(batch) <= most
            assert len({job.kind for job in batch}) == 1
    done = [job for batch in taken for job in batch]
    assert sorted(job.item for job in done) == [job.item for job in jobs if not job.gone]
    for kind in range(3):
        own = [job.item for job in done if job.kind == kind]
        assert own == sorted(own)


def test_sizes():
    assert sizes_to(32) == SIZES
    assert [fitting(n, SIZES) for n in (1, 2, 3, 5, 9, 17, 32)] == [1, 2, 4, 8, 16, 32, 32]
    assert retry_after(10_000, 1.0) == 60


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Settings(host="0.0.0.0"), "--token-file"),
        (lambda: Settings(host="inspect.example"), "--token-file"),
        (lambda: Settings(batches=Batches(most=3)), "--max-batch: 3"),
        (lambda: Settings(batches=Batches(wait_ms=-1)), "--max-wait-ms"),
        (lambda: Settings(batches=Batches(wait_ms=math.nan)), "--max-wait-ms"),
        (lambda: Settings(limits=Limits(body=0)), "body"),
        (lambda: Settings(port=70_000), "--port"),
    ],
)
def test_settings_are_refused(make, words):
    with pytest.raises(UserError, match=words):
        make()


def test_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example", "")))
    Settings(host="0.0.0.0", token="secret")


def through(waiting, sizes, seconds, share):
    """Times at which jobs that wait together are done, one batch after another."""
    clock, done = 0.0, []
    while waiting:
        count = share((), waiting)
        assert 1 <= count <= waiting
        clock += seconds[fitting(count, sizes)]
        done += [clock] * count
        waiting -= count
    return done


@settings(deadline=None)
@given(st.integers(1, 16), st.floats(0.0, 1.0), st.floats(0.001, 0.1))
def test_no_job_waits_longer_than_in_one_filled_up_batch(waiting, fixed, each):
    """Whatever a batch costs at the start and by its size: against all jobs in one batch."""
    sizes = SIZES[:5]
    seconds = {size: fixed + each * size for size in sizes}
    pace = Pace(sizes)
    for size in sizes:
        pace.note((), size, seconds[size])
    own, plain = through(waiting, sizes, seconds, pace.share), through(waiting, sizes, seconds, lambda kind, n: n)
    assert max(own) <= max(plain) + 1e-9
    assert all(a <= b + 1e-9 for a, b in zip(own, plain, strict=True))
    if not fixed:
        assert max(own) == pytest.approx(each * waiting)  # by the binary digits of their number, nothing is padded


def test_times_are_of_a_kind_and_follow_the_device():
    pace = Pace((1, 2, 4))
    for size, seconds in ((1, 0.1), (2, 0.2), (4, 0.4)):
        pace.note("a", size, seconds)
    assert (pace.share("a", 3), pace.share("b", 3)) == (2, 3)
    for _ in range(40):
        pace.note("a", 3, 0.1)  # which is filled up to four
    assert pace.share("a", 3) == 3


def test_a_line_takes_the_share_and_the_rest_next():
    line = Line(most=4, wait=0.0, share=lambda kind, waiting: min(waiting, 2))
    for i in range(3):
        line.put(Job(i, (), came=0.0))
    assert [[job.item for job in line.take(0.0)] for _ in range(3)] == [[0, 1], [2], []]


def waits(seconds, rate, share, count=3000):
    """Times from arrival to the end of the batch, of images that come at random to one device; in seconds."""
    come = np.cumsum(np.random.default_rng(0).exponential(1 / rate, count)).tolist()
    pace = Pace(tuple(seconds))
    line, now, found, coming = Line(max(seconds), 0.005, share=share or pace.share), 0.0, [], 0
    while coming < count or len(line):
        while coming < count and come[coming] <= now:
            line.put(Job(coming, (), come[coming]))
            coming += 1
        batch = line.take(now)
        if not batch:
            now = max(now, min(line.due(now), come[coming] if coming < count else math.inf))
            continue
        took = seconds[fitting(len(batch), tuple(seconds))]
        pace.note((), len(batch), took)
        now += took
        found += [now - job.came for job in batch]
    return np.array(found)


def test_at_half_load_the_slowest_hundredth_waits_much_shorter_than_with_batches_that_are_filled_up():
    """A device whose batches take about as long as their size says; the same arrivals."""
    seconds = {size: 0.002 + 0.01 * size for size in (1, 2, 4, 8, 16)}
    rate = 0.5 * 16 / seconds[16]
    plain, paced = (waits(seconds, rate, share) for share in (lambda kind, waiting: waiting, None))
    assert np.percentile(paced, 99) < 0.7 * np.percentile(plain, 99)
    assert np.percentile(paced, 50) <= np.percentile(plain, 50) * 1.01

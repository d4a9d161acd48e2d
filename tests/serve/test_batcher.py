"""Micro-batches and grouped writes on a real event loop: order, errors, those who leave, deadlines, back-pressure."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxqc.serve.batcher import Batcher
from jaxqc.serve.door import Budget, Door
from jaxqc.serve.faults import Closing, Full, Late
from jaxqc.serve.grouped import Grouped


class Device:
    """Doubles numbers; `hold` keeps a batch in its thread."""

    def __init__(self):
        self.batches, self.hold, self.threads = [], threading.Event(), set()
        self.hold.set()

    def __call__(self, items, device):
        self.threads.add((device, threading.get_ident()))
        self.hold.wait(10)
        self.batches.append(list(items))
        if "bad" in items:
            raise ValueError("a bad batch")
        return [2 * item for item in items]


async def until(true, seconds=5.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def test_each_caller_gets_its_own_result_and_batches_fill():
    device = Device()

    async def work():
        async with Batcher(device, most=4, wait=0.05) as batcher:
            return await asyncio.gather(*(batcher.submit(i) for i in range(10)))

    assert asyncio.run(work()) == [2 * i for i in range(10)]
    assert device.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_kinds_are_not_mixed_and_every_device_works():
    device = Device()

    async def work():
        async with Batcher(device, most=2, wait=0.01, devices=2) as batcher:
            await asyncio.gather(*(batcher.submit(i, kind=i % 3) for i in range(30)))

    asyncio.run(work())
    assert all(len({i % 3 for i in batch}) == 1 for batch in device.batches)
    assert sorted(i for batch in device.batches for i in batch) == list(range(30))
    assert len({thread for _, thread in device.threads}) == 2


def test_who_leaves_costs_no_batch_and_who_is_late_is_told():
    device = Device()

    async def work():
        async with Batcher(device, most=1, wait=0.0) as batcher:
            device.hold.clear()
            first = asyncio.create_task(batcher.submit(1))
            await until(lambda: device.threads)
            leaving = asyncio.create_task(batcher.submit(2))
            late = asyncio.create_task(batcher.submit(3, deadline=asyncio.get_running_loop().time() + 0.05))
            last = asyncio.create_task(batcher.submit(4))
            await asyncio.sleep(0.1)
            assert batcher.waiting == 3
            leaving.cancel()
            device.hold.set()
            assert await first == 2
            assert await last == 8
            with pytest.raises(Late):
                await late
            with pytest.raises(asyncio.CancelledError):
                await leaving

    asyncio.run(work())
    assert device.batches == [[1], [4]]


def test_a_failed_batch_fails_its_callers_and_no_other():
    device = Device()

    async def work():
        async with Batcher(device, most=2, wait=0.01) as batcher:
            found = await asyncio.gather(*(batcher.submit(i) for i in ("bad", 1, 2, 3)), return_exceptions=True)
            errors = found[:2]
            assert [str(e) for e in errors] == ["a bad batch"] * 2
            assert errors[0] is not errors[1]
            assert found[2:] == [4, 6]

    asyncio.run(work())


def test_closing_ends_what_is_in_the_line_and_takes_nothing_more():
    device = Device()

    async def work():
        batcher = Batcher(device, most=4, wait=60.0)
        async with batcher:
            waiting = asyncio.create_task(batcher.submit(1))
            await asyncio.sleep(0)
        assert await waiting == 2
        with pytest.raises(Closing):
            await batcher.submit(2)

    asyncio.run(work())


def test_the_loop_runs_on_while_a_batch_is_scored():
    device = Device()

    async def work():
        async with Batcher(device, most=1, wait=0.0) as batcher:
            device.hold.clear()
            task, beats = asyncio.create_task(batcher.submit(1)), 0
            await until(lambda: device.threads)
            for _ in range(20):
                await asyncio.sleep(0.001)
                beats += 1
            assert not task.done()
            device.hold.set()
            await task
            return beats

    assert asyncio.run(work()) == 20


def test_the_door_refuses_what_does_not_fit_and_says_when():
    door = Door(images=3, size=100, later=lambda images: images)
    with door.let_in(2, 60):
        with pytest.raises(Full) as images, door.let_in(2, 1):
            pass
        with pytest.raises(Full), door.let_in(1, 41):
            pass
        with door.let_in(1, 40) as seat, pytest.raises(Full):
            seat.grow(1)
    assert images.value.retry_after == 2
    assert (door.images, door.size) == (0, 0)
    with door.let_in(1, 1000) as seat:  # alone
        seat.grow(2)
        assert door.images == 3
    assert (door.images, door.size) == (0, 0)


def test_a_budget_is_never_exceeded_and_never_lost():
    async def work():
        budget, held, most = Budget(10), 0, 0

        async def use(amount):
            nonlocal held, most
            async with budget.share(amount):
                held += min(amount, 10)
                most = max(most, held)
                await asyncio.sleep(0.001)
                held -= min(amount, 10)

        tasks = [asyncio.create_task(use(1 + 7 * i % 13)) for i in range(60)]
        await asyncio.sleep(0.002)
        for task in tasks[5::7]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= 10
        assert budget.left == 10

    asyncio.run(work())


def test_writes_go_in_groups_and_a_bad_record_spoils_only_its_own():
    written, hold = [], threading.Event()

    def write(records):
        hold.wait(10)
        if "bad" in records:
            raise ValueError("no such record")
        written.append(list(records))
        return [f"kept {record}" for record in records]

    async def work():
        with ThreadPoolExecutor(1) as pool:
            async with Grouped(write, pool) as grouped:
                first = asyncio.create_task(grouped.keep(0))
                await asyncio.sleep(0.02)
                rest = [asyncio.create_task(grouped.keep(record)) for record in (1, 2, "bad", 3)]
                await asyncio.sleep(0.02)
                rest[0].cancel()
                hold.set()
                found = await asyncio.gather(first, *rest, return_exceptions=True)
            with pytest.raises(Closing):
                await grouped.keep(4)
            return found

    found = asyncio.run(work())
    assert isinstance(found[1], asyncio.CancelledError)
    assert found[0] == "kept 0"
    assert found[2] == "kept 2"
    assert str(found[3]) == "no such record"
    assert found[4] == "kept 3"
    assert written == [[0], [1], [2], [3]]  # also that of the caller who left


def test_a_group_is_one_write():
    written, hold = [], threading.Event()

    def write(records):
        hold.wait(10)
        written.append(len(records))
        return records

    async def work():
        with ThreadPoolExecutor(1) as pool:
            async with Grouped(write, pool, most=30) as grouped:
                tasks = [asyncio.create_task(grouped.keep(i)) for i in range(50)]
                await asyncio.sleep(0.02)
                hold.set()
                assert await asyncio.gather(*tasks) == list(range(50))

    asyncio.run(work())
    assert sum(written) == 50
    assert len(written) <= 3

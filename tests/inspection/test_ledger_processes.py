"""Real writer processes: killed at random moments, and several at once, on SQLite and on a real PostgreSQL."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from jaxqc.errors import UserError
from jaxqc.inspection.ledger.queries import entries
from jaxqc.inspection.ledger.store import open_ledger
from tests.support.ledger_makers import MODEL, finding, row
from tests.support.run_ledger import SIZE, batch

SCRIPT = Path(__file__).parents[1] / "support" / "run_ledger.py"
BATCHES = 40


def start(where, first=0, last=BATCHES, seed=0, *deadly):
    command = [sys.executable, str(SCRIPT), where, str(first), str(last), str(seed), *deadly]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "PYTHONPATH": paths})


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return out


def whole_batches(where):
    """The numbers of the batches in the ledger; fails where one is in part, or an image without its defects."""
    ledger = open_ledger(where, create=False)
    with ledger, ledger.database.reading() as connection:
        ask = lambda text: [tuple(r) for r in connection.execute(sa.text(text))]
        half = (
            "SELECT id FROM inspections i WHERE kept <> (SELECT count(*) FROM defects d WHERE d.inspection_id = i.id)"
        )
        assert not ask(half)
        assert not ask("SELECT 1 FROM defects WHERE inspection_id NOT IN (SELECT id FROM inspections)")
        assert not ask("SELECT sha256 FROM inspections GROUP BY sha256 HAVING count(*) > 1")
        present = {
            name for (name,) in ask("SELECT image FROM sightings WHERE sha256 IN (SELECT sha256 FROM inspections)")
        }
    numbers = set()
    for number in range(BATCHES):
        here = sum(f"images/{i:06d}.png" in present for i in batch(number))
        assert here in (0, SIZE), f"batch {number}: {here} of {SIZE} images"
        numbers |= {number} if here else set()
    assert len(present) == len(numbers) * SIZE
    return numbers


def assert_all_there(where, batches=BATCHES):
    with open_ledger(where, create=False) as ledger:
        found = {e.finding.image: e for e in entries(ledger)}
    assert len(found) == batches * SIZE
    for i in range(batches * SIZE):
        entry = found[finding(i).image]
        assert entry.finding == finding(i)
        assert entry.row == {k: v for k, v in row(i).items() if k != "image"}


def killed_after(process, batches, rng):
    """The batches the process told of before it was killed, `batches` at least: in the midst of the next one or so."""
    told, since = [], time.monotonic()
    while len(told) < batches:
        told.append(int(process.stdout.readline()))
    # Ordered by its own words and not by the clock: a fast machine keeps them all within one sleep.
    time.sleep(rng.uniform(0, 2 * (time.monotonic() - since) / max(batches, 1)))
    os.kill(process.pid, signal.SIGKILL)
    return set(told) | {int(line) for line in process.communicate()[0].split()}


def kill_and_finish(where, kills):
    seed = random.randrange(10**6)
    rng, killed, kept = random.Random(seed), 0, set()
    for _ in range(kills):
        process = start(where)
        assert process.stdout.readline() == "open\n", process.stderr.read()
        # What is there already passes by in no time: each kill falls among the next few new batches.
        told = killed_after(process, min(len(kept) + rng.randrange(4), BATCHES - 1), rng)
        killed += process.returncode == -signal.SIGKILL
        now = whole_batches(where)
        assert told | kept <= now, f"seed {seed}: a batch that was said to be kept is lost"
        # Only the batch in flight can be there without having been told of.
        assert len(now - kept - told) <= 1, f"seed {seed}"
        kept = now
    finish(start(where))
    assert_all_there(where)
    return killed


def test_killed_at_random_moments_nothing_is_doubled_and_nothing_half(where):
    assert kill_and_finish(where, 3) > 0


def test_killed_between_an_image_and_its_defects(where):
    process = start(where, 0, 4, 0, finding(2 * SIZE + 3).image)
    assert process.communicate(timeout=300)[0] == "open\n0\n1\n"
    assert process.returncode == -signal.SIGKILL
    assert whole_batches(where) == {0, 1}
    finish(start(where, 0, 4))
    assert_all_there(where, 4)


@pytest.mark.slow
def test_killed_many_times(where):
    assert kill_and_finish(where, 40) > 20


def test_writers_with_common_images_at_once(where):
    writers = [start(where, 0, 12, seed) for seed in (1, 2, 3)]  # the ledger is not there yet: one makes it
    for writer in writers:
        finish(writer)
    assert_all_there(where, 12)


@pytest.mark.slow
def test_more_writers_than_cores(where):
    for writer in [start(where, 0, BATCHES, seed) for seed in range(1, 9)]:
        finish(writer)
    assert_all_there(where)


def test_a_reader_sees_one_moment_while_others_write(where):
    with open_ledger(where) as ledger:
        ledger.add([finding(i) for i in range(20)], MODEL)
        reader = entries(ledger, chunk=5)
        seen = [next(reader).finding.image]
        with open_ledger(where) as second:
            second.add([finding(i) for i in range(20, 30)], MODEL)
            assert second.count()["inspections"] == 30
        seen += [e.finding.image for e in reader]
        assert len(seen) == 20


def test_a_server_that_dies_in_between_is_an_error_in_one_line(postgres):
    url = postgres.database()
    with open_ledger(url) as ledger:
        ledger.add([finding(i) for i in range(8)], MODEL)
        postgres.stop()
        try:
            with pytest.raises(UserError) as e:
                ledger.add([finding(i) for i in range(8, 16)], MODEL)
            assert "\n" not in str(e.value)
        finally:
            postgres.start()
        # The same open ledger goes on with a new connection.
        assert ledger.add([finding(i) for i in range(16)], MODEL).new == 8
    with open_ledger(url) as ledger:
        assert ledger.count()["inspections"] == 16

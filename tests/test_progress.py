"""The progress display: plain lines, a bar on a terminal, silence, and the rate."""

import pytest

from jaxqc.progress import Progress

LOGS = {"loss": 0.25, "lr": 0.01}


def test_plain_lines_of_a_training_where_there_is_no_terminal(capsys):
    with Progress("starting", 20, every=0.0, start=10) as bar:
        bar.note("resumed [here] :x:")
        bar.step(11, 1.1, 64, LOGS, 123.4)
        bar.step(15, 1.5, 64, LOGS, 123.4)
        bar.step(20, 2.0, 64, LOGS, 123.4)
    note, first, line, last = capsys.readouterr().err.splitlines()
    assert note == "resumed [here] :x:"
    assert first.endswith(" images/s")  # no time left, since the first step was compiled in its course
    assert line.startswith("step 15/20  epoch 1.5  64 px  loss 0.2500  lr 1.00e-02  123.4 images/s  left 0:0")
    assert last.startswith("step 20/20")
    assert last.endswith("left 0:00")


def test_plain_lines_come_every_few_seconds_and_in_the_end(capsys):
    with Progress("counting", 3) as bar:
        for _ in range(3):
            bar.add(1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("counting  ")
    assert line.endswith(" images/s  3/3")


def test_a_line_of_the_first_work_alone_has_no_rate(capsys):
    with Progress("trying", 30, every=0.0) as bar:
        bar.add(8)
        bar.add(8)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "trying  8/30"
    assert " images/s  16/30  left 0:00" in second


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    with Progress("starting", 20) as bar:
        bar.step(15, 1.5, 64, LOGS, 123.4)
        bar.note("saved [here]")
    text = capsys.readouterr().err
    assert "15/20" in text
    assert "123.4 images/s" in text
    assert "saved [here]" in text


def test_silence(capsys):
    with Progress("counting", 20, enabled=False) as bar:
        bar.note("x")
        bar.step(20, 1.5, 64, LOGS, 1.0)
        bar.reach(3, 30)
    assert capsys.readouterr().err == ""
    assert (bar.done, bar.total) == (3, 30)


def test_the_first_work_in_whose_course_programs_are_compiled_does_not_count(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("jaxqc.progress.time.monotonic", lambda: now[0])
    bar = Progress("inspecting", 100, enabled=False)
    bar.add(50, passed=True)
    now[0] = 30.0
    bar.add(10)
    assert bar.rate == pytest.approx(10 / 30)  # all that is known yet
    assert bar._left() == ""
    now[0] = 34.0
    bar.add(20)
    assert bar.rate == pytest.approx(5.0)
    assert bar._left() == "  left 0:04"


def test_the_time_left_is_that_of_the_work_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("jaxqc.progress.time.monotonic", lambda: now[0])
    bar = Progress("training", 30, enabled=False, work=lambda step: step + 4 * max(0, step - 20))  # the last are large
    bar.step(10, 1.0, 64, LOGS, 1.0)
    now[0] = 10.0
    bar.step(20, 2.0, 64, LOGS, 1.0)
    assert bar._left() == "  left 0:50"
    now[0] = 35.0
    bar.step(25, 2.5, 128, LOGS, 1.0)
    assert bar._left() == "  left 0:25"


def test_what_was_done_before_does_not_count_in_the_rate(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    bar = Progress("inspecting", 100, enabled=False)
    bar.add(60, passed=True)
    bar.add(20)
    now[0] = 110.0
    assert bar.rate == pytest.approx(2.0)

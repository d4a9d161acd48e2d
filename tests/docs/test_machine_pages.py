"""The pages of machines, as `benchmarks.run_all` writes them, and its targets."""

from benchmarks import run_all


def row(device, rate, **more):
    where = {"platform": "cpu", "device": device, "cores": 2, "devices": 1, "load": 0.5}
    when = {"time": "2030-01-01T00:00:00", "commit": "abc", "versions": {"jax": "1"}}
    what = {"benchmark": "inference", "model": "minet", "name": "jaxqc backbone, folded", "batch": 16}
    return {**where, **when, **what, "images_per_s": rate, "vs_best": rate / 50, **more}


def test_a_run_writes_its_own_machines_page_alone(tmp_path):
    first, second = run_all.write_pages([row("First(R) @ 2.0GHz", 90.0), row("second", 33.0)], tmp_path)
    assert (first.name, second.name) == ("first-2-0ghz-2-cores.md", "second-2-cores.md")
    run_all.write_pages([row("First(R) @ 2.0GHz", 120.0)], tmp_path)
    text = first.read_text()
    assert text.startswith("# First(R) @ 2.0GHz, 2 cores\n")
    assert "| 120 |" in text
    assert "90" not in text
    assert "| 33 |" in second.read_text()
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_targets_are_judged_by_the_best_row_that_fits():
    rows = [row("cpu", 90.0), row("cpu", 110.0), row("cpu", 500.0, batch=4)]
    judged = {r["target"]: r for r in run_all.against_targets(rows)}
    assert [(r["measured"], r["met"]) for t, r in judged.items() if "batch 16" in t] == [(2.2, "yes")]
    assert run_all.against_targets([row("cpu", 90.0)])[0]["met"] == "NO"

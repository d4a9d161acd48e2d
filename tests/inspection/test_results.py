"""Files of an inspection's folder: problems as they come, and the few lines that the terminal has of warnings."""

from jaxqc.data.problems import Problem
from jaxqc.inspection.manifest import read_manifest
from jaxqc.inspection.results import Problems


def test_warnings_are_summed_up_by_kind(tmp_path):
    """Times in other ways of writing, a misspelt column and words for nothing: each kind is one line."""
    (tmp_path / "lots.csv").write_text(
        "image,lot,supplyer,time\na.png,L1,S,1.11.2026\nb.png,L2,S,2.11.2026\nc.png,NaN,S,\nd.png,L3,S,n/a\n"
    )
    for name in "abd":
        (tmp_path / f"{name}.png").touch()
    with Problems(tmp_path / "problems.csv") as problems:
        for problem in read_manifest(tmp_path / "lots.csv").problems:
            problems.add(problem)
        problems.add(Problem("=x.png", "bad-time", "x", "warning"))
    own = f"{tmp_path}/lots.csv: "
    assert problems.summary() == (
        f"{own}column 'lot': 1 cell holds 'NaN', taken as empty",
        f"{own}column 'time': 1 cell holds 'n/a', taken as empty",
        f"{own}column 'supplyer' is kept as it is; if it is the supplier, rename it 'supplier'",
        f"3 times: {own}line 2: time '1.11.2026' is not ISO 8601, so it cannot order lots (they go by name then); "
        "write it as 2026-11-21T08:30",
    )
    assert (problems.errors, problems.warnings) == (1, 6)
    assert problems.first == [f"{own}line 4: column 'lot' is empty; fill it"]
    assert "\n'=x.png,bad-time,warning,x,jaxqc-problem,1\n" in (tmp_path / "problems.csv").read_text()

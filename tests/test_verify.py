"""`jaxqc verify`: passes on the machine that trained, and fails when anything is altered."""

import shutil

import numpy as np
import pytest

from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.training.folder_sums import kept_file
from jaxqc.training.record import environment
from jaxqc.verify import verify
from tests.support.tiny_run import plates, recipe, run_folder, tiny_network  # noqa: F401 - fixtures


@pytest.fixture
def run(run_folder, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(run_folder, tmp_path / "run")


def rewrite(run, **changes):
    with np.load(run / "golden.npz") as archive:
        values = {**archive, **changes}
    with kept_file(run, "golden.npz") as part, part.open("wb") as file:
        np.savez(file, **{k: v for k, v in values.items() if v is not None})


def test_the_machine_that_trained_agrees_with_itself(run_folder, capsys):
    verdict = verify(run_folder)
    assert verdict.ok
    assert verdict.difference <= 1e-6
    assert 0 < verdict.folded_difference <= 1e-5
    assert main(["verify", str(run_folder)]) == 0
    shown = capsys.readouterr().out
    assert "OK: within the tolerance" in shown
    assert "jaxlib" in shown
    assert "->" not in shown


def test_another_output_is_outside(run, capsys):
    with np.load(run / "golden.npz") as archive:
        expected = archive["map"]
    rewrite(run, map=expected + np.float32(0.01))
    verdict = verify(run)
    assert verdict.difference == pytest.approx(0.01, rel=1e-3)
    assert not verdict.ok
    assert verify(run, tolerance=0.02).ok
    assert main(["verify", str(run)]) == 1
    assert "FAILED: outside" in capsys.readouterr().out
    rewrite(run, map=np.full_like(expected, np.nan))
    assert not verify(run).ok


def test_other_versions_are_shown(run, capsys, monkeypatch):
    here = environment()
    there = {**here, "versions": {**here["versions"], "jax": "0.0.1"}}
    monkeypatch.setattr("jaxqc.verdict.environment", lambda: there)
    assert main(["verify", str(run)]) == 0
    assert "0.0." in next(line for line in capsys.readouterr().out.splitlines() if "->" in line)


def test_bad_records_are_told(run, tmp_path):
    with np.load(run / "golden.npz") as archive:
        step, image = int(archive["step"]), archive["image"]
    rewrite(run, step=np.asarray(step + 1))
    with pytest.raises(UserError, match=f"made of step {step + 1}, the best checkpoint is of step {step}"):
        verify(run)
    rewrite(run, step=np.asarray(step), image=image.astype(np.float32))
    with pytest.raises(UserError, match="no golden record"):
        verify(run)
    rewrite(run, image=None)
    with pytest.raises(UserError, match="lacks"):
        verify(run)
    rewrite(run, image=image[:0], map=np.zeros((0, 4, 4), np.float32))
    with pytest.raises(UserError, match="nothing to compare"):
        verify(run)
    (run / "golden.npz").write_bytes(b"PK\3\4 and then nothing")
    with pytest.raises(UserError, match=r"damaged \(golden\.npz is not as it was saved\)"):
        verify(run)
    (run / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match=r"golden\.npz: damaged"):
        verify(run)
    (run / "golden.npz").unlink()
    with pytest.raises(UserError, match="no golden record"):
        verify(run)


def test_a_pickle_is_never_loaded(run):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    rewrite(run, image=np.array([Trap()], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        verify(run)

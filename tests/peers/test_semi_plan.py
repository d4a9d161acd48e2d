"""Planning the step's memory: rows of a CPU anywhere, of a GPU where JAX's CUDA plugin is, and what is refused."""

import subprocess
import sys
from pathlib import Path

import jax
import pytest

from benchmarks import semi_plan
from jaxqc.errors import UserError

TINY = ["--encoder", "vit_tiny14", "--size", "28", "--classes", "3"]
NO_PLUGIN = not any(semi_plan._there(module) for module in semi_plan.PLUGINS)


@pytest.mark.slow
def test_rows_for_the_cpu() -> None:
    args = semi_plan.parse([*TINY, "--gpu", "none", "--batch", "2", "4", "--attention", "xla", "--dtype", "float32"])
    small, large = (semi_plan.plan(args, jax.devices("cpu")[0], n, "xla") for n in args.batch)
    # Student and teacher, two moments and the step counts, all float32: four times the parameters.
    assert small["state_gb"] == large["state_gb"] == pytest.approx(4 * 4 * 4.4e6 / 1e9, rel=0.1)
    assert small["state_gb"] < small["memory_gb"] < large["memory_gb"]
    assert "share" not in small


@pytest.mark.slow
@pytest.mark.skipif(NO_PLUGIN, reason="JAX's CUDA plugin is not here (extra: cuda13)")
def test_a_step_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.semi_plan", *TINY, "--batch", "2", "--gpu", "a100"]
    done = subprocess.run([*command, "--json", tmp_path / "rows"], capture_output=True, text=True, check=True)
    assert "a100" in done.stdout
    assert (tmp_path / "rows").read_text().count('"attention_calls": 24') == 1


@pytest.mark.skipif(not NO_PLUGIN, reason="JAX's CUDA plugin is here")
def test_the_plugin_that_lacks_is_named() -> None:
    with pytest.raises(UserError, match="CUDA plugin is not here: pip install"):
        semi_plan.gpu_device("h200")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--batch 4 6 --accumulate 4", "--batch 6 is no multiple of --accumulate 4"),
        ("--accumulate 0", "--accumulate 0: at least 1"),
        ("--gpu none --attention cudnn", "--attention cudnn: is of GPUs"),
        ("--dtype float32 --attention xla cudnn", "takes half precision only"),
    ],
)
def test_what_does_not_go_together(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        semi_plan.parse(arguments.split())
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "kernel"), [("", "cudnn"), ("--gpu none", "xla"), ("--dtype float32", "xla")])
def test_the_kernel_that_goes_with_the_device(arguments: str, kernel: str) -> None:
    assert semi_plan.parse(arguments.split()).attention == [kernel]

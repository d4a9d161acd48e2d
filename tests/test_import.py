"""Importing jaxqc is light, starts no device and pulls in no TensorFlow."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HEAVY = {
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "matplotlib",
    "grain",
    "tensorflow",
    "torch",
    "PIL",
    "rich",
    "sqlalchemy",
}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after `code`."""
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(out.stdout.split())


@pytest.mark.parametrize("code", ["import jaxqc", "import jaxqc.cli", "import jaxqc.config, jaxqc.overrides"])
def test_importing_is_light(code):
    # 0.3 s is far more than a few hundred modules of the standard library take; the heavy ones take it alone.
    loaded = modules_after(code)
    assert not loaded & HEAVY
    assert len(loaded) < 300


@pytest.mark.parametrize(
    "verb", ["", "train", "evaluate", "predict", "inspect", "verify", "export", "data", "data check", "ledger lots"]
)
def test_help_imports_nothing_heavy(verb):
    code = f"""
import io, contextlib
from jaxqc.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main({[*verb.split(), "--help"]!r})"""
    assert not modules_after(code) & HEAVY


def test_using_the_api_starts_no_device_and_needs_no_tensorflow():
    code = """
import jaxqc, jaxqc.api, jaxqc.verify, jaxqc.data.pipeline, jaxqc.data.tfds, jaxqc.data.records
assert callable(jaxqc.load) and callable(jaxqc.train) and callable(jaxqc.evaluate)
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()"""
    loaded = modules_after(code)
    assert "jax" in loaded
    assert not loaded & {"tensorflow", "torch", "matplotlib"}


LOAD = """
import json, sys
import numpy as np
import jaxqc
loaded = {}
for name in ("export", "gaussian", "saliency", "segmentation"):
    if name == "segmentation":
        import jaxqc.semi.model
        from tests.support.few_labels import Tiny
        jaxqc.semi.model.make_network = lambda config, classes: Tiny(classes)
    model = jaxqc.load(f"{sys.argv[1]}/{name}")
    if name == "saliency":  # traced but not compiled, which would take long and import nothing more
        assert model.outputs[0] == "map"
    else:
        assert model.predict(np.zeros((1, 40, 48, 3), np.uint8)).shape[0] == 1
    loaded[name] = [*sys.modules]
print(json.dumps(loaded))
"""
"""One process for all kinds: an export comes first, since it needs the least."""


def test_loading_a_model_imports_no_training(tmp_path):
    """Neither the loop nor what only it needs; of an export no network either."""
    with zipfile.ZipFile(Path(__file__).parent / "fixtures" / "old_folders.zip") as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    unneeded = {
        "optax",
        "grain",
        "jaxqc.api",
        "jaxqc.saliency.train",
        "jaxqc.semi.train",
        "jaxqc.semi.objective",
    }
    needed = ("checkpoint", "checksums", "counting", "folder_sums", "method", "moved", "record")
    loaded = json.loads(done.stdout.splitlines()[-1])
    for name, modules in loaded.items():
        assert not unneeded & set(modules), name
        training = {module for module in modules if module.startswith("jaxqc.training.")}
        assert training <= {f"jaxqc.training.{module}" for module in needed}, name
    assert not [module for module in loaded["export"] if module.startswith(("jaxqc.models", "jaxqc.nn", "flax"))]


def test_public_names():
    import jaxqc

    assert set(jaxqc.__all__) <= set(dir(jaxqc))
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        jaxqc.lod  # noqa: B018

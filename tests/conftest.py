"""Shared fixtures: eight simulated CPU devices for all tests, and the optional real data."""

import gc
import os

from tests.support.compile_cache import share_compilations

# Tests compile many programs and run each a few times. At LLVM's level 1, without its costly passes and MLIR's fusions,
# in one piece and with short vectors, that takes half the time. (Level 0 is quicker still, but JAX 0.10.2 gives
# infinities for finite gradients of a block of attention there, and without MLIR's fusions wrong colours.)
# `make test-all` takes all passes.
QUICK = (
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true --xla_cpu_prefer_vector_width=128"
)
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count=8 {QUICK}")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Convolutions are XLA's own; `tests/nn/test_onednn.py` has the others.
os.environ.setdefault("JAXQC_CPU_KERNELS", "xla")
# Plates and boards are made by many tiny matrix products, on which a pool of threads only waits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Traced programs are many small objects that stay: looking for garbage among them took a tenth of the time.
gc.set_threshold(100_000, 50, 50)

share_compilations()

# `make test-shapes`: every annotation of jaxqc, shapes and dtypes included, is checked at each call. The hook stands
# before the first import of jaxqc.
if os.environ.get("JAXQC_SHAPES"):
    from tests.support.shapes import check_annotations

    check_annotations("jaxqc")

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from tests.support.durations import by_file, slowest_files

# The quick tests try the same examples each time; `make test-all` draws new ones, and more.
hypothesis.settings.register_profile("quick", derandomize=True, max_examples=40)


LONGEST = ("test_outsiders.py", "test_examples.py", "test_every_detector.py", "test_demo.py", "test_wheel.py")
"""Files that take longest: they begin first, so that no process ends alone with one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    # Another process may just be writing that program; it is compiled here then.
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache entry")
    if os.environ.get("JAXQC_SHAPES"):  # beartype picks an item of a container at random, in strategies too
        config.addinivalue_line("filterwarnings", "ignore:Do not use the `random` module inside strategies")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [r for kind in terminalreporter.stats.values() for r in kind if isinstance(r, pytest.TestReport)]
    if lines := slowest_files(by_file(reports)):
        terminalreporter.section("slowest files, seconds of all processes")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(autouse=True, scope="session")
def one_device_unless_asked() -> Iterator[None]:
    """One device where no number is asked for: a graph over the eight simulated ones compiles longer."""
    from jaxqc.training import parallel

    every = parallel.first_devices
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "first_devices", lambda devices, *more, **named: every(devices or 1, *more, **named))
        yield


SHARED = Path(os.environ.get("JAXQC_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def real_data(name: str) -> Path:
    """The folder of a real data set; skips the test where it is absent."""
    path = SHARED / "data" / name
    if not path.is_dir():
        pytest.skip(f"real data absent: {path} (set JAXQC_SHARED to the folder that holds data/)")
    return path


@pytest.fixture(scope="session")
def sd900() -> Path:
    """The real SD-saliency-900 folder (index.csv layout); skips where it is absent."""
    return real_data("sd-saliency-900")


@pytest.fixture(scope="session")
def magnetic_tile() -> Path:
    """The real magnetic-tile folder (index.csv layout, groups, normal samples of class Free); skips where absent."""
    return real_data("magnetic-tile")


@pytest.fixture(scope="session")
def camvid() -> Path:
    """The real CamVid folder (index.csv layout, classes.json, 11 classes and 11 = ignored); skips where absent."""
    return real_data("camvid")

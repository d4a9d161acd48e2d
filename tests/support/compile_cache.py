"""Compilation in the tests: a cache that they share and nobody else sees, and the flags of child processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache


@contextmanager
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Switches the cache on, so that the same tiny programs compile once; what was set before comes back at the end."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.getbasetemp() / "jax-cache"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


def one_device_flags() -> str:
    """XLA_FLAGS of this process but for its simulated devices."""
    return " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)

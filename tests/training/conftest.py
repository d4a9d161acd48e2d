"""Training tests share one compilation cache of their own: a resumed run does not compile its program again."""

import jax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

OPTIONS = {"jax_compilation_cache_dir": None, "jax_persistent_cache_min_compile_time_secs": 0.0}


@pytest.fixture(autouse=True, scope="module")
def _own_compilation_cache(tmp_path_factory: pytest.TempPathFactory):
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    folder = str(tmp_path_factory.getbasetemp() / "jax-cache")
    for name, value in {**OPTIONS, "jax_compilation_cache_dir": folder}.items():
        jax.config.update(name, value)
    reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()

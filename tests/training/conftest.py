"""Training tests share one compilation cache of their own: a resumed run does not compile its program again."""

import pytest

from tests.support.compile_cache import shared_cache


@pytest.fixture(autouse=True, scope="module")
def _own_compilation_cache(tmp_path_factory: pytest.TempPathFactory):
    with shared_cache(tmp_path_factory):
        yield

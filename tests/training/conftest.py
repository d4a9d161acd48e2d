"""Training tests leave the user's compilation cache alone."""

import pytest


@pytest.fixture(autouse=True)
def _no_compilation_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXQC_CACHE", "off")

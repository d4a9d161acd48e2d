"""Fixtures of the inspection tests; one PostgreSQL serves all of them."""

import gc

import pytest

from tests.support.postgres_server import postgres, where  # noqa: F401 - fixtures


@pytest.fixture
def usual_collector():
    """Garbage is looked for as often as in use, so that a peak of memory says what is held."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)

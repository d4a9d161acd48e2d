"""Fixtures of the inspection tests; one PostgreSQL serves all of them."""

import gc

import pytest

from tests.support.postgres_server import postgres, where  # noqa: F401 - fixtures
from tests.support.report_browser import Browser


@pytest.fixture(scope="session")
def browser():
    """One headless Chromium for all tests of the report."""
    made = Browser()
    yield made
    made.close()


@pytest.fixture
def usual_collector():
    """Garbage is looked for as often as in use, so that a peak of memory says what is held."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)

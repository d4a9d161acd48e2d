"""Fixtures of the inspection tests; one PostgreSQL serves all of them."""

from tests.support.postgres_server import postgres, where  # noqa: F401 - fixtures

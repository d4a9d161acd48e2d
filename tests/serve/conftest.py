"""A network's folder for servers, and a server with narrow limits."""

import pytest

from jaxqc.serve.settings import Batches, Limits, Settings
from tests.support.inspect_models import small_models, write_network  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_models):
    return write_network(tmp_path_factory.mktemp("run") / "net", threshold=0.4, f1=0.9)


@pytest.fixture(scope="module")
def small(run, tmp_path_factory):
    """A server with narrow limits."""
    from tests.support.live_server import live  # skips where the service is not installed

    limits = Limits(body=200_000, pixels=100_000, parts=3, head_s=1.0, body_s=1.0, connections=150, listeners=2)
    settings = Settings(port=0, batches=Batches(most=2, line=4, deadline_s=5.0), limits=limits)
    with live(run, tmp_path_factory.mktemp("small"), settings) as here:
        yield here

"""The tables are tried on the detectors' tiny data set."""

from tests.anomaly.conftest import boards, recipe, weights  # noqa: F401 - fixtures

"""The OpenAPI file: its shapes are those of the docs, real answers are of them, and schemathesis tries all calls."""

import json
import sys
from pathlib import Path

import pytest

from jaxqc.inspection.findings import Finding, LotFinding
from jaxqc.serve.settings import Batches, Limits, Settings
from tests.support.inspect_models import write_network
from tests.support.live_server import board, live

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory, small_models):
    folder = tmp_path_factory.mktemp("schemas")
    run = write_network(folder / "net", threshold=0.4, f1=0.9)
    with live(run, folder, Settings(port=0, batches=Batches(most=1), limits=Limits(body=10**6))) as here:
        yield here


def test_the_shapes_are_those_of_the_docs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    sys.modules.pop("serve_schemas", None)
    from serve_schemas import FILE, schemas

    assert FILE.read_text("utf-8") == schemas(), "python scripts/serve_schemas.py writes the file anew"


def test_findings_and_lots_have_the_fields_of_an_inspections_records(server):
    found = server.client.get("/openapi.json").json()
    assert found["openapi"].startswith("3.1")
    shapes = found["components"]["schemas"]
    for kind in (Finding, LotFinding):
        assert list(shapes[kind.__name__]["properties"]) == list(kind.__dataclass_fields__)
        assert all("description" in field for field in shapes[kind.__name__]["properties"].values())
    assert {path for path in found["paths"] if path.startswith("/v1")} == {
        "/v1/inspect", "/v1/inspect/batch", "/v1/models", "/v1/lots", "/v1/lots/{lot}", "/v1/suppliers", "/v1/images",
        "/v1/images/{sha256}", "/v1/images/{sha256}/file", "/v1/images/{sha256}/map.png",
        "/v1/images/{sha256}/overlay.png", "/v1/images/{sha256}/thumbnail", "/v1/images/{sha256}/mask.png",
        "/v1/images/{sha256}/view", "/v1/images/{sha256}/heat.png",
        "/v1/outcomes", "/v1/reviews", "/v1/events"}  # fmt: skip


def test_real_answers_are_of_their_shapes(server):
    jsonschema = pytest.importorskip("jsonschema_rs", reason="jsonschema-rs, a checker of shapes, is not installed")
    file = server.client.get("/openapi.json").json()
    sha256 = server.post(board(700), lot="shapes").json()["finding"]["sha256"]
    server.client.post("/v1/reviews", json={"sha256": sha256, "verdict": "reject", "person": "Li"})
    calls = [("/v1/lots/{lot}", "/v1/lots/shapes"), ("/v1/images/{sha256}", f"/v1/images/{sha256}")]
    calls += [(path, path) for path in ("/v1/models", "/v1/lots", "/v1/suppliers", "/v1/images", "/healthz", "/readyz")]
    for path, address in calls:
        shape = file["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        checker = jsonschema.validator_for({**shape, "components": file["components"]})
        checker.validate(server.client.get(address).json())


@pytest.mark.slow
def test_schemathesis_finds_no_error_of_the_server(server):
    """Requests of all kinds that the OpenAPI file allows, and others that it does not."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    import warnings

    import hypothesis

    schema = schemathesis.openapi.from_url(f"{server.base}/openapi.json")
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/v1/events":  # it never ends
            continue

        @hypothesis.settings(max_examples=25, deadline=None, database=None,
                             suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def call(case):
            nonlocal tried
            tried += 1
            answer = case.call(base_url=server.base, timeout=20)
            assert answer.status_code < 500, answer.text
            assert answer.headers["x-content-type-options"][0] == "nosniff"

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    assert tried > 200
    assert server.client.get("/readyz").status_code == 200
    json.loads(server.post(board(701)).text)

"""Writes the shapes of the server's answers, as JSON Schema, to docs/guide/serve.schemas.json; a test compares them.

python scripts/serve_schemas.py
"""

import json
import tempfile
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "docs" / "guide" / "serve.schemas.json"


def schemas() -> str:
    """The components of the OpenAPI file, as text."""
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.serve.app import make_app
    from jaxqc.serve.service import Service
    from jaxqc.serve.settings import Settings
    from jaxqc.serve.store import Store

    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "ledger.sqlite") as ledger:
        app = make_app(Service((), ledger, Store(folder), Settings(), ()))  # no call is made
        found = app.openapi()["components"]["schemas"]
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(schemas(), "utf-8")

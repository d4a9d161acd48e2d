"""Writes the shapes of the server's answers, as JSON Schema, to docs/guide/serve.schemas.json; a test compares them.

python scripts/serve_schemas.py
"""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[1] / "docs" / "guide" / "serve.schemas.json"


def schemas() -> str:
    """The components of the OpenAPI file, as text."""
    from jaxqc.serve.app import make_app
    from jaxqc.serve.service import Service
    from jaxqc.serve.settings import Settings
    from jaxqc.serve.store import Store

    nothing: Any = None  # no call is made
    app = make_app(Service((), nothing, Store("."), Settings(), ()))
    return json.dumps(app.openapi()["components"]["schemas"], indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(schemas(), "utf-8")

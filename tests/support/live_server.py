"""A real server on loopback, in a thread of the test's process, with the small models of `inspect_models`."""

import http.client
import io
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra `serve` is not installed: pip install 'jaxqc[serve]'")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed: pip install 'jaxqc[serve]'")
pytest.importorskip("multipart", reason="the extra `serve` is not installed: pip install 'jaxqc[serve]'")
pytest.importorskip("prometheus_client", reason="the extra `serve` is not installed: pip install 'jaxqc[serve]'")
httpx = pytest.importorskip("httpx", reason="httpx, the tests' client, is not installed")

import jaxqc
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.serve.engine import make_engine
from jaxqc.serve.server import Server, config_of
from jaxqc.serve.service import Service
from jaxqc.serve.settings import Batches, Settings
from jaxqc.serve.store import Store
from tests.support.tiny_boards import stripes

SIZE = (56, 48)
"""Height and width of the images of `inspect_models.write_image`."""


def board(seed, hole=True):
    """A board's file that no other test sends."""
    out = io.BytesIO()
    Image.fromarray(stripes(1000 + seed, hole, *SIZE)[0]).save(out, "PNG")
    return out.getvalue()


class Live:
    """A running server. `client`: of httpx, which sends the token where there is one."""

    def __init__(self, service: Service, app: Any, port: int) -> None:
        self.app = app
        self.service, self.port, self.base = service, port, f"http://127.0.0.1:{port}"
        token = service.settings.token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = httpx.Client(base_url=self.base, headers=headers, timeout=30, trust_env=False)

    def post(self, data: bytes, **fields: str):
        return self.client.post("/v1/inspect", content=data, params=fields, headers={"Content-Type": "image/png"})

    def service_routes(self) -> list[Any]:
        """The routes of GET."""
        return [route for route in self.app.routes if "GET" in getattr(route, "methods", ())]

    def until(self, true, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end
            time.sleep(0.01)


@contextmanager
def service_of(checkpoint: Path | list[Path], folder: Path, settings: Settings, **options):
    """A service of these run folders, with ledger and pictures in `folder`; it does not run yet."""
    folders = checkpoint if isinstance(checkpoint, list) else [checkpoint]
    most = settings.batches.most
    engines = [make_engine(jaxqc.load(one, batch=most), most, devices=1, **options) for one in folders]
    store = Store(folder / "pictures")
    store.open()
    with open_ledger(folder / "ledger.sqlite") as ledger:
        yield Service(engines, ledger, store, settings, [SIZE])


@contextmanager
def live(checkpoint: Path | list[Path], folder: Path, settings: Settings | None = None, ready: bool = True, **options):
    """A running server of these run folders; ready unless told."""
    settings = settings or Settings(port=0, batches=Batches(most=4))
    with service_of(checkpoint, folder, settings, **options) as service:
        found: list[int] = []
        config = config_of(service)
        server = Server(config, service, found.append)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            here = None
            end = time.monotonic() + 20
            while not found:
                assert thread.is_alive()
                assert time.monotonic() < end
                time.sleep(0.005)
            here = Live(service, config.app, found[0])
            if ready:
                here.until(lambda: service.compiled, 60)
            yield here
        finally:
            if here:
                here.client.close()
            server.handle_exit(15, None)
            thread.join(60)
            assert not thread.is_alive()


def healthy(port):
    """True where a server on that port answers that it lives."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        line.request("GET", "/healthz")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()

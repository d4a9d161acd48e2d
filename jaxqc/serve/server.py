"""The server as a process: sockets, time for a request's head, signals that end it in order."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from jaxqc.errors import UserError
from jaxqc.serve.app import make_app
from jaxqc.serve.protocol import protocol_for
from jaxqc.serve.service import Service

DRAIN = 60
"""Seconds for what is in flight when the server is stopped; deadlines are shorter."""


class Server(uvicorn.Server):
    """uvicorn's, that lets listeners go when it is stopped, and ends with exit code 0."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[int], None]) -> None:
        super().__init__(config)
        self._service, self._started_at = service, started

    async def startup(self, sockets: Any = None) -> None:
        """Starts, and says at which port."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._service.give_up = lambda: self.handle_exit(signal.SIGTERM, None)
        if self._service.failed is not None:  # before this
            self._service.give_up()
        if self.started:
            self._started_at(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal: no new requests, and an end once those in flight are done."""
        super().handle_exit(sig, frame)
        with contextlib.suppress(AttributeError, RuntimeError):  # before the start and after the end
            self._loop.call_soon_threadsafe(self._service.stop)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that was obeyed is not raised again at the end."""
        main = threading.current_thread() is threading.main_thread()  # no other thread may
        handled = (signal.SIGINT, signal.SIGTERM) if main else ()
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def config_of(service: Service) -> uvicorn.Config:
    """uvicorn's settings for a service."""
    settings = service.settings
    return uvicorn.Config(
        make_app(service), host=settings.host.strip("[]"), port=settings.port, http=protocol_for(settings.limits),
        ws="none", lifespan="on", access_log=False, log_config=None, server_header=False, proxy_headers=False,
        timeout_keep_alive=max(1, int(settings.limits.head_s)), timeout_graceful_shutdown=DRAIN, backlog=2048,
    )  # fmt: skip


def serve(service: Service, started: Callable[[int], None]) -> None:
    """Runs a service until SIGTERM or SIGINT. started: takes the port.

    Raises:
      UserError: the address cannot be had, or what kept the server from becoming ready; also other errors of that.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    settings = service.settings
    try:
        Server(config_of(service), service, started).run()
    except SystemExit as e:
        raise UserError(f"--port: {settings.host}:{settings.port} cannot be had; give another one") from e
    if service.failed is not None:
        raise service.failed

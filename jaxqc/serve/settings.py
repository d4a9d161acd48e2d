"""Settings of a server: batches, limits and addresses, checked before anything is loaded."""

import dataclasses
import math
from dataclasses import dataclass

from jaxqc.errors import UserError

SIZES = (1, 2, 4, 8, 16, 32)
"""Batch sizes that are compiled."""


@dataclass(frozen=True)
class Batches:
    """Settings of the micro-batches and of the line before them."""

    most: int = 16
    """Most images of a batch, one of `SIZES`."""
    wait_ms: float = 5.0
    """Time that an image waits for others, in milliseconds, where a device is free."""
    line: int = 256
    """Most images between their arrival and their answer; more are refused with 503."""
    line_bytes: int = 2**29
    """Most bytes of bodies that are held at once; a larger body is taken alone."""
    line_pixels: int = 400_000_000
    """Most decoded pixels that are held at once; a larger image is decoded alone."""
    deadline_s: float = 30.0
    """Seconds from a request's head to its answer; 504 afterwards."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what a client may send."""

    body: int = 2**26
    """Bytes of a body."""
    pixels: int = 100_000_000
    """Pixels of an image."""
    parts: int = 64
    """Images of one request."""
    head_s: float = 10.0
    """Seconds for a request's head; also those that an unused connection stays open."""
    body_s: float = 30.0
    """Seconds for a request's body."""
    connections: int = 2000
    """Open connections; a further one is closed at once."""
    listeners: int = 64
    """Clients that listen to events."""


@dataclass(frozen=True)
class Settings:
    """All settings of a server.

    Raises:
      UserError: a value out of its range, or a host that others can reach without a token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    token: str = ""
    """Secret that requests bring as `Authorization: Bearer`; "" = none is asked for."""
    origins: tuple[str, ...] = ()
    """Web pages of these origins may call."""
    batches: Batches = dataclasses.field(default_factory=Batches)
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.batches.most not in SIZES:
            raise UserError(f"--max-batch: {self.batches.most} is none of {', '.join(map(str, SIZES))}")
        if not 0 <= self.batches.wait_ms < math.inf:
            raise UserError(f"--max-wait-ms: {self.batches.wait_ms:g} must be 0 or more")
        if not 0 <= self.port < 2**16:
            raise UserError(f"--port: {self.port} is none; give 0 to 65535")
        for group in (self.batches, self.limits):
            for field in dataclasses.fields(group):
                value = getattr(group, field.name)
                if field.name != "wait_ms" and not 0 < value < math.inf:
                    raise UserError(f"{field.name}: {value!r} must be above 0")
        if not self.token and not is_loopback(self.host):
            raise UserError(f"--host: {self.host} can be reached by others; --token-file FILE is needed then")


def is_loopback(host: str) -> bool:
    """True where only this machine reaches an address.

    Examples:
      >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("localhost.example")
      (True, True, False, False)
    """
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

"""Signing in of people: a cookie that shows for some hours that its browser knew the token, and never holds it.

The cookie is the time of its end with an HMAC of it under the token. So nothing is kept, all servers with the token
take it, and a new token ends every session.
"""

import hmac
from urllib.parse import urlsplit

COOKIE = "jaxqc-session"
LASTS = 12 * 3600
"""Seconds that a session lasts."""


def begin(token: str, now: float) -> str:
    """The cookie's value for a session that begins now. now: in seconds since 1970.

    Examples:
      >>> holds(begin("secret", 1000.0), "secret", 2000.0), holds(begin("secret", 1000.0), "other", 2000.0)
      (True, False)
    """
    end = str(int(now) + LASTS)
    return f"{end}.{_sign(token, end)}"


def holds(cookie: str, token: str, now: float) -> bool:
    """True for the value of a session that lasts still, by a comparison of constant time.

    Examples:
      >>> holds(begin("secret", 0.0), "secret", LASTS + 1.0), holds("", "secret", 0.0), holds("9999.ü", "secret", 0.0)
      (False, False, False)
    """
    end, _, mark = cookie.partition(".")
    if not (end.isascii() and end.isdigit() and len(end) < 16):
        return False
    return hmac.compare_digest(mark.encode(), _sign(token, end).encode()) and now < int(end)


def same(given: str, token: str) -> bool:
    """True where a given secret is the token, by a comparison of constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def cookie_of(header: str) -> str:
    """The session's value in a Cookie header; "" where there is none.

    Examples:
      >>> cookie_of("a=b; jaxqc-session=12.ab"), cookie_of("")
      ('12.ab', '')
    """
    parts = (part.strip().partition("=") for part in header.split(";"))
    return next((value for name, _, value in parts if name == COOKIE), "")


def set_cookie(value: str, secure: bool) -> str:
    """The Set-Cookie header that hands a value out; "" ends the session. secure: for HTTPS alone."""
    lasts = LASTS if value else 0
    return f"{COOKIE}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict" + "; Secure" * secure


def local(address: str) -> str:
    """An address of this site to go on to; "/" for any other.

    Examples:
      >>> local("/lots?product=a"), local("https://elsewhere.example/"), local("//elsewhere.example"), local("/\\\\x")
      ('/lots?product=a', '/', '/', '/')
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    plain = address.isascii() and address.isprintable() and " " not in address and "\\" not in address
    return address if plain and address[:1] == "/" != address[1:2] and not (parts.scheme or parts.netloc) else "/"


def _sign(token: str, end: str) -> str:
    return hmac.new(token.encode(), f"jaxqc pages until {end}".encode(), "sha256").hexdigest()

"""Signing in to the pages: a cookie that does not hold the token, and changes that come from the server's own page."""

import time
from urllib.parse import quote

import pytest

from jaxqc.serve.settings import Batches, Settings
from tests.support.live_server import board, httpx, live
from tests.support.report_pages import Page

TOKEN = "a-secret-of-twenty-letters"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


@pytest.fixture
def guarded(run, tmp_path):
    with live(run, tmp_path, Settings(port=0, token=TOKEN, batches=Batches(most=1))) as here:
        here.client.headers.pop("Authorization")
        yield here


def sign_in(here, token=TOKEN, next="/lots", **headers):
    origin = {"Origin": here.base, **FORM, **headers}
    origin = {name: value for name, value in origin.items() if value}
    return here.client.post("/sign-in", content=f"token={token}&next={quote(next)}", headers=origin)


def test_people_sign_in_and_out(guarded):
    asked = guarded.client.get("/lots?product=a b", headers={"Accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2Flots%3Fproduct%3Da%2520b")
    assert guarded.client.get("/lots").status_code == 401  # a program gets no page
    assert guarded.client.get("/v1/lots", headers={"Accept": "text/html"}).status_code == 401
    form = Page(guarded.client.get(asked.headers["location"]).text)
    assert form.of("input", name="next")[0]["value"].startswith("/lots?product=a")
    wrong = sign_in(guarded, "wrong")
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    assert TOKEN not in wrong.text
    right = sign_in(guarded)
    assert (right.status_code, right.headers["location"]) == (303, "/lots")
    cookie = right.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"))
    assert TOKEN not in cookie
    assert "Secure" not in cookie
    assert "Secure" in sign_in(guarded, **{"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    guarded.client.cookies.clear()  # what is for HTTPS alone
    sign_in(guarded)
    for path in ("/", "/lots", "/review", "/model", "/suppliers", "/v1/lots", "/metrics"):
        assert guarded.client.get(path, headers={"Accept": "text/html"}).status_code == 200, path
    out = guarded.client.post("/sign-out", content="", headers={**FORM, "Origin": guarded.base})
    assert out.status_code == 303
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert guarded.client.get("/v1/lots").status_code == 401


def test_a_browsers_change_has_to_come_from_the_servers_own_page(guarded):
    """With a session's cookie alone nothing is changed: the browser must say that its page is ours."""
    value = sign_in(guarded).headers["set-cookie"].partition(";")[0]
    post = lambda **headers: httpx.post(f"{guarded.base}/v1/inspect", content=board(990), trust_env=False, timeout=30,
                                        headers={"Content-Type": "image/png", "Cookie": value, **headers})  # fmt: skip
    own = {"Origin": guarded.base}
    assert post().status_code == 403
    assert post(Origin="https://elsewhere.example").status_code == 403
    assert post(Origin="null").status_code == 403
    assert post(Origin="http://[").status_code == 403
    assert post(Origin="http://127.0.0.1:1").status_code == 403  # the same host, another port
    assert post(**own, **{"Sec-Fetch-Site": "same-site"}).status_code == 403
    assert post(**own, **{"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert sign_in(guarded, Origin="").status_code == 403
    assert sign_in(guarded, Origin="https://elsewhere.example").status_code == 403


def test_no_other_cookie_and_no_old_one_lets_in(guarded):
    from jaxqc.serve import sessions

    now = time.time()
    good = sessions.begin(TOKEN, now)
    end, mark = good.split(".")
    late = f"{int(end) + 9}.{mark}"
    for value in ("", "1", mark, late, f"{end}.{mark[:-1]}0" if mark[-1] != "0" else f"{end}.{mark[:-1]}1",
                  sessions.begin("another-secret-of-letters", now), sessions.begin(TOKEN, now - 13 * 3600),
                  f"{TOKEN}", f"{end}.{TOKEN}", "\u00fc.\u00fc"):  # fmt: skip
        header = f"{sessions.COOKIE}={value}".encode("latin-1")
        assert guarded.client.get("/v1/lots", headers=[(b"cookie", header)]).status_code == 401, value
    header = f"{sessions.COOKIE}={good}"
    assert guarded.client.get("/v1/lots", headers={"Cookie": header}).status_code == 200


def test_signing_in_leads_nowhere_else(guarded):
    for address in ("https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "\t//x", "lots", ""):
        assert sign_in(guarded, next=address).headers["location"] == "/", address


def test_large_and_odd_forms_are_refused(guarded):
    post = lambda content, **headers: guarded.client.post("/sign-in", content=content, headers={
        **FORM, "Origin": guarded.base, **headers}).status_code  # fmt: skip
    assert post("token=" + "x" * 5000) == 422
    assert post(b"token=\xff") in (401, 422)
    assert post("{}", **{"Content-Type": "application/json"}) == 422
    assert post("&".join("a=b" for _ in range(30))) == 422
    assert post("") == 401

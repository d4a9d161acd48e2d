"""The pages in a real headless Chromium: silent, no foreign request, by keyboard, from a phone to a wide screen."""

import base64
import io
import time
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from jaxqc.serve.settings import Batches, Settings
from tests.serve.test_pages import CHINESE, HOSTILE
from tests.serve.test_signing_in import TOKEN
from tests.support.live_server import SIZE, board, live
from tests.support.report_browser import Browser, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    with live(run, tmp_path_factory.mktemp("pages")) as here:
        here.sums = []
        for i in range(18):
            lot, name = (("L-1", CHINESE), ("批次 7", "North"), (HOSTILE, HOSTILE))[i % 3]
            more = {"product": name, "line": name, "machine": name, "piece": f"{name}{i}", "note": name}
            answer = here.post(board(2000 + i, i % 2 == 0), lot=lot, supplier=name, image=f"{name}{i}.png", **more)
            here.sums.append(answer.json()["finding"]["sha256"])
        word = {"sha256": here.sums[2], "verdict": "reject", "person": HOSTILE, "note": HOSTILE, "class_name": HOSTILE}
        here.client.post("/v1/reviews", json=word)
        yield here


@pytest.fixture(scope="module")
def browser():
    here = Browser("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    yield here
    here.close()


def until(true, seconds=15):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def pages(server):
    lot = f"/lots?lot={quote(HOSTILE, safe='')}"
    return ("/", "/lots", lot, "/suppliers", "/review", f"/review/{server.sums[2]}", "/review?queue=near", "/model",
            "/lots?to=2020-01-01")  # fmt: skip


def quiet(browser, server):
    console, asked = browser.logs()
    assert console == []
    assert [address for address in asked if not address.startswith((server.base, "blob:"))] == []


def posted(server, sha256):
    return server.client.get(f"/v1/images/{sha256}").json()["reviews"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 1024, 1600])
def test_every_page_is_silent_and_no_wider_than_its_screen(browser, server, width, scheme):
    browser.prefer(scheme)
    for path in pages(server):
        browser.visit(server.base + path, width)
        browser.drawn(150)
        assert browser.run("return document.documentElement.scrollWidth - innerWidth") <= 0, path
        assert browser.run("return document.querySelector('img[src=x]')") is None
        assert browser.run("return [...document.images].every(i => i.hasAttribute('alt'))")
        quiet(browser, server)


def test_the_policy_stops_what_a_page_may_not_do(browser, server):
    browser.visit(server.base + "/")
    browser.run("const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)")
    browser.run("const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s)")
    browser.drawn(100)
    assert browser.run("return window.bad") is None
    console, asked = browser.logs()
    assert sum("Content Security Policy" in message for _, message in console) == 2
    assert not [address for address in asked if not address.startswith(server.base)]


def test_the_live_page_follows_and_rings(browser, server):
    """An image appears without a reload; a lot whose risk turns high rings once, by name, and its name stays text."""
    browser.visit(server.base + "/")
    until(lambda: "Connected" in browser.run("return document.querySelector('#line').textContent"))
    browser.run("document.querySelector('#last a').focus()")
    first = browser.run("return document.activeElement.href")
    name = f"{HOSTILE} 新"
    for i in range(12):
        server.post(board(2100 + i), lot=name, supplier=CHINESE)
    until(lambda: browser.run("return [...document.querySelectorAll('[data-lot]')].some(e => e.dataset.lot === "
                              "arguments[0])", name))  # fmt: skip
    until(lambda: browser.run("return document.querySelectorAll('.bell').length") == 1)
    text = browser.run("return document.querySelector('.bell').textContent")
    assert name in text
    assert CHINESE in text
    assert browser.run("return document.activeElement.href") == first  # the focus stays where it was
    for i in range(2):
        server.post(board(2120 + i), lot=name, supplier=CHINESE)
    time.sleep(2.5)
    assert browser.run("return document.querySelectorAll('.bell').length") == 1
    browser.press("ESCAPE")
    assert browser.run("return document.querySelectorAll('.bell').length") == 0
    assert browser.run("return document.querySelector('#sound').checked") is False
    browser.press("s")
    assert browser.run("return document.querySelector('#sound').checked") is True
    browser.press("s")
    quiet(browser, server)


def test_an_image_is_tried_by_choosing_it(browser, server, tmp_path):
    browser.visit(server.base + "/")
    good, bad = tmp_path / "瓷砖 <b>.png", tmp_path / "none.png"
    good.write_bytes(board(2200))
    bad.write_bytes(b"no image")
    browser.run("document.querySelector('#try-lot').value = 'tried'")
    browser.driver.find_element("id", "files").send_keys(str(good))
    until(lambda: browser.run("return document.querySelectorAll('#tried > li').length") == 1)
    assert "瓷砖 <b>.png" in browser.run("return document.querySelector('#tried').textContent")
    assert server.client.get("/v1/lots/tried").json()["figures"]["images"] == 1
    dropped = base64.b64encode(board(2201)).decode()
    browser.run(
        "const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0)), carried = new DataTransfer();"
        "carried.items.add(new File([bytes], 'dropped.png', {type: 'image/png'}));"
        "document.querySelector('#drop').dispatchEvent(new DragEvent('drop', {dataTransfer: carried, bubbles: true, "
        "cancelable: true}))", dropped)  # fmt: skip
    until(lambda: browser.run("return document.querySelectorAll('#tried > li').length") == 2)
    assert server.client.get("/v1/lots/tried").json()["figures"]["images"] == 2
    quiet(browser, server)
    browser.driver.find_element("id", "files").send_keys(str(bad))
    until(lambda: "none.png: " in browser.run("return document.querySelector('#try-said').textContent"))
    console, _ = browser.logs()
    assert all("422" in message for _, message in console)  # the browser's own line on the refusal


def test_a_camera_takes_images(browser, server):
    """Chromium's own false camera, a picture that changes."""
    browser.visit(server.base + "/")
    browser.run("document.querySelector('#try-lot').value = 'camera'; document.querySelector('#every').value = 1")
    browser.run("document.querySelector('#camera').focus()")
    browser.press("ENTER")
    until(lambda: browser.run("return document.querySelectorAll('#tried > li').length") >= 2, 30)
    browser.press("ENTER")
    assert browser.run("return document.querySelector('#film').srcObject") is None
    assert server.client.get("/v1/lots/camera").json()["figures"]["images"] >= 2
    quiet(browser, server)


def test_accept_and_overturn_with_one_key(browser, server):
    rejected, passed = server.sums[0], server.sums[1]
    browser.visit(f"{server.base}/review/{rejected}?queue=near")
    onward = browser.run("return document.querySelector('#judge').dataset.next")
    browser.run("document.querySelector('#person').value = 'Li'")
    browser.press("a")
    until(lambda: browser.run("return location.pathname + location.search") == onward)
    assert [(word["verdict"], word["person"]) for word in posted(server, rejected)] == [("reject", "Li")]
    browser.visit(f"{server.base}/review/{passed}?queue=near")
    browser.press("o")
    until(lambda: len(posted(server, passed)) == 1)
    assert posted(server, passed)[0]["verdict"] == "reject"
    assert posted(server, passed)[0]["person"] == "Li"  # remembered
    browser.visit(f"{server.base}/review/{passed}")
    browser.press("u")
    until(lambda: len(posted(server, passed)) == 2)
    browser.drawn(300)
    assert "taken back" in browser.run("return document.querySelector('.said').textContent")
    quiet(browser, server)


def test_a_mask_is_drawn_by_keys_alone(browser, server):
    """A rectangle from corner to corner, pixel for pixel; a stroke of the brush; and an eraser."""
    sha256 = server.sums[5]
    browser.visit(f"{server.base}/review/{sha256}")
    browser.press("x")
    assert browser.run("return document.activeElement.id") == "viewer-frame"
    x, y = SIZE[1] / 2, SIZE[0] / 2
    browser.press("c", *["ARROW_LEFT"] * 10, *["ARROW_UP"] * 8, " ", *["ARROW_RIGHT"] * 14, *["ARROW_DOWN"] * 6, " ")
    assert "second corner" not in browser.run("return document.querySelector('#place').textContent")
    browser.run("document.querySelector('#class').value = '划痕'")
    browser.press("r")
    until(lambda: len(posted(server, sha256)) == 1)
    drawn = np.asarray(Image.open(io.BytesIO(server.client.get(f"/v1/images/{sha256}/mask.png").content)))
    expected = np.zeros(SIZE, bool)
    expected[int(y) - 8 : int(y) - 2, int(x) - 10 : int(x) + 4] = True
    assert np.array_equal(drawn, expected)
    assert posted(server, sha256)[0]["class_name"] == "划痕"

    browser.visit(f"{server.base}/review/{sha256}")
    marked = "return mask.pen.getImageData(0, 0, 48, 56).data.some(v => v)"
    until(lambda: browser.run(marked))  # the person's comes back
    browser.press("d", "[", "[", "[", "[", " ", *["ARROW_RIGHT"] * 5, " ", "e", *["ARROW_LEFT"] * 10, "z", "r")
    until(lambda: len(posted(server, sha256)) == 2)
    again = np.asarray(Image.open(io.BytesIO(server.client.get(f"/v1/images/{sha256}/mask.png").content)))
    assert np.array_equal(again, expected)  # the one stroke was taken back
    browser.visit(f"{server.base}/review/{sha256}")
    until(lambda: browser.run(marked))
    browser.press("d", " ", *["ARROW_RIGHT"] * 5, " ", "r")
    until(lambda: len(posted(server, sha256)) == 3)
    more = np.asarray(Image.open(io.BytesIO(server.client.get(f"/v1/images/{sha256}/mask.png").content)))
    expected[int(y), int(x) : int(x) + 6] = True  # a brush of one pixel
    assert np.array_equal(more, expected)
    quiet(browser, server)


def test_a_mask_is_drawn_by_a_hand(browser, server):
    from selenium.webdriver import ActionChains

    sha256 = server.sums[7]
    browser.visit(f"{server.base}/review/{sha256}", 1024)
    browser.press("d")
    canvas = browser.driver.find_element("id", "mask")
    hand = ActionChains(browser.driver, duration=20)
    hand.move_to_element_with_offset(canvas, -60, 0).click_and_hold().move_by_offset(120, 40).release().perform()
    browser.press("r")
    until(lambda: len(posted(server, sha256)) == 1)
    drawn = np.asarray(Image.open(io.BytesIO(server.client.get(f"/v1/images/{sha256}/mask.png").content)))
    wide = np.flatnonzero(drawn.any(0))
    assert wide.size > 3
    assert (np.diff(wide) == 1).all()  # one stroke without a gap
    quiet(browser, server)


def test_a_reject_with_a_mask_that_was_wiped_clean_is_not_kept(browser, server):
    """Else the mask before it would count on, though the person took it away."""
    sha256 = server.sums[9]
    browser.visit(f"{server.base}/review/{sha256}")
    browser.press("c", "r")
    until(lambda: "Not kept: nothing is marked" in browser.run("return document.querySelector('#kept').textContent"))
    assert posted(server, sha256) == []
    browser.press("p")  # a good picture has no mask, and that is kept
    until(lambda: len(posted(server, sha256)) == 1)
    quiet(browser, server)


def test_the_keyboard_reaches_everything(browser, server):
    browser.visit(server.base + "/")
    focused = "const e = document.activeElement; return e.id || e.getAttribute('href') || e.tagName"
    order = []
    for _ in range(60):
        browser.press("TAB")
        order.append(browser.run(focused))
    expected = ["#main", "/", "/lots", "/suppliers", "/review", "/model", "theme", "ask", "#try-title", "sound"]
    assert order[: len(expected)] == expected
    assert {"files", "try-lot", "every", "camera"} <= set(order)
    browser.press("?")
    assert browser.run("return document.querySelector('#help').open")
    browser.press("ESCAPE")
    browser.visit(f"{server.base}/review/{server.sums[8]}")
    order = []
    for _ in range(40):
        browser.press("TAB")
        order.append(browser.run(focused))
    assert {"viewer-frame", "zoom-in", "size", "class", "note", "person"} <= set(order)
    quiet(browser, server)


def test_signing_in_by_the_form(browser, run, tmp_path):
    with live(run, tmp_path, Settings(port=0, token=TOKEN, batches=Batches(most=1))) as here:
        sha256 = here.post(board(2300), lot="L").json()["finding"]["sha256"]
        browser.visit(f"{here.base}/review/{sha256}")
        assert browser.run("return location.pathname") == "/sign-in"
        browser.press(*"wrong-token-of-letters", "ENTER")
        until(lambda: browser.run("return document.querySelector('#wrong') !== null"))
        browser.logs()
        browser.press(*TOKEN, "ENTER")
        until(lambda: browser.run("return location.pathname") == f"/review/{sha256}")
        until(lambda: browser.run("return 'ready' in document.body.dataset"))
        assert browser.run("return document.cookie") == ""  # no program of the page can read it
        browser.press("r")
        until(lambda: len(here.client.get(f"/v1/images/{sha256}").json()["reviews"]) == 1)
        browser.visit(here.base + "/")
        until(lambda: "Connected" in browser.run("return document.querySelector('#line').textContent"))
        quiet(browser, here)
        browser.driver.find_element("css selector", "form[action='/sign-out'] button").click()
        until(lambda: browser.run("return location.pathname") == "/sign-in")
        browser.visit(here.base + "/lots")
        assert browser.run("return location.pathname") == "/sign-in"
        browser.driver.get("about:blank")

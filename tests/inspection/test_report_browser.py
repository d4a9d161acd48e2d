"""The report in a real headless Chromium: silent, without network, by keyboard, light and dark, small and large."""

import re

import numpy as np
import pytest

from jaxqc.inspection.ledger.store import ModelInfo, open_ledger
from jaxqc.inspection.report import Gallery, write_report
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import MODEL, finding, row
from tests.support.report_browser import CUT_OFF, WIDTHS, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

SIDE = 200
SECTIONS = ("lots", "suppliers", "defects", "sampling", "delivery", "outcomes", "pictures", "review", "model")


def make(folder, numbers, name="", model=MODEL, per_lot=12):
    """A page of these images; `name` takes the place of every name in it."""
    rng = np.random.default_rng(0)
    gallery = Gallery(folder / "gallery", per_lot)
    scores = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    found, rows = [], []
    for n in numbers:
        made, where = finding(n), row(n)
        if name:
            defects = tuple(type(d)(**{**vars(d), "class_name": name}) for d in made.defects)
            more = {"image": f"{name}{n}", "defects": defects, "composition": {name: made.count} if made.count else {}}
            made = type(made)(**{**vars(made), **more})
            where = {k: f"{name}{v}" if k in ("lot", "supplier") else name for k, v in where.items()} | {
                "time": where["time"]
            }
        image = rng.integers(60, 200, (20, 20, 1), np.uint8).repeat(10, 0).repeat(10, 1)
        gallery.offer(made, where["lot"], image, scores, scores > 0.7)
        found.append(made)
        rows.append(where)
    with open_ledger(folder / "ledger.db") as ledger:
        ledger.add(found, model, rows)
        return write_report(ledger, gallery, folder / "report.html", rules=GradeRules(), model=model.digest,
                            title=name or "Weekly report")  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Sixty images in six lots of two suppliers, up to four pictures each."""
    return make(tmp_path_factory.mktemp("page"), range(60), per_lot=4)


def quiet(browser, page):
    """The console said nothing, and nothing but the file was asked for."""
    console, asked = browser.logs()
    assert console == []
    assert set(asked) <= {page.resolve().as_uri()}


focused = "const e = document.activeElement; return e.id || e.getAttribute('href') || e.dataset.picture || e.tagName"


def test_it_opens_without_a_word_and_without_network(browser, page):
    seconds = browser.open(page)
    assert seconds < 10
    assert browser.run("return document.querySelectorAll('#lot-table tbody tr').length") == 6
    assert browser.run("return [...document.images].every(i => i.hasAttribute('alt'))")
    browser.run("for (const i of document.images) i.loading = 'eager'")
    assert browser.driver.execute_async_script(
        "const done = arguments[0];"
        "Promise.all([...document.images].map(i => i.decode())).then(() => done('all'), e => done(String(e)))"
    ) == "all"  # fmt: skip
    browser.press("h", "b", "?", "ESCAPE", "t", "t", "t")
    browser.run("document.querySelector('.shot').click()")
    browser.press("ARROW_RIGHT", "ESCAPE")
    quiet(browser, page)


def test_the_policy_stops_what_a_page_may_not_do(browser, page):
    browser.open(page)
    browser.run("const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)")
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s)"
    )
    browser.drawn(100)
    assert browser.run("return window.broken") is None
    console, asked = browser.logs()
    assert sum("Content Security Policy" in message for _, message in console) == 2
    assert not [url for url in asked if url.startswith("http")]


def test_the_keyboard_reaches_everything(browser, page):
    browser.open(page)
    browser.press("TAB")
    assert browser.run(focused) == "#main"  # the skip link
    assert browser.run("return document.activeElement.getBoundingClientRect().left") >= 0
    order = []
    for _ in range(40):
        browser.press("TAB")
        order.append(browser.run(focused))
    expected = ["theme", "ask", *(f"#{name}" for name in SECTIONS), "find", "by-supplier"]
    assert [name for name in order if name in expected][: len(expected)] == expected
    assert "#lot-1" in order
    outline = browser.run(
        "document.querySelector('#theme').focus(); return getComputedStyle(document.activeElement).outlineStyle"
    )
    assert outline != "none"

    browser.press("/")
    assert browser.run(focused) == "find"
    browser.press(*"h?t")  # letters in a field are letters
    assert browser.run("return document.querySelector('#find').value") == "h?t"
    browser.press("ESCAPE")
    assert browser.run("return document.querySelector('#find').value") == ""
    assert browser.run("return document.querySelector('#help').open") is False

    browser.run("document.querySelector('.shot').focus()")
    browser.press("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_LEFT")
    assert browser.run(focused) == "1"
    browser.press("ARROW_DOWN")  # the next lot's picture below
    assert browser.run(focused) == "5"
    browser.press("ARROW_UP", "HOME")
    assert browser.run(focused) == "0"
    browser.press("ENTER")
    assert browser.run("return document.querySelector('#viewer').open")
    title = "return document.querySelector('#viewer-title').textContent"
    first = browser.run(title)
    browser.press("ARROW_RIGHT")
    assert browser.run(title) != first
    browser.press("ARROW_LEFT", "ARROW_LEFT")
    assert browser.run(title) == first
    rows = browser.run("return document.querySelectorAll('#viewer .parts tbody tr').length")
    assert rows == browser.run("return pictures[0].defects.length") > 0
    browser.run("document.querySelector('#viewer .parts tbody tr').focus()")
    assert browser.run("return document.querySelectorAll('#viewer .box.lit').length") == 1
    visible = "return getComputedStyle(document.querySelector('#viewer .{}')).visibility"
    for key, layer in (("h", "heat"), ("m", "outline"), ("b", "box")):
        assert browser.run(visible.format(layer)) == "visible"
        browser.press(key)
        assert browser.run(visible.format(layer)) == "hidden"
        browser.press(key)
    browser.press("ARROW_RIGHT", "ESCAPE")
    browser.drawn()
    assert browser.run("return document.querySelector('#viewer').open") is False
    assert browser.run(focused) == "1"  # back on the picture that was shown last
    browser.press("?")
    assert browser.run("return document.querySelector('#help').open")
    browser.press("ESCAPE")
    quiet(browser, page)


def test_filters_and_sorting(browser, page):
    browser.open(page)
    shown = ("return [...document.querySelectorAll('#lot-table tbody tr')].filter(r => !r.hidden)"
             ".map(r => r.querySelector('.name bdi').textContent)")  # fmt: skip
    galleries = ("return [...document.querySelectorAll('article.lot')].filter(r => !r.hidden)"
                 ".map(r => r.querySelector('h3 bdi').textContent)")  # fmt: skip
    all_lots = browser.run(shown)
    assert len(all_lots) == 6
    assert browser.run(galleries) == all_lots
    browser.press("/", *"lot 3")
    assert browser.run(shown) == browser.run(galleries) == ["lot 3"]
    assert browser.run("return document.querySelector('#count').textContent") == "1 of 6 lots"
    browser.run("document.querySelector('#clear').click()")
    browser.driver.execute_async_script("setTimeout(arguments[0], 50)")
    assert browser.run(shown) == all_lots
    browser.run(
        "const s = document.querySelector('#by-supplier'); s.selectedIndex = 1; s.dispatchEvent(new Event('change'))"
    )
    name = browser.run("return document.querySelector('#by-supplier').selectedOptions[0].textContent")
    odd = {f"lot {k}" for k in ((1, 3, 5) if name == "North" else (0, 2, 4))}
    assert set(browser.run(shown)) == odd
    browser.run("document.querySelector('#filters').reset()")
    browser.driver.execute_async_script("setTimeout(arguments[0], 50)")
    for grade in "ABCD":
        count = browser.run(f"return document.querySelectorAll('#lot-table tbody tr[data-grade={grade}]').length")
        browser.run(f"document.querySelector('#filters [data-grade={grade}]').click()")
        assert len(browser.run(shown)) == count
        browser.run(f"document.querySelector('#filters [data-grade={grade}]').click()")
    browser.run("document.querySelector('th[data-key=name] button').click()")
    assert browser.run(shown) == browser.run(galleries) == sorted(all_lots)
    assert browser.run("return document.querySelector('th[data-key=name]').getAttribute('aria-sort')") == "ascending"
    browser.run("document.querySelector('th[data-key=name] button').click()")
    assert browser.run(shown) == sorted(all_lots, reverse=True)
    browser.run("document.querySelector('th[data-key=share] button').click()")
    share = browser.run("return [...document.querySelectorAll('#lot-table tbody tr')].map(r => +r.dataset.share)")
    assert share == sorted(share, reverse=True)
    quiet(browser, page)


def test_light_dark_and_the_button(browser, page):
    back = "return getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        browser.open(page)
        seen[scheme] = browser.run(back)
    assert seen["light"] != seen["dark"]
    browser.press("t")  # auto → light
    assert browser.run(back) == seen["light"]
    browser.press("t")
    assert browser.run(back) == seen["dark"]
    browser.prefer("light")
    assert browser.run(back) == seen["dark"]
    browser.press("t")
    assert browser.run(back) == seen["light"]
    browser.prefer("light", "print")
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.prefer("light")
    quiet(browser, page)


def test_every_width_without_sideways_scrolling(browser, page, tmp_path):
    long = make(tmp_path, range(12), "Extraordinarily_long_name_without_any_break_" * 4)
    for path in (page, long):
        for width in WIDTHS:
            browser.open(path, width)
            assert browser.run("return document.scrollingElement.scrollWidth") <= width
            assert browser.run(CUT_OFF) == []
            browser.run("document.querySelector('.shot').click()")
            assert browser.run("const v = document.querySelector('#viewer'); return v.scrollWidth <= v.clientWidth")
            small = browser.run(
                "return [...document.querySelectorAll('#viewer button, .tools button, .chip')]"
                ".filter(b => b.offsetParent).map(b => b.getBoundingClientRect())"
                ".filter(r => r.height < 24 || r.width < 24).length"
            )
            assert small == 0, "targets of at least 24 px (WCAG 2.2, 2.5.8)"


def test_controls_have_names(browser, page):
    browser.open(page)
    nodes = browser.cdp("Accessibility.getFullAXTree")["nodes"]
    for node in nodes:
        role = node.get("role", {}).get("value")
        if (
            role in ("button", "link", "searchbox", "combobox", "table", "dialog", "img", "image")
            and not node["ignored"]
        ):
            assert node.get("name", {}).get("value", "").strip(), node
    assert browser.run("return document.querySelectorAll('h1').length") == 1
    levels = browser.run("return [...document.querySelectorAll('main h2, main h3')].map(h => +h.tagName[1])")
    assert levels[0] == 2


def test_wide_tables_scroll_by_themselves_with_their_names_kept(browser, page):
    browser.open(page, 390)
    kept = browser.run(
        "const table = document.querySelector('.suppliers'), region = table.closest('.pinned');"
        "region.scrollLeft = 1e6;"
        "const edge = region.getBoundingClientRect().left; return [region.scrollLeft, region.tabIndex, region.role,"
        "  ...[...table.querySelectorAll('tbody th')].map(name => name.getBoundingClientRect().left - edge)]"
    )
    assert kept[0] > 0
    assert kept[1:3] == [0, "region"]
    assert all(0 <= left <= 2 for left in kept[3:])


EVIL = "</script><img src=x onerror=window.broken=1>\"'><svg onload=window.broken=1>&amp;{{7*7}}${7*7}\u202e😀"


def test_hostile_names_stay_text(browser, tmp_path):
    page = make(tmp_path, range(15), EVIL, ModelInfo("e" * 64, EVIL, {EVIL: [EVIL, {EVIL: EVIL}]}))
    browser.open(page)
    browser.run("document.querySelector('.shot').click()")
    browser.press("ARROW_RIGHT")
    assert browser.run("return document.querySelector('#viewer-title').textContent").startswith(EVIL.split("\u202e")[0])
    assert browser.run("return window.broken") is None
    assert browser.run("return document.querySelectorAll('img:not([src^=\"data:\"]), script:not([type])').length") == 1
    quiet(browser, page)


def test_without_programs_it_still_tells(browser, page, tmp_path):
    plain = tmp_path / "plain.html"
    plain.write_text(re.sub(r"<script.*?</script>", "", page.read_text("utf-8"), flags=re.DOTALL), "utf-8")
    browser.size(1200)
    browser.driver.get(plain.as_uri())
    assert "lot 3" in browser.driver.find_element("css selector", "body").text
    assert not browser.driver.find_element("id", "filters").is_displayed()
    assert browser.driver.find_element("css selector", ".shot img").is_displayed()


@pytest.mark.parametrize("images", [1, 200, pytest.param(2000, marks=pytest.mark.slow)])
def test_from_one_image_to_thousands(browser, tmp_path, images):
    page = make(tmp_path, range(images))
    assert page.stat().st_size < 40e6
    seconds = browser.open(page)
    # A person waits that long without thinking of something else, on a machine that is not busy.
    assert seconds < 5
    assert browser.run("return document.querySelectorAll('#lot-table tbody tr').length") == -(-images // 10)
    times = browser.run(
        "const t = [], find = document.querySelector('#find');"
        "for (const text of ['l', 'lo', 'lot 1', 'nothing', '']) {"
        "  const start = performance.now(); find.value = text; find.dispatchEvent(new Event('input'));"
        "  document.body.offsetHeight; t.push(performance.now() - start); } return t"
    )
    assert max(times) < 500
    browser.run("document.querySelector('.shot').click()")
    assert browser.run("return document.querySelector('#viewer').open")
    browser.press("ESCAPE")
    quiet(browser, page)

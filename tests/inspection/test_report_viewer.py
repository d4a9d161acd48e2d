"""Pictures of odd shapes, the viewer's zoom and crops, and the list of what waits for review, in a real browser."""

import base64
import hashlib

import numpy as np
import pytest

from jaxqc.data.tables.read import read_table
from jaxqc.inspection.ledger.review_list import Unreviewed
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.report import Gallery, write_report
from jaxqc.inspection.report import review_list as listing
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import MODEL, finding, row
from tests.support.report_browser import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

from tests.support import odd_shapes


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return odd_shapes.page(tmp_path_factory.mktemp("shapes"))


# Each thing's rectangle, and that of the picture as it is drawn: an image that is fitted into its element is smaller.
OUTSIDE = """
const [stack, things, slack] = arguments, out = [];
for (const holder of document.querySelectorAll(stack)) {
  const photo = holder.querySelector("img"), r = photo.getBoundingClientRect();
  const scale = Math.min(r.width / photo.naturalWidth, r.height / photo.naturalHeight);
  const w = photo.naturalWidth * scale, h = photo.naturalHeight * scale;
  const x = r.left + (r.width - w) / 2, y = r.top + (r.height - h) / 2;
  const drawn = { left: x, top: y, right: x + w, bottom: y + h };
  const card = holder.closest(".shot, .frame").getBoundingClientRect();
  for (const thing of holder.querySelectorAll(things)) {
    const b = thing.getBoundingClientRect();
    const within = (o) => b.left >= o.left - slack && b.right <= o.right + slack && b.top >= o.top - slack
      && b.bottom <= o.bottom + slack;
    if (!within(drawn) || !within(card) || !b.width || !b.height) out.push([photo.alt, thing.textContent, b, drawn]);
  }
}
const many = (selector) => document.querySelectorAll(selector).length;
return [out, many(stack), many(`${stack} ${things.split(",")[0]}`)]"""


@pytest.mark.parametrize(("width", "scheme"), [(1024, "light"), (390, "dark")])
def test_pictures_boxes_and_names_are_whole_whatever_the_shape(browser, shapes, width, scheme):
    browser.prefer(scheme)
    browser.open(shapes, width)
    browser.run("for (const i of document.images) i.loading = 'eager'")
    browser.driver.execute_async_script(
        "const d = arguments[0];"
        "Promise.all([...document.images].filter(i => i.src).map(i => i.decode())).then(() => d())"
    )
    outside, cards, boxes = browser.run(OUTSIDE, ".shot .stack", ".box, .heat", 0.01)
    assert (outside, cards, boxes) == ([], 6, 30)
    assert browser.run("return document.scrollingElement.scrollWidth") <= width
    for shot in range(cards):
        browser.run(f"document.querySelectorAll('.shot')[{shot}].click()")
        browser.drawn()
        outside, _, boxes = browser.run(OUTSIDE, "#viewer-stack", ".box, .box-name, .heat", 0.6)
        assert (outside, boxes) == ([], 5)
        assert browser.run("const v = document.querySelector('#viewer'); return v.scrollWidth <= v.clientWidth")
        browser.press("ESCAPE")


def test_the_legend_says_where_the_heat_begins(browser, shapes):
    browser.open(shapes)
    assert "clear below the threshold 0.5" in browser.run("return document.querySelector('#heat-legend').textContent")
    assert browser.run("return document.querySelector('#heat-legend rect + rect').getAttribute('x')") == "50.0"


def test_crops_show_the_originals_pixels(browser, shapes):
    browser.open(shapes)
    number = browser.run("return pictures.findIndex(p => p.image === '500 x 1240/0.png')")
    browser.run(f"document.querySelector('.shot[data-picture=\"{number}\"]').click()")
    browser.driver.execute_async_script(
        "const d = arguments[0], many = () => document.querySelectorAll('#viewer .crop canvas').length;"
        "const t = () => many() === 5 ? d() : setTimeout(t, 20); t()"
    )
    image, _ = odd_shapes.drawn((1240, 500), 10)
    crops = browser.run(f"return pictures[{number}].crops")
    for i, (_, _, w, h, factor, x0, y0, x1, y1) in enumerate(crops):
        assert (w, h, factor) == (x1 - x0, y1 - y0, 1)
        data = browser.run(
            "const c = document.querySelectorAll('#viewer .crop canvas')[arguments[0]];"
            "const all = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "const grey = new Uint8Array(all.length / 4);"
            "for (let k = 0; k < grey.length; k++) grey[k] = all[4 * k]; return btoa(String.fromCharCode(...grey))", i
        )  # fmt: skip
        shown = np.frombuffer(base64.b64decode(data), np.uint8).reshape(h, w).astype(float)
        assert np.abs(shown - image[y0:y1, x0:x1, 0]).mean() < 5  # grains of the image differ by 9
    assert browser.run("return document.querySelectorAll('#viewer-stack .patch').length") == 5


ZOOM = "return parseFloat(getComputedStyle(document.querySelector('#viewer-stack')).getPropertyValue('--zoom'))"
SCROLL = "const f = document.querySelector('#viewer-frame'); return [f.scrollLeft, f.scrollTop]"
FOCUS = "const e = document.activeElement; return e.id || e.className"


def test_zoom_and_pan_by_keys_wheel_and_buttons(browser, shapes):
    browser.prefer("light")
    browser.open(shapes, 1024)
    browser.run("document.querySelectorAll('.shot')[2].focus()")
    browser.press("ENTER", "+", "+")
    assert browser.run(ZOOM) == pytest.approx(1.96)
    place = browser.run("return document.querySelector('#viewer-place').textContent")
    before = browser.run(SCROLL)
    browser.press("ARROW_RIGHT", "ARROW_DOWN")
    after = browser.run(SCROLL)
    assert after[1] > before[1]
    assert browser.run("return document.querySelector('#viewer-place').textContent") == place  # no other picture
    browser.press("0")
    assert browser.run(ZOOM) == 1
    browser.run("document.querySelector('#zoom-in').focus()")
    browser.press(*["ENTER"] * 12)
    assert browser.run(FOCUS) == "zoom-in"  # also at the end of the scale
    assert browser.run("return document.querySelector('#zoom-in').getAttribute('aria-disabled')") == "true"
    assert browser.run(ZOOM) == browser.run("return zoomed.most")
    browser.run("document.querySelector('#zoom-fit').click()")
    point = browser.run(
        "const f = document.querySelector('#viewer-frame'), s = document.querySelector('#viewer-stack');"
        "const r = f.getBoundingClientRect(), x = r.left + r.width / 2 + 20, y = r.top + r.height * 0.7;"
        "const at = () => { const b = s.getBoundingClientRect(); return (y - b.top) / b.height };"
        "const old = at(), turn = { deltaY: -150, clientX: x, clientY: y, cancelable: true };"
        "for (let k = 0; k < 8; k++) f.dispatchEvent(new WheelEvent('wheel', turn));"
        "return [old, at()]"
    )
    assert browser.run(ZOOM) > 4
    assert point[0] == pytest.approx(point[1], abs=0.01)  # what the pointer is on stays under it
    for i in range(5):  # a defect's button brings its box into the frame's middle
        browser.run(f"document.querySelectorAll('#viewer .crop')[{i}].focus()")
        browser.press("ENTER")
        assert "crop" in browser.run(FOCUS)
        assert browser.run("return document.querySelectorAll('#viewer .box.lit').length") == 1
        outside, _, _ = browser.run(OUTSIDE, "#viewer-stack", ".box.lit", 1)
        assert outside == []
    browser.press("ARROW_LEFT", "0", "ARROW_RIGHT")
    assert browser.run("return document.querySelector('#viewer-place').textContent") != place
    browser.press("ESCAPE")
    assert browser.run("return document.querySelector('#viewer').open") is False
    console, _ = browser.logs()
    assert console == []


def test_a_picture_of_the_list_opens_and_the_focus_comes_back(browser, shapes):
    browser.open(shapes, 1024)
    browser.run("document.querySelectorAll('#review-table .thumb')[1].focus()")
    name = browser.run("return document.querySelectorAll('#review-table [data-label=Image]')[1].textContent")
    browser.press("ENTER")
    assert browser.run("return document.querySelector('#viewer-title').textContent") == name
    browser.press("ARROW_RIGHT", "ESCAPE")
    browser.drawn()
    row = "return document.activeElement.closest('tr').sectionRowIndex"
    assert browser.run(row) == 1
    assert browser.run(FOCUS) == "thumb"
    browser.press("r")
    assert browser.run("return document.querySelectorAll('#review-table [aria-pressed=true]').length") == 1
    assert browser.run(row) == 2
    browser.press("ARROW_UP", "u")  # an unsaved verdict would hold the next page back


def waiting(n):
    sha256 = hashlib.sha256(f"w{n}".encode()).hexdigest()
    name = f'part "{n}",\n{n}.png' if n == 7 else f"part {n}.png"
    return Unreviewed(
        sha256, name, f"lot {n % 40}", f"=P{n}", MODEL.digest, (n * 7919 % 20000) / 20000, 1 - n / 20000, 1
    )


@pytest.fixture(scope="module")
def long_list(tmp_path_factory):
    """A page on which 20 000 pictures wait."""
    folder = tmp_path_factory.mktemp("list")
    with pytest.MonkeyPatch.context() as patch, open_ledger(folder / "ledger.db") as ledger:
        patch.setattr(listing, "unreviewed", lambda *_: map(waiting, range(20_000)))
        ledger.add([finding(1)], MODEL, [row(1)])
        return write_report(ledger, Gallery(folder / "gallery"), folder / "report.html", rules=GradeRules(), model=None)


SHOWN = "return [...document.querySelectorAll('#review-table tbody [data-label={}]')].map(d => d.textContent)"


def test_a_long_list_is_paged_sorted_filtered_and_marked(browser, long_list, tmp_path):
    assert browser.open(long_list) < 5
    image, place = SHOWN.format("Image"), "return document.querySelector('#review-place').textContent"
    assert browser.run(image)[:3] == ["part 0.png", "part 1.png", "part 2.png"]
    assert browser.run(place) == "1 to 50 of 20000"
    slowest = browser.run(
        "const t = [], click = (q) => { const s = performance.now(); document.querySelector(q).click();"
        "  document.body.offsetHeight; t.push(performance.now() - s) };"
        "for (const key of ['lot', 'image', 'score', 'severity']) click(`#review-table th[data-key=${key}] button`);"
        "for (const to of ['last', 'before', 'next', 'first']) click(`[data-page=${to}]`); return Math.max(...t)"
    )
    assert slowest < 1500
    browser.run("document.querySelector('#review-table th[data-key=score] button').click()")
    scores = [float(text) for text in browser.run(SHOWN.format("Score"))]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 0.9999 or scores[0] == 1.0
    browser.run(
        "const s = document.querySelector('#review-lot'); s.selectedIndex = 8; s.dispatchEvent(new Event('change'))"
    )
    assert browser.run("return document.querySelector('#review-lot').selectedOptions[0].textContent") == "lot 7 (500)"
    browser.run("document.querySelector('#review-table th[data-key=severity] button').click()")
    assert browser.run(image)[:2] == ['part "7",\\n7.png', "part 47.png"]
    browser.run("document.querySelector('[data-page=last]').click()")
    assert browser.run(place) == "451 to 500 of 500"
    browser.run("document.querySelector('[data-page=first]').click()")

    browser.run("document.querySelector('#review-table tbody tr').focus()")
    browser.press("p", "r", "ARROW_DOWN", "r", "ARROW_UP")
    at = "const e = document.activeElement; return [e.tagName, e.sectionRowIndex]"
    assert browser.run(at) == ["TR", 3]
    browser.press("u", "TAB")
    assert browser.run("return document.activeElement.dataset.say") == "pass"
    stops = browser.run("return document.querySelectorAll('#review-table tbody [tabindex=\"0\"]').length")
    assert stops == 3  # the row and its two buttons, not all fifty
    browser.run("document.querySelector('#review-person').value = 'Åna, QA'")
    browser.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.run("document.querySelector('#review-download').click()")
    file = tmp_path / "review.csv"
    for _ in range(100):
        if file.exists() and file.stat().st_size:
            break
        browser.drawn(50)
    assert file.read_bytes().startswith(b"\xef\xbb\xbfsha256,")  # the name is not ASCII
    assert b",'=P47," in file.read_bytes()  # no spreadsheet computes it
    table = read_table(file, ("sha256",))
    lines = [cells for _, cells in table.records()]
    assert lines[1]["piece"] == "=P47"
    assert list(lines[0]) == ["sha256", "image", "lot", "piece", "verdict", "class", "person", "note", "time"]
    assert [line["sha256"] for line in lines] == [waiting(n).sha256 for n in range(7, 20_000, 40)]
    assert [line["verdict"] for line in lines[:5]] == ["pass", "reject", "", "", ""]
    assert lines[0]["image"] == 'part "7",\\n7.png'
    assert (lines[0]["person"], lines[2]["person"], lines[2]["time"]) == ("Åna, QA", "", "")
    assert lines[0]["time"].endswith("+00:00")
    console, asked = browser.logs()
    assert console == []
    assert not [url for url in asked if not url.startswith(("blob:", "file:"))]

"""The pages over real HTTP: what they show, signing in, and that no name becomes markup."""

import base64
import io
import re
from html import unescape
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from jaxqc.inspection.ledger.pictures import newest
from jaxqc.serve.pages.templating import files
from jaxqc.serve.settings import Batches, Settings
from tests.support.inspect_models import write_network
from tests.support.live_server import SIZE, board, live
from tests.support.report_pages import Page

HOSTILE = "<img src=x onerror=alert(1)>'\"&{{7*7}}</script>"
CHINESE = "塔马轧钢厂"


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    """Twelve boards in three lots, one of them with hostile names everywhere; and what people said of them."""
    with live(run, tmp_path_factory.mktemp("pages")) as here:
        here.sums = []
        for i in range(12):
            lot, supplier = (("L-1", "North"), ("批次 7", CHINESE), (HOSTILE, HOSTILE))[i % 3]
            more = dict.fromkeys(("product", "line", "machine", "piece", "shift"), HOSTILE) if i % 3 == 2 else {}
            about = {"product": "tile", "time": f"2026-03-{1 + i:02}", **more, "lot": lot, "supplier": supplier}
            answer = here.post(board(900 + i, i % 2 == 0), image=f"{HOSTILE if i % 3 == 2 else 'b'}{i}.png", **about)
            here.sums.append(answer.json()["finding"]["sha256"])
        for i, verdict in ((0, "pass"), (1, "reject"), (2, "reject")):
            word = {"sha256": here.sums[i], "verdict": verdict, "person": HOSTILE, "note": HOSTILE,
                    "class_name": HOSTILE if verdict == "reject" else ""}  # fmt: skip
            assert here.client.post("/v1/reviews", json=word).status_code == 200
        orders = [{"order": str(i), "lot": HOSTILE, "returned": i % 2 == 0} for i in range(4)]
        assert here.client.post("/v1/outcomes", json=orders).status_code == 200
        yield here


def get(server, path, status=200):
    answer = server.client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == status, (path, answer.text[:300])
    return answer


def all_pages(server):
    lots = [f"/lots?lot={quote(name, safe='')}" for name in ("L-1", "批次 7", HOSTILE)]
    reviews = [f"/review/{sha256}" for sha256 in server.sums[:3]]
    return ["/", "/live/now", f"/live/shot/{server.sums[2]}", "/lots", *lots, "/suppliers", "/review", *reviews,
            "/review?queue=near", f"/review?lot={quote(HOSTILE, safe='')}", "/model",
            f"/lots?supplier={quote(HOSTILE, safe='')}", f"/lots?product={quote(HOSTILE, safe='')}"]  # fmt: skip


def test_no_name_becomes_markup_on_any_page(server):
    """The oracle is an HTML parser: no element or attribute is made of a name, and texts come back as they were."""
    for path in all_pages(server):
        answer = get(server, path)
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        page = Page(answer.text)
        assert not page.of("img", src="x"), path
        assert "49" not in re.findall(r"\{\{|>\s*49\s*<", answer.text), path
        for tag, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (path, tag)
            assert tag != "script" or attributes.get("src", "").startswith("/static/") or "type" in attributes, path
    hostile = get(server, f"/lots?lot={quote(HOSTILE, safe='')}")
    assert HOSTILE in Page(hostile.text).text
    assert HOSTILE in unescape(get(server, f"/review/{server.sums[2]}").text)


def test_what_a_page_links_and_loads_is_there(server):
    """Every address of every page answers; so does each style and program, for ever."""
    seen = set()
    for path in all_pages(server):
        for tag, attributes in Page(get(server, path).text).tags:
            for name in ("href", "src"):
                address = attributes.get(name, "")
                if address.startswith("/") and tag != "form":
                    seen.add(address)
    assert len(seen) > 40
    for address in seen:
        answer = server.client.get(address)
        assert answer.status_code == 200, address
        if address.startswith("/static/"):
            assert "immutable" in answer.headers["cache-control"]
    assert server.client.get("/static/0000000000000000/site.js").status_code == 404
    assert server.client.get("/static/0000000000000000/..%2F..%2Fpages%2Fsite.py").status_code == 404


def test_the_pages_colours_are_those_of_the_report():
    """All of them have a light and a dark one there, and a contrast that is tested."""
    own, report = (files()[name].content.decode() for name in ("site.css", "tokens.css"))
    known = set(re.findall(r"--([a-z-]+):", report)) | set(re.findall(r"--([a-z-]+):", own))
    assert set(re.findall(r"var\(--([a-z-]+)\)", own)) <= known
    assert not re.findall(r"#[0-9a-f]{6}\b", own)


def test_the_live_page_has_the_last_images_and_the_lots_that_fill_up(server):
    page = Page(get(server, "/").text)
    last = [a["href"].removeprefix("/review/") for a in page.of("a", **{"class": "shot"})]
    assert last == [one.finding.sha256 for one in newest(server.service.ledger, 24)]
    lots = [a["data-lot"] for a in page.of("li", **{"class": "filling"})]
    assert lots == [HOSTILE, "批次 7", "L-1"]
    assert CHINESE in page.text
    before = get(server, "/live/now").text
    server.post(board(950), lot="L-1", supplier="North")
    after = Page(get(server, "/live/now").text)
    assert after.of("li", **{"class": "filling"})[0]["data-lot"] == "L-1"
    assert before != get(server, "/live/now").text


def test_lots_and_suppliers_of_a_time_and_a_product(server):
    lots = lambda query: [a["data-lot"] for a in Page(get(server, f"/lots{query}").text).of("tr") if "data-lot" in a]
    named = lambda query: Page(get(server, f"/lots{query}").text).text
    assert len(lots("")) == 3
    assert len(lots("?product=tile")) == 2
    assert len(lots("?from=2026-03-02")) == 2  # a lot belongs to the day of its first image
    assert len(lots("?from=2026-03-02&to=2026-03-02")) == 1
    assert "批次 7" in named("?from=2026-03-02&to=2026-03-02")
    assert "No lot of this time" in named("?to=2020-01-01")
    assert "No lot of this time" in Page(get(server, "/suppliers?to=2020-01-01").text).text
    assert get(server, "/lots?from=yesterday", 422).text.count("<h1>") == 1
    suppliers = Page(get(server, "/suppliers?product=tile").text).text
    assert CHINESE in suppliers
    assert "North" in suppliers
    assert "North" not in Page(get(server, f"/suppliers?supplier={CHINESE}").text).text
    assert "no such lot" in get(server, "/lots?lot=none", 404).text


def test_the_review_queues(server):
    """Nearest first, by the oracle of sorting all scores; judged pictures are in no queue."""
    found = newest(server.service.ledger, 200)
    engine = server.service.engines[0]
    limit = engine.info.details["score_threshold"]
    open_ones = [one.finding for one in found if one.person is None]
    expected = [f.sha256 for f in sorted(open_ones, key=lambda f: (abs(f.score - limit), f.sha256))]
    page = Page(get(server, "/review?queue=near").text)
    thumbnails = [a["src"].split("/")[3] for a in page.of("img") if a["src"].endswith("/thumbnail")]
    assert thumbnails == expected[:60]
    assert page.of("div", id="judge")[0]["data-sha256"] == expected[0]
    assert page.of("div", id="judge")[0]["data-next"].startswith(f"/review/{expected[1]}?queue=near")
    assert Page(get(server, f"/review/{server.sums[0]}").text).text.count("by a person") >= 1
    assert get(server, "/review?queue=all", 422)
    assert get(server, f"/review/{'0' * 64}", 404)
    assert "elsewhere" not in get(server, f"/review/{server.sums[0]}?before=//elsewhere.example").text


def test_the_models_page(server):
    """Precision and recall are those of the table that stands below them."""
    page = Page(get(server, "/model").text)
    assert "Agreement with people" in page.text
    assert "Precision" in page.text
    assert "Images judged by people 3" in page.text
    assert "Returned" in page.text
    assert server.service.engines[0].info.digest[:12] in page.text
    assert get(server, f"/model?digest={'0' * 64}", 404)


def test_view_and_heat_of_a_picture(server):
    base = f"/v1/images/{server.sums[0]}"
    view = Image.open(io.BytesIO(server.client.get(f"{base}/view").content))
    assert (view.format, view.size) == ("JPEG", SIZE[::-1])
    heat = Image.open(io.BytesIO(server.client.get(f"{base}/heat.png").content)).convert("RGBA")
    found = newest(server.service.ledger, 200)
    hole = next(one.finding for one in found if one.finding.sha256 == server.sums[0]).defects[0].box
    opaque = np.asarray(heat.resize(SIZE[::-1], Image.Resampling.NEAREST))[..., 3] > 0
    rows, columns = np.nonzero(opaque)
    assert abs(columns.min() - hole[0]) <= 2
    assert abs(rows.max() + 1 - hole[3]) <= 2


def test_a_mask_as_a_canvas_makes_it(server):
    """RGBA, black and white: what browsers write."""
    picture = np.zeros((*SIZE, 4), np.uint8)
    picture[..., 3] = 255
    picture[5:15, 7:20, :3] = 255
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    word = {"sha256": server.sums[4], "verdict": "reject", "mask_png": base64.b64encode(out.getvalue()).decode()}
    assert server.client.post("/v1/reviews", json=word).json()["new"]
    drawn = np.asarray(Image.open(io.BytesIO(server.client.get(f"/v1/images/{server.sums[4]}/mask.png").content)))
    assert np.array_equal(drawn, picture[..., 0] > 0)
    assert server.client.post("/v1/reviews", json={"sha256": server.sums[4], "verdict": "undone"}).json()["new"]


def test_lots_outside_the_limits_are_linked_below_the_charts(server):
    for lot in range(9):
        for i in range(4):
            server.post(board(3000 + 10 * lot + i, lot == 8), lot=f"drift {lot}", supplier="Drift", product="drift",
                        time=f"2026-04-{1 + lot:02}")  # fmt: skip
    for path in ("/suppliers?product=drift", "/lots?product=drift"):
        page = Page(get(server, path).text)
        assert page.of("a", href="/lots?lot=drift%208"), path


def test_of_several_models_each_has_its_pages(run, tmp_path, small_models):
    other = write_network(tmp_path / "other", classes=("Hole", "Spot"), threshold=0.6, f1=0.8)
    with live([run, other], tmp_path, Settings(port=0, batches=Batches(most=1))) as here:
        first, second = (engine.info.digest for engine in here.service.engines)
        sha256 = here.post(board(995), lot="L", model=second).json()["finding"]["sha256"]
        assert len(Page(get(here, "/").text).of("option", value=second)) == 1
        assert Page(get(here, f"/review/{sha256}").text).of("div", id="judge")
        near = lambda digest: Page(get(here, f"/review?queue=near&model={digest[:12]}").text).of("div", id="judge")
        assert [one["data-sha256"] for one in near(second)] == [sha256]
        assert near(first) == []
        assert get(here, "/review?model=none", 404)
        for digest in (first, second):
            page = Page(get(here, f"/model?digest={digest}").text)
            assert {a["href"] for a in page.of("a") if "digest" in a["href"]} == {
                f"/model?digest={one}" for one in (first, second)}  # fmt: skip

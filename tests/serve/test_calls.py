"""The calls of a real server over HTTP: answers are those of `jaxqc inspect`, and everything is in the one ledger."""

import base64
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image, ImageDraw

import jaxqc
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.ledger.masks import mask_of
from jaxqc.inspection.ledger.queries import entries, lot_findings
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.rules import GradeRules
from tests.support.inspect_models import write_image
from tests.support.live_server import SIZE, board, live


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eight boards as files; every second one has a hole."""
    folder = tmp_path_factory.mktemp("images")
    for i in range(8):
        write_image(folder / f"{i}.png", i, i % 2 == 0)
    return [folder / f"{i}.png" for i in range(8)]


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    """One server for all; each test has lots of its own."""
    with live(run, tmp_path_factory.mktemp("served")) as here:
        yield here


def test_findings_and_lots_are_those_of_inspect(run, images, tmp_path):
    """The oracle is `jaxqc inspect` on the same files: each number, and the lots' grades."""
    delivery = tmp_path / "delivery.csv"
    lots = ["L-1" if i < 5 else "L/2 ü" for i in range(8)]
    rows = [f"{path},{lot},North,{i // 2}" for i, (path, lot) in enumerate(zip(images, lots, strict=True))]
    delivery.write_text("image,lot,supplier,piece\n" + "\n".join(rows) + "\n", "utf-8")
    jaxqc.inspect(jaxqc.load(run), delivery, tmp_path / "inspected", progress=False, devices=1)
    with live(run, tmp_path) as here:
        for i, (path, lot) in enumerate(zip(images, lots, strict=True)):
            answer = here.post(path.read_bytes(), image=str(path), lot=lot, supplier="North", piece=str(i // 2))
            assert answer.status_code == 200, answer.text
        told = {one["figures"]["lot"]: one["figures"] for one in here.client.get("/v1/lots").json()["lots"]}
        alone = here.client.get("/v1/lots/L%2F2%20%C3%BC").json()
    found = []
    for file in (tmp_path / "inspected" / "ledger.sqlite", tmp_path / "ledger.sqlite"):
        with open_ledger(file, create=False) as ledger:
            found.append(({e.finding.sha256: e.finding for e in entries(ledger)},
                          [f for _, f in lot_findings(ledger, GradeRules())]))  # fmt: skip
    assert len(found[0][0]) == 8
    assert found[0] == found[1]
    assert told == {figures.lot: figures.to_dict() for figures in found[0][1]}
    assert alone["figures"] == told["L/2 ü"]
    assert (told["L-1"]["pieces"], told["L-1"]["images"]) == (3, 5)


def test_the_same_image_again_gets_the_stored_answer(server):
    first, again = (server.post(board(0), lot="again").json() for _ in range(2))
    assert (first["known"], again["known"]) == (False, True)
    assert first["finding"] == again["finding"]
    assert first["model"] == again["model"] == server.service.engines[0].info.digest
    other = server.post(board(0), lot="another").json()
    assert other["known"]
    shown = server.client.get(f"/v1/images/{first['finding']['sha256']}").json()
    assert sorted(place["lot"] for place in shown["places"]) == ["again", "another"]
    assert len(shown["inspections"]) == 1
    finding = Finding.from_dict(first["finding"])
    assert finding.verdict == "reject"
    assert finding.defects


def test_many_clients_at_once_each_get_their_own_answer(server):
    """Whoever shares a batch, the answer is that of the image alone."""
    boards = [board(100 + i, hole=i % 3 == 0) for i in range(24)]
    answers = [None] * len(boards)

    def send(i):
        import httpx

        with httpx.Client(base_url=server.base, timeout=30, trust_env=False) as client:
            answers[i] = client.post("/v1/inspect", content=boards[i], headers={"Content-Type": "image/png"}).json()

    threads = [threading.Thread(target=send, args=(i,)) for i in range(len(boards))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scorer = server.service.engines[0].scorers[1]
    for data, answer in zip(boards, answers, strict=True):
        image = np.asarray(Image.open(io.BytesIO(data)))[..., None]
        alone = scorer.answer(*SIZE, scorer.score([scorer.prepare(image)], 0)[0])
        assert answer["finding"]["score"] == pytest.approx(alone.score, abs=1e-6)
    metrics = server.client.get("/metrics").text
    sizes = [line for line in metrics.splitlines() if line.startswith("jaxqc_batch_images_sum")]
    count = [line for line in metrics.splitlines() if line.startswith("jaxqc_batch_images_count")]
    assert float(sizes[0].split()[-1]) > float(count[0].split()[-1])  # some shared a batch
    assert 'jaxqc_verdicts_total{model="' in metrics


def test_of_several_images_a_bad_one_spoils_only_its_own(server):
    parts = [("image", ("a.png", board(200), "image/png")), ("image", ("b.png", b"no image", "image/png")),
             ("image", ("c.png", board(201, False), "image/png"))]  # fmt: skip
    rows = json.dumps([{"piece": "1"}, {}, {"piece": "2", "shift": "night"}])
    found = server.client.post("/v1/inspect/batch", files=parts, data={"lot": "batch", "rows": rows}).json()
    assert (found["inspected"], found["failed"]) == (2, 1)
    assert [one.get("reason") for one in found["images"]] == [None, "request", None]
    assert "b.png" in found["images"][1]["error"]
    sha256 = found["images"][2]["finding"]["sha256"]
    place = server.client.get(f"/v1/images/{sha256}").json()["places"][0]
    assert (place["image"], place["lot"], place["piece"], place["more"]) == ("c.png", "batch", "2", {"shift": "night"})


def test_map_overlay_thumbnail_and_file(server):
    data = board(300)
    answer = server.post(data, maps="png", lot="pictures").json()
    sha256 = answer["finding"]["sha256"]
    sent = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["map_png"]))))
    base = f"/v1/images/{sha256}"
    got = server.client.get(f"{base}/map.png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(got.content))), sent)
    assert sent.shape == SIZE
    assert int(sent.max()) == round(255 * answer["finding"]["score"])
    assert server.client.get(f"{base}/file").content == data
    overlay = np.asarray(Image.open(io.BytesIO(server.client.get(f"{base}/overlay.png").content)).convert("RGB"))
    assert overlay.shape == (*SIZE, 3)
    grey = (overlay.max(2) == overlay.min(2)).all()
    assert not grey  # heat and outlines have colours
    assert Image.open(io.BytesIO(server.client.get(f"{base}/thumbnail").content)).format == "JPEG"
    for name in ("map.png", "overlay.png", "thumbnail", "file"):
        tag = server.client.get(f"{base}/{name}").headers["etag"]
        same = server.client.get(f"{base}/{name}", headers={"If-None-Match": tag})
        assert (same.status_code, same.content) == (304, b"")
        assert server.client.get(f"{base}/{name}", headers={"If-None-Match": '"other"'}).status_code == 200


def test_only_the_ledgers_pictures_are_served(server, tmp_path):
    stranger = "ab" * 32
    server.service.store.keep(stranger, b"\x89PNG in the folder, not in the ledger")
    for name in ("", "/file", "/thumbnail", "/map.png", "/overlay.png", "/mask.png"):
        assert server.client.get(f"/v1/images/{stranger}{name}").status_code == 404
    for name in ("..%2F..%2Fetc%2Fpasswd", "AB" * 32, "ab", "0" * 63 + "/"):
        assert server.client.get(f"/v1/images/{name}/file").status_code in (404, 422)


def test_a_file_that_was_changed_on_the_disk_is_not_served(server):
    answer = server.post(board(301), lot="changed").json()
    sha256 = answer["finding"]["sha256"]
    for path in (server.service.store.folder / sha256[:2] / sha256).iterdir():
        path.write_bytes(board(302))
    assert server.client.get(f"/v1/images/{sha256}/file").status_code == 404


def test_lists_go_page_by_page_and_have_tags(server):
    for i in range(5):
        server.post(board(400 + i, i % 2 == 0), lot=f"page {i}", supplier="Pages")
    names, after = [], ""
    while after is not None:
        page = server.client.get("/v1/lots", params={"supplier": "Pages", "limit": 2, "after": after}).json()
        names += [one["figures"]["lot"] for one in page["lots"]]
        after = page["next"]
    assert names == [f"page {i}" for i in range(5)]
    ids, after = [], ""
    while after is not None:
        page = server.client.get("/v1/images", params={"limit": 3, "after": after}).json()
        ids += [one["id"] for one in page["images"]]
        after = page["next"]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == len(set(ids)) >= 5
    rejected = server.client.get("/v1/images", params={"lot": "page 0", "verdict": "reject"}).json()["images"]
    assert [one["finding"]["verdict"] for one in rejected] == ["reject"]
    for path in ("/v1/lots", "/v1/models", "/v1/suppliers", "/v1/images", "/v1/lots/page%200"):
        answer = server.client.get(path)
        assert server.client.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    for after in ("?", "e30", "MQ", "IngiIC"):
        assert server.client.get("/v1/images", params={"after": after}).status_code in (200, 422)
    assert server.client.get("/v1/images", params={"after": "InAi"}).status_code == 422
    assert server.client.get("/v1/lots/no such").status_code == 404
    models = server.client.get("/v1/models").json()["models"]
    assert [(m["serving"], m["batches"]) for m in models] == [(True, [1, 2, 4])]


def test_a_persons_word_counts_and_is_never_overwritten(server):
    data = board(500)
    finding = server.post(data, lot="reviewed").json()["finding"]
    sha256, base = finding["sha256"], f"/v1/images/{finding['sha256']}"
    say = lambda **word: server.client.post("/v1/reviews", json={"sha256": sha256, **word})
    assert say(verdict="pass", person="Li", note="a reflection").json() == {"new": True, "verdict": "pass"}
    assert say(verdict="pass", person="Li", note="a reflection").json() == {"new": False, "verdict": "pass"}
    assert server.client.get("/v1/lots/reviewed").json()["figures"]["rejected"] == 0
    corners = [[3, 4], [13, 4], [13, 24], [3, 24]]
    assert say(verdict="reject", person="Wang", class_name="Spot", polygons=[corners]).json()["verdict"] == "reject"
    drawn = np.asarray(Image.open(io.BytesIO(server.client.get(f"{base}/mask.png").content)))
    expected = np.zeros(SIZE, bool)
    expected[4:24, 3:13] = True
    assert np.array_equal(drawn, expected)
    image = Image.new("L", SIZE[::-1])
    ImageDraw.Draw(image).ellipse((5, 5, 20, 30), fill=255)
    out = io.BytesIO()
    image.save(out, "PNG")
    again = say(verdict="reject", person="Wang", class_name="Spot", mask_png=base64.b64encode(out.getvalue()).decode())
    assert again.json() == {"new": True, "verdict": "reject"}  # the mask is another, so it is another event
    drawn = np.asarray(Image.open(io.BytesIO(server.client.get(f"{base}/mask.png").content)))
    assert np.array_equal(drawn, np.asarray(image) > 0)
    shown = server.client.get(base).json()
    assert [(r["verdict"], r["person"]) for r in shown["reviews"]] == [("pass", "Li"), ("reject", "Wang"),
                                                                      ("reject", "Wang")]  # fmt: skip
    assert shown["mask"]
    assert shown["inspections"][0]["person"] == "reject"
    assert server.client.get("/v1/lots/reviewed").json()["figures"]["rejected"] == 1
    assert say(verdict="undone", person="Wang").json() == {"new": True, "verdict": None}
    assert mask_of(server.service.ledger, sha256) is not None


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        ({"verdict": "fine"}, 422, "verdict"),
        ({"verdict": "pass", "class_name": "Spot"}, 422, "only a reject has a class"),
        ({"verdict": "pass", "polygons": [[[1, 1], [9, 1], [9, 9]]]}, 422, "marked pixels"),
        ({"verdict": "reject", "polygons": []}, 422, "no marked pixel"),
        ({"verdict": "reject", "polygons": [[[1, 1], [900, 1], [9, 9]]]}, 422, "corners inside"),
        ({"verdict": "reject", "polygons": [[[1, 1], [9, 9]]]}, 422, "corners inside"),
        ({"verdict": "reject", "mask_png": "?"}, 422, "base64"),
        ({"verdict": "reject", "mask_png": base64.b64encode(b"text").decode()}, 422, "mask_png"),
        ({"verdict": "reject", "time": "yesterday"}, 422, "ISO 8601"),
        ({"verdict": "reject", "colour": "red"}, 422, "colour"),
        ({"sha256": "0" * 64, "verdict": "reject"}, 404, "does not know"),
        ({"sha256": "../0", "verdict": "reject"}, 422, "sha256"),
    ],
)
def test_a_wrong_word_is_refused_with_its_reason(server, word, status, reason):
    sha256 = server.post(board(501), lot="wrong").json()["finding"]["sha256"]
    before = server.client.get(f"/v1/images/{sha256}").json()["reviews"]
    answer = server.client.post("/v1/reviews", json={"sha256": sha256, **word})
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["error"]
    assert server.client.get(f"/v1/images/{sha256}").json()["reviews"] == before == []


def test_outcomes_come_as_json_or_as_a_table(server):
    one = {"order": "17", "lot": "again", "returned": True, "rating": 1.5, "time": "2026-03-05"}
    send = lambda **what: server.client.post("/v1/outcomes", **what)
    assert send(json=one).json()["new"] == 1
    assert send(json=[one, {"order": "18", "lot": "again", "returned": False}]).json() | {"notes": []} == {
        "new": 1, "changed": 0, "same": 1, "bad": [], "notes": []}  # fmt: skip
    table = "order,lot,returned\n19,again,no\n20,again,perhaps\n"
    found = send(content=table, headers={"Content-Type": "text/csv"}).json()
    assert found["new"] == 1
    assert "perhaps" in found["bad"][0]
    assert "/tmp" not in json.dumps(found)
    assert send(content=b"\0\xff,", headers={"Content-Type": "text/csv"}).status_code == 422
    assert send(json={"order": "21", "sold": True}).status_code == 422
    assert send(content="{", headers={"Content-Type": "application/json"}).status_code == 422
    assert send(content="<a/>", headers={"Content-Type": "text/xml"}).status_code == 422


@pytest.mark.parametrize(
    ("send", "status", "words"),
    [
        (dict(content=b"", headers={"Content-Type": "image/png"}), 422, "no image came"),
        (dict(content=b"GIF", headers={"Content-Type": "image/png"}), 422, ".bin"),
        (dict(content=b"{}", headers={"Content-Type": "application/json"}), 422, "content-type"),
        (dict(content=b"x", headers={"Content-Type": "multipart/form-data; boundary=b"}), 422, "multipart"),
        (dict(content=b"x", headers={"Content-Type": "multipart/form-data"}), 422, "boundary"),
        (dict(files={"picture": ("a.png", b"x")}), 422, "image"),
        (dict(files=[("image", ("a.png", b"x")), ("image", ("b.png", b"x"))]), 422, "Too many files"),
        (dict(content=b"x", params={"time": "soon"}, headers={"Content-Type": "image/png"}), 422, "ISO 8601"),
        (dict(content=b"x", params={"lot": "a\x07b"}, headers={"Content-Type": "image/png"}), 422, "control"),
        (dict(content=b"x", params={"lot": "a" * 201}, headers={"Content-Type": "image/png"}), 422, "at most 200"),
        (dict(content=b"x", params={"maps": "jpg"}, headers={"Content-Type": "image/png"}), 422, "maps"),
        (dict(content=b"x", params={"model": "other"}, headers={"Content-Type": "image/png"}), 422, "this server has"),
        (dict(content=b"x", params={"deadline_ms": "-1"}, headers={"Content-Type": "image/png"}), 422, "deadline_ms"),
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(server, send, status, words):
    answer = server.client.post("/v1/inspect", **send)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]
    assert server.service.door.images == 0

"""Frames of videos and cameras: as PyAV decodes them, each once; what is dropped is counted and named."""

import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jaxqc.errors import UserError
from jaxqc.inspection.frames import deliveries, is_video, name_of
from jaxqc.inspection.sources import source_of

COUNT = 60


def _write(path, count=COUNT, rate=20):
    """A video whose frames differ: a bar that moves."""
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'jaxqc[video]'")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"g": "10", "bf": "0"}
        for i in range(count):
            pixels = np.full((48, 64, 3), 40, np.uint8)
            pixels[:, i % 64 : i % 64 + 4] = 220
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="module")
def belt(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("video") / "belt.mp4")


def test_each_third_frame_of_a_file_is_the_decoders_own(belt, tmp_path):
    import av

    with av.open(str(belt)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(expected) == COUNT
    found = [item for part in deliveries(belt, tmp_path, every=3) for item in part.items]
    assert [item.id for item in found] == [f"belt/{i:08}" for i in range(0, COUNT, 3)]
    assert {item.lot for item in found} == {"belt"}
    for number, item in enumerate(found):
        np.testing.assert_array_equal(np.asarray(Image.open(item.image)), expected[3 * number])
    before = [item.image.read_bytes() for item in found]
    again = [item for part in deliveries(belt, tmp_path, every=3) for item in part.items]
    assert [item.image.read_bytes() for item in again] == before, "so that a ledger knows them"


def test_a_stop_ends_a_file(belt, tmp_path):
    parts = list(deliveries(belt, tmp_path, stop=lambda: True, room=8))
    assert [len(part.items) for part in parts] == [8]


@pytest.fixture
def camera(belt):
    """The address of a server that plays the video over RTSP, as a camera does, as fast as it was taken."""
    pytest.importorskip("aio_rtsp_toolkit", reason="no RTSP server: pip install 'aio-rtsp-toolkit[server]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "import asyncio, aio_rtsp_toolkit.server as s;"
        f"asyncio.run(s.serve({str(belt.parent)!r}, host='127.0.0.1', port={port}))"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, "the server ended"
            time.sleep(0.05)
        yield f"rtsp://127.0.0.1:{port}/belt.mp4"
    finally:
        server.terminate()
        server.wait(10)


def test_a_camera_gives_its_frames_and_no_frame_is_lost_where_there_is_room(camera, tmp_path):
    seen, problems = [], []
    for part in deliveries(camera, tmp_path, stop=lambda: len(seen) >= 20):
        seen.extend(int(item.id.rpartition("/")[2]) for item in part.items)
        problems.extend(part.problems)
        assert all(item.time is not None and item.image.is_file() for item in part.items)
    assert len(seen) >= 20
    assert seen == list(range(len(seen)))
    assert not problems


@pytest.mark.slow
def test_frames_that_come_too_fast_are_dropped_by_name(camera, tmp_path):
    seen, problems = [], []
    for part in deliveries(camera, tmp_path, stop=lambda: bool(seen) and seen[-1] > 25, room=2):
        seen.extend(int(item.id.rpartition("/")[2]) for item in part.items)
        problems.extend(part.problems)
        time.sleep(0.6)  # twelve frames of the camera
    assert problems
    assert {p.kind for p in problems} == {"dropped-frame"}
    named = set()
    for problem in problems:
        words = problem.message.split(": ")[1].replace(",", "").split()
        first, last = int(words[3]), int(words[5])
        assert int(words[0]) == last - first + 1
        named |= set(range(first, last + 1))
    assert not named & set(seen)
    assert named | set(seen) >= set(range(max(seen) + 1)), "each frame is inspected or named"


def test_what_is_no_video_is_refused_in_one_line(tmp_path, monkeypatch):
    pytest.importorskip("av", reason="PyAV is not installed: pip install 'jaxqc[video]'")
    (tmp_path / "odd.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"odd\.mp4: cannot be opened as a video"):
        list(deliveries(tmp_path / "odd.mp4", tmp_path))
    with pytest.raises(UserError, match=r"rtsp://127\.0\.0\.1:1/x: cannot be opened") as caught:
        list(deliveries("rtsp://ann:secret@127.0.0.1:1/x", tmp_path))
    assert "secret" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"need PyAV: pip install 'jaxqc\[video\]'"):
        list(deliveries(tmp_path / "odd.mp4", tmp_path))


def test_arguments_of_another_source_are_refused(tmp_path):
    assert is_video("rtsp://camera/1")
    assert is_video("a.MP4")
    assert not is_video("lots.csv")
    assert name_of("rtsp://ann:secret@camera:554/line/1") == "camera-554-line-1"
    for images, more, match in (
        ("a.mp4", {"watch": 1.0}, "--watch: is of folders"),
        (tmp_path, {"every": 2}, "--every: is of videos"),
    ):
        with pytest.raises(UserError, match=match):
            source_of(images, tmp_path, [], **more)
    with pytest.raises(UserError, match="--every: 0 must be 1 or more"):
        list(deliveries("a.mp4", tmp_path, every=0))

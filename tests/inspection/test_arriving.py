"""A watched folder gives each image once, when its file is complete."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.errors import UserError
from jaxqc.inspection.arriving import arrivals


class World:
    """A clock that moves when the watcher rests, and does then what is due."""

    def __init__(self, *events):
        self.now, self.events = 0.0, sorted(events, key=lambda event: event[0])

    def clock(self):
        return self.now

    def rest(self, seconds):
        self.now += seconds
        while self.events and self.events[0][0] <= self.now:
            self.events.pop(0)[1]()


def _image(path: Path, value: int = 0):
    def write():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)

    return write


def _watched(folder, world, **more):
    found = []
    more = {"settled": 2.0, "quiet": 5.0, "clock": world.clock, "rest": world.rest} | more
    for part in arrivals(folder, **more):
        found.append((world.now, [item.id for item in part.items], [one.kind for one in part.left_out]))
    return found


def test_files_come_once_and_only_when_they_are_complete(tmp_path):
    _image(tmp_path / "A/0.png")()
    whole = (tmp_path / "A/0.png").read_bytes()
    slow = tmp_path / "A" / "slow.png"
    slow.write_bytes(whole[:10])
    grow = [(t, lambda n=n: slow.write_bytes(whole[: 10 * n])) for t, n in ((1.0, 2), (2.5, 3), (4.0, 100))]
    world = World(*grow, (3.0, _image(tmp_path / "B/1.png")), (9.0, _image(tmp_path / "A/0.png", 9)))
    found = _watched(tmp_path, world)
    assert [(names, bad) for _, names, bad in found] == [
        (["A/0.png"], []),
        (["B/1.png"], []),
        (["A/slow.png"], []),
        (["A/0.png"], []),  # written anew: another image
    ]
    times = [when for when, *_ in found]
    assert times == [2.0, 5.0, 6.0, 11.0], "two seconds after the last change"
    assert world.now == 16.0, "five seconds after the last one it ends"


def test_an_empty_folder_may_fill_and_a_stop_ends_it(tmp_path):
    world = World((20.0, _image(tmp_path / "late.png")))
    found = _watched(tmp_path, world, quiet=0.0, stop=lambda: world.now > 30)
    assert [names for _, names, _ in found] == [["late.png"]]
    assert _watched(tmp_path / ".", World(), quiet=1.0)[0][1] == ["late.png"]


def test_what_is_no_image_is_told_once(tmp_path):
    _image(tmp_path / "a.png")()
    (tmp_path / "b.png.part").write_bytes((tmp_path / "a.png").read_bytes())
    found = _watched(tmp_path, World((6.0, _image(tmp_path / "c.png"))))
    assert [names for _, names, _ in found if names] == [["a.png"], ["c.png"]]
    assert sum(len(bad) for *_, bad in found) == 1


def test_a_file_or_nothing_is_no_folder(tmp_path):
    with pytest.raises(UserError, match=r"--watch: .*nowhere is no folder"):
        next(arrivals(tmp_path / "nowhere"))

"""The images of an inspection, wherever they come from: a delivery, a watched folder, a video, a camera."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxqc.data.problems import printable
from jaxqc.data.readers import Reader
from jaxqc.errors import UserError
from jaxqc.inspection import arriving, frames
from jaxqc.inspection.arriving import arrivals
from jaxqc.inspection.manifest import Delivery, read_manifest
from jaxqc.inspection.of_data_set import open_delivery


class Source(NamedTuple):
    """A source of deliveries. parts: (asked to stop) → the deliveries, one after another."""

    manifest: Delivery
    """The images that are known before the first of them."""
    where: str
    """Name of the whole."""
    root: str
    """Folder that the images lie in."""
    grows: bool
    """True: nobody knows how many images will come."""
    parts: Callable[[Callable[[], bool]], Iterable[Delivery]]


def source_of(
    images: str | Path,
    out: Path,
    without: Sequence[Path],
    watch: float | None = None,
    every: int | None = None,
    layout: str | Reader = "",
) -> Source:
    """The source that is meant: an address or a file with a video's ending, a folder to be watched, a data set, or a
    delivery.

    Args:
      out, without: as of `frames.deliveries` and `read_manifest`. watch: as `quiet` of `arrivals`; None = all at once.
      every: of a video, each so many-th frame; None = all. layout: of a data set; "" = of none.

    Raises:
      UserError: an argument that is of another source, or as `read_manifest` and `open_delivery`.
    """
    if layout and (watch is not None or frames.is_video(images)):
        raise UserError(f"--layout {layout}: is of data sets, which neither grow nor are videos; leave it out")
    if frames.is_video(images):
        if watch is not None:
            raise UserError(f"--watch: is of folders; {frames.shown(images)} is a video, leave it out")
        root, where = os.path.abspath(out / frames.FOLDER), frames.shown(images)
        parts = lambda stop: frames.deliveries(images, out, every or 1, stop)
        return Source(Delivery(frames.name_of(images), ()), where, root, True, parts)
    if every is not None:
        raise UserError(f"--every: is of videos and cameras; {printable(images)} is neither, leave it out")
    path = Path(images)
    where, root = printable(os.path.abspath(path)), os.path.abspath(path if path.is_dir() else path.parent)
    if watch is not None:
        parts = lambda stop: arrivals(path, without, watch, stop, settled=arriving.SETTLED)
        return Source(Delivery(printable(path.resolve().name), ()), where, root, True, parts)
    manifest = open_delivery(path, layout) if layout else read_manifest(path, without)
    return Source(manifest, where, root, False, lambda stop: [manifest])

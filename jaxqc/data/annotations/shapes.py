"""Shapes of annotations, each of which draws itself as a mask; a drawing is all shapes of one image."""

import base64
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from jaxqc.data.annotations import brush, polygons, rle
from jaxqc.data.dataset import Sample
from jaxqc.data.decode import read_size
from jaxqc.data.problems import printable
from jaxqc.errors import UserError

Point = tuple[float, float]
Ring = tuple[Point, ...]


@runtime_checkable
class Shape(Protocol):
    """A region of one class. Raises ValueError where it cannot be drawn."""

    def draw(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """True inside."""
        ...


@dataclass(frozen=True)
class Polygon:
    """Rings by pixel centres and even-odd, in pixels, or in shares of the image where `shares`."""

    rings: tuple[Ring, ...]
    shares: bool = False

    def draw(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """True for pixels whose centre is inside."""
        x, y = (width, height) if self.shares else (1, 1)
        return polygons.even_odd([[(a * x, b * y) for a, b in ring] for ring in self.rings], height, width)


@dataclass(frozen=True)
class CocoPolygons:
    """The polygons of one object as pycocotools draws them."""

    rings: tuple[Ring, ...]

    def draw(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """Their union."""
        out = np.zeros((height, width), bool)
        for ring in self.rings:
            out |= polygons.coco(ring, height, width)
        return out


@dataclass(frozen=True)
class Ellipse:
    """Pixels whose centre lies in an ellipse, turned clockwise by `angle` degrees."""

    center: Point
    radii: Point
    angle: float = 0.0

    def draw(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """True inside."""
        y, x = np.mgrid[:height, :width] + 0.5
        x, y, turn = x - self.center[0], y - self.center[1], math.radians(self.angle)
        along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        if min(self.radii) <= 0:
            raise ValueError("an ellipse without area")
        return (along / self.radii[0]) ** 2 + (across / self.radii[1]) ** 2 <= 1


@dataclass(frozen=True)
class Drawn:
    """A shape as Pillow draws it, edges included: the rule of labelme and Supervisely. holes: rings to cut out."""

    kind: Literal["polygon", "rectangle", "ellipse", "line"]
    points: Ring
    width: int = 0
    holes: tuple[Ring, ...] = ()

    def draw(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """True on and inside its edges."""
        image = Image.new("L", (width, height))
        pen = ImageDraw.Draw(image)
        if self.kind == "polygon":
            pen.polygon([*self.points], fill=1, outline=1)
        elif self.kind == "rectangle":
            pen.rectangle([*self.points], fill=1, outline=1)
        elif self.kind == "ellipse":
            pen.ellipse([*self.points], fill=1, outline=1)
        else:
            pen.line([*self.points], fill=1, width=self.width)
        for hole in self.holes:
            pen.polygon([*hole], fill=0, outline=0)
        return np.array(image, dtype=bool)


@dataclass(frozen=True)
class Runs:
    """Run lengths: `coco` ones down the columns (numbers, or a text), `brush` ones of Label Studio (bytes)."""

    code: Literal["coco", "brush"]
    data: str | bytes | tuple[int, ...]
    size: tuple[int, int]
    """Height and width that they are of."""

    def draw(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """The mask. Raises ValueError where it is of another size than the image."""
        if self.size != (height, width):
            raise ValueError(f"is of {self.size[1]} x {self.size[0]} pixels, and the image has {width} x {height}")
        if self.code == "brush":
            return brush.decode([*self.data] if isinstance(self.data, tuple) else [], height, width)
        counts = self.data if isinstance(self.data, tuple) else rle.counts_of(self.data)
        return rle.decode(counts, height, width)


@dataclass(frozen=True)
class Bitmap:
    """A small picture as base64 text (`packed`: deflated before), with its place; what is not 0 is inside."""

    text: str
    left: int
    top: int
    packed: bool = False

    def draw(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """The picture's mask in its place. Raises ValueError for a text that is no picture."""
        try:
            data = base64.b64decode(self.text, validate=True)
            with Image.open(io.BytesIO(zlib.decompress(data) if self.packed else data)) as image:
                if image.width * image.height > height * width:
                    raise ValueError("a mask larger than the image")
                bands = image.convert("RGBA") if image.mode in ("RGBA", "LA", "PA") else image
                values = np.asarray(bands)
        except (OSError, zlib.error, SyntaxError) as e:
            raise ValueError(f"a mask that is no picture ({e})") from e
        inside = (values[..., -1] if values.ndim == 3 and values.shape[2] == 4 else values) > 0
        inside = inside.any(2) if inside.ndim == 3 else inside
        out = np.zeros((height, width), bool)
        if inside.ndim != 2:
            raise ValueError("a mask that is no picture")
        rows, columns = inside.shape[0], inside.shape[1]
        if self.top < 0 or self.left < 0 or self.top + rows > height or self.left + columns > width:
            raise ValueError("a mask that reaches beyond the image")
        out[self.top : self.top + rows, self.left : self.left + columns] = inside
        return out


@dataclass(frozen=True)
class Region:
    """A shape, the number of its class, and its place in the file, for messages."""

    shape: Shape
    kind: int
    where: str


@dataclass(frozen=True)
class Drawing:
    """The mask of an image by its annotations (a `jaxqc.data.truth.Truth`)."""

    file: Path
    regions: tuple[Region, ...]
    kinds: tuple[str, ...]
    """Names of all classes of the data set."""
    size: tuple[int, int] | None = None
    """Height and width by the annotations; None = the image's."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Pictures that regions are read from."""
        named = (getattr(region.shape, "file", None) for region in self.regions)
        return tuple(file for file in named if file is not None)

    def read(self, sample: Sample, max_pixels: int) -> UInt8[np.ndarray, "h w"]:
        """The union of its regions."""
        return (self.labels(sample, max_pixels) > 0).astype(np.uint8)

    def labels(self, sample: Sample, max_pixels: int) -> UInt8[np.ndarray, "h w"]:
        """1 + the class of each pixel, 0 = none; later regions lie above earlier ones."""
        height, width = self.size or read_size(sample.image, max_pixels)
        if height * width > max_pixels:
            raise UserError(f"{printable(self.file)}: an image of {width} x {height} pixels is above the limit")
        out = np.zeros((height, width), np.uint8)
        for region in self.regions:
            try:
                out[region.shape.draw(height, width)] = 1 + region.kind
            except (ValueError, OverflowError, IndexError) as e:
                raise UserError(f"{printable(self.file)}: {region.where}: {printable(e)}") from e
        return out

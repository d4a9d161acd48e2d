"""Label maps: mask files read by their manifest, and the refusal of values that can be read in two ways."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.decode import MAX_PIXELS
from jaxqc.data.decode_masks import read_mask, read_values
from jaxqc.data.mask_files import lossy
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.semi.manifest import IGNORE, Manifest, is_void, palette


def read_labels(
    root: str | Path, mask: str, manifest: Manifest, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "h w"]:
    """The label map of a mask file, `mask` relative to `root`: classes, and 255 where nothing is said.

    A grey or palette mask holds the labels, one in colour the manifest's colours, and one that a pattern of `binary`
    matches the pixels of that class.

    Raises:
      UserError: as `jaxqc.data.decode.read_mask`; also a value or colour that the manifest does not have, a file whose
        compression changes values, and a palette that contradicts the manifest's colours.

    Examples:
      >>> from PIL import Image
      >>> Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save("labels.png")
      >>> read_labels(".", "labels.png", Manifest(("sound", "crack")).check("a manifest")).tolist()
      [[0, 1, 255]]
    """
    path, name, n = Path(root, mask), printable(Path(root, mask)), len(manifest.classes)
    for pattern, of in manifest.binary.items():
        if fnmatchcase(mask, pattern):
            return read_mask(path, max_pixels) * np.uint8(manifest.classes.index(of))
    values, shown = read_values(path, max_pixels)
    if kind := lossy(path):
        raise UserError(
            f"{name}: {kind} changes the values of a label map; save it as PNG, or, where it shows one class alone,"
            ' name that in "binary" of manifest.json'
        )
    if values.ndim == 3:
        return _by_color(values, manifest, name)
    if shown is not None:
        _agree(shown, values, manifest, name)
    table = np.full(65536, n, np.uint16)
    table[IGNORE] = IGNORE
    table[list(manifest.values)] = np.arange(n)
    if manifest.ignore is not None:
        table[manifest.ignore] = IGNORE
    labels = table[values]
    if (labels == n).any():
        unknown = [int(v) for v in np.unique(values[labels == n])]
        some = ", ".join(map(str, unknown[:6])) + ", ..." * (len(unknown) > 6)
        known = manifest.values
        raise UserError(
            f"{name}: class {some} is not in the manifest, which has {known[0]} to {known[-1]} and ignores"
            f" {IGNORE if manifest.ignore is None else manifest.ignore}; add its name there or mend the mask"
        )
    return labels.astype(np.uint8)


def _agree(shown: np.ndarray, values: np.ndarray, manifest: Manifest, name: str) -> None:
    """Raises UserError where a palette gives a class's value the colour of another class.

    Of a manifest that states no colours only the background's counts: people draw palettes in any others.
    """
    colors = dict(zip(manifest.values, manifest.colors, strict=True))
    stated = manifest.colors != palette(len(colors))
    kept = tuple(shown[: manifest.values[0] + 1][-1]) == manifest.colors[0]
    for value in (int(v) for v in np.unique(values) if v in colors and v < len(shown)):
        color = tuple(int(c) for c in shown[value])
        turned = color != colors[value] and color in manifest.colors
        if turned and (stated or (color == manifest.colors[0] and not kept)):
            own, other = (manifest.classes[manifest.colors.index(c)] for c in (colors[value], color))
            raise UserError(
                f"{name}: value {value} is {own!r}, but its palette shows it in the colour of {other!r}; save the mask"
                " as class numbers without a palette, or state the palette's colors in manifest.json"
            )


def refuse_unclear(manifest: Manifest, counts: Sequence[tuple[int, int, int]], where: str) -> None:
    """Refuses masks in which 255 may be a class as well as pixels without a label.

    It is clear where `ignore` is stated, or where a mask has 255 beside another class than the first one. A mask of 255
    alone says nothing, unless no mask of all shows another class.

    Args:
      counts: pixels of each mask without a label, of the first class, and of all others. where: names the masks.

    Raises:
      UserError: naming both readings and how to state each.

    Examples:
      >>> refuse_unclear(Manifest(("sound", "crack")), [(4, 10, 2)], "masks")
    """
    shown = any(others for _, _, others in counts)
    found = [row for row in counts if row[0] and (any(row[1:]) or not shown)]
    if manifest.ignore is not None or not found or any(others for _, _, others in found):
        return
    first, last = manifest.classes[0], manifest.classes[-1]
    share = sum(row[0] for row in found) / sum(map(sum, counts))
    raise UserError(
        f"{where}: {share:.2%} of the pixels, in {len(found)} masks, are {IGNORE}, beside {first!r} alone: are they"
        f' {last!r}? then add "binary": {{"*": "{last}"}} to manifest.json; or without a label? then add'
        f' "ignore": {IGNORE}'
    )


def trained_voids(manifest: Manifest) -> list[str]:
    """A warning for each class whose name says that it is none.

    Examples:
      >>> trained_voids(Manifest(("void", "sky"), ignore=255))[0].split(";")[0]
      "class 'void' (value 0) counts as any other"
    """
    return [
        f'class {name!r} (value {value}) counts as any other; to ignore it, add "ignore": {value} to manifest.json'
        for name, value in zip(manifest.classes, manifest.values, strict=True)
        if is_void(name)
    ]


def _by_color(values: np.ndarray, manifest: Manifest, name: str) -> np.ndarray:
    code = lambda rgb: (rgb[..., 0].astype(np.int32) << 16) | (rgb[..., 1].astype(np.int32) << 8) | rgb[..., 2]
    colors = [*manifest.colors, *([manifest.ignore_color] if manifest.ignore_color else [])]
    labels = np.array([*range(len(manifest.colors)), IGNORE], np.uint8)
    known, found = code(np.array(colors)), code(values)
    order = np.argsort(known)
    at = order[np.minimum(np.searchsorted(known[order], found), len(known) - 1)]
    wrong = known[at] != found
    if wrong.any():
        color = tuple(int(c) for c in values[wrong][0])
        raise UserError(
            f"{name}: colour {color} is not in the manifest; add it there or save the mask as class numbers"
        )
    return labels[at]

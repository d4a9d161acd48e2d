"""A run's network measured on a part of a data set, at one or several sizes of its input, and what is written of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from jaxqc.data.depth import dark_values
from jaxqc.data.problems import printable
from jaxqc.data.rendering import rendering_of
from jaxqc.errors import UserError
from jaxqc.semi.compare import checked_sizes, compare_sizes
from jaxqc.semi.evaluate import SegmentationEvaluation, evaluate_part
from jaxqc.semi.evaluation_set import Part, own_lists, part_of
from jaxqc.semi.model import Segmentation
from jaxqc.training.counting import Count, count_misses, kept_in
from jaxqc.training.record import evaluation_place, write_measures


def evaluate(
    model: Segmentation,
    data: str | Path,
    out: str | Path | None = None,
    *,
    run: str | Path | None = None,
    split: str = "val",
    size: int | None = None,
    worst: int = 10,
    progress: bool = True,
    splits: str | Path = "",
    window: bool | None = None,
    sizes: tuple[int, ...] = (),
    count: Count | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> SegmentationEvaluation:
    """Measures a network on images with label maps, and writes the result below `out` where it is given.

    Args:
      data: the folder in which the split lists' paths begin.
      out: a folder; "" = `evaluation-SPLIT` in `run`, the run's folder.
      split: `val` or `test` (the test images), `select`, `labeled`, `unlabeled`, or `all`. splits: a folder of lists;
        "" = the run's own or the data's (`jaxqc.semi.evaluation_set.part_of`).
      size, window: how images are taken (`Segmentation.predict`); None as the run has it.
      sizes: long sides in pixels to be compared in mean IoU and speed; the result is of the first.
      worst: number of worst cases to draw.
      count: counts misses and false alarms of a network with a background class, which are kept in `run`. An image is
        defective where its mask has a pixel of another class.
      note: takes lines on the data worth showing.

    Raises:
      UserError: no such data, an unknown split or class, `sizes` beside `size` or `window`, or not one image that can
        be measured.
    """
    if not isinstance(data, str | Path):
        raise UserError("data: a segmentation network is measured on a folder; give its path")
    split = "val" if split == "test" else split
    part = part_of(data, split, model.classes, run, splits)
    part = replace(part, rendering=rendering_of(model.config.data))
    for line in (*part.notes, *dark_values([part.root / pair.image for pair in part.pairs], part.rendering)):
        note(line)
    if sizes:
        checked_sizes(sizes)
        if size is not None or window is not None:
            raise UserError("--sizes: takes the place of --size and --window; give one of them")
        size = sizes[0]
    place = evaluation_place(out, run, split, data=str(data))
    result = evaluate_part(model, part, size, window, progress)
    if sizes:
        others = [evaluate_part(model, part, other, None, progress) for other in sizes[1:]]
        mious = [other.metrics["miou"] for other in (result, *others)]
        usable = {row["id"] for row in result.per_image[: 4 * model.batch]}
        images = [part.read(pair)[0] for pair in part.pairs if pair.image in usable]
        result = replace(result, sizes=compare_sizes(model, images, sizes, mious))
    trained, tuned = _used(run, part.root)
    name = f"{part.name}, split {split}"
    misses = count_misses(count if model.background else None, result.images, name, trained=trained, tuned=tuned,
                          on="checkpoint")  # fmt: skip
    misses = kept_in(run, misses, part.name, split, len(result.per_image), result.metrics)
    result = replace(result, misses=misses)
    with place() as folder:
        result = replace(result, about={"data": printable(data), **result.about}, folder=folder)
        if folder is not None:
            write_evaluation(result, model, part, folder, worst)
    return result


def _used(run: str | Path | None, root: Path) -> tuple[frozenset[Path], frozenset[Path]]:
    """The images that the run was trained on, and those that chose its checkpoint; none of other data."""
    lists = None if run is None else own_lists(run, root)
    if lists is None:
        return frozenset(), frozenset()
    paths = {name: frozenset(root / pair.image for pair in pairs) for name, pairs in lists.items()}
    return paths["labeled"] | paths["unlabeled"], paths["select"]


def write_evaluation(
    result: SegmentationEvaluation, model: Segmentation, part: Part, out: str | Path, worst: int = 10
) -> Path:
    """Writes `evaluation.json`, `per_image.csv`, `confusion.png` and, of the `worst` images of lowest mean IoU,
    `worst.png`; returns `out`.

    Raises:
      UserError: the folder cannot be written.
    """
    from jaxqc.pictures.confusion import confusion_figure

    out = Path(out)
    try:
        write_measures(out, result.to_json(), result.per_image)
        confusion_figure(result.matrix, result.classes, out / "confusion.png")
        (out / "worst.png").unlink(missing_ok=True)  # an earlier evaluation's
        if worst > 0:
            _draw_worst(result, model, part, out / "worst.png", worst)
    except OSError as e:
        raise UserError(f"{e.filename or out}: cannot be written ({e.strerror or e}); choose another --out") from e
    return out


def _draw_worst(result: SegmentationEvaluation, model: Segmentation, part: Part, path: Path, worst: int) -> None:
    """Predicts the worst again rather than keep every label map until it is known which they are."""
    from jaxqc.pictures.overlays import LabelRow, label_sheet

    measured = (row for row in result.per_image if row["miou"] is not None)
    chosen = sorted(measured, key=lambda row: row["miou"])[:worst]
    pairs = {pair.image: pair for pair in part.pairs}
    read = [part.read(pairs[row["id"]]) for row in chosen]
    size, window = result.asked
    maps = model.predict([image for image, _ in read], size=size, window=window)
    rows = []
    for row, (image, truth), labels in zip(chosen, read, maps, strict=True):
        lines = f"mean IoU {row['miou']:.3f}", f"pixels {row['pixel_accuracy']:.3f}"
        rows.append(LabelRow(Path(row["id"]).stem, image, labels, truth, lines))
    label_sheet(rows, model.classes, model.colors, path, clear=(0,) if model.background else ())

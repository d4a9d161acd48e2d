"""The parts of a data set that a fit takes: fitted, held out, tested; and lines on what is in them and what lacks."""

from dataclasses import replace
from typing import Any

from jaxqc.anomaly.recipe import FitDataConfig
from jaxqc.anomaly.training import with_masks
from jaxqc.data.crops import crops
from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import Parts, choose, good_alone, one_class, with_products
from jaxqc.data.load import has_mask
from jaxqc.data.normals import is_defective


def divide(dataset: Dataset, config: FitDataConfig, seed: int, folds: int = 1) -> tuple[Parts, Dataset | None]:
    """The images to fit, to calibrate on and to test, cut into crops where the recipe says so; and beside them the
    labelled validation images, where the data bring them apart from a test split.

    folds: of `FitConfig.folds`; with more than 1 none but published validation images are kept from the fit.

    Raises:
      UserError: no normal training images, too few groups, or fewer than `samples`.
    """
    dataset = cut(good_alone(with_products(dataset, config.products)), config.crop)
    parts = one_class(dataset, config.held_out if folds == 1 else 0, seed)
    if config.samples:
        parts = replace(parts, fit=choose(parts.fit, config.samples, seed))
    val = dataset.split("val")
    labelled = len(dataset.split("test")) and any(is_defective(s, val) for s in val.samples)
    return parts, val if labelled else None


def cut(dataset: Dataset, side: int) -> Dataset:
    """The data as the recipe takes them: in crops, where `side` is not 0, of the images that have a mask or are normal.

    A defective image without a mask cannot be cut: its defect may lie in any of the crops.
    """
    if not side:
        return dataset
    return crops(replace(dataset, samples=tuple(s for s in dataset.samples if has_mask(s, dataset))), side)


def without_defects(parts: Parts) -> tuple[str, ...]:
    """Lines on the threshold and on what stays unmeasured, where there are no defective images to test on."""
    defective = sum(is_defective(s, parts.test) for s in parts.test.samples)
    if defective:
        return ()
    return (
        f"{parts.fit.name}: no defective images to test on; the threshold rests on good images alone:"
        + (
            f" {len(parts.calibrate)} held out, {len(parts.fit)} fitted, no group in both"
            if len(parts.calibrate)
            else f" {len(parts.fit)} fitted, each measured by a fit without its group"
        ),
        "not measured: the share of real defects that is found, and where; jaxqc evaluate --data measures both on"
        " defective images in test/KIND, of this set or another",
    )


def beside_normals(detector: Any, parts: Parts) -> tuple[str, ...]:
    """A line on defective training images, where there are such: how many are learned from, and how many are not.

    Examples:
      >>> from pathlib import Path
      >>> from jaxqc.data.dataset import Sample
      >>> none, hole = (Dataset("tiny", ("hole",), samples) for samples in ((), (Sample("a", Path("a.png"), label=0),)))
      >>> beside_normals(None, Parts(none, none, none, hole))
      ("1 defective images of split 'train' are not used: a fit is to good ones",)
    """
    if parts.defects is None:
        return ()
    whole, taken = len(parts.defects), len(with_masks(parts.defects)) if getattr(detector, "labelled", False) else 0
    left = f"; {whole - taken} without a mask are not used" if taken < whole else ""
    if taken:
        return (f"{taken} defective images of split 'train' are learned from by their masks{left}",)
    return (f"{whole} defective images of split 'train' are not used: a fit is to good ones",)

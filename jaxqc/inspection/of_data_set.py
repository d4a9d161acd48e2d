"""A data set to inspect: its images alone, without masks and annotations beside them."""

from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.open import open_data
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers import Reader
from jaxqc.data.store import StoredSample
from jaxqc.errors import UserError
from jaxqc.inspection.manifest import Delivery, Item


def open_delivery(path: Path, layout: str | Reader) -> Delivery:
    """The images of a data set of this layout (`auto` finds it), with its warnings among the problems.

    Raises:
      UserError: no such data set, or as `delivery_of`.
    """
    dataset = open_data(path, layout, skip_bad=True, masks=False)
    notes = (Problem(printable(path), "data-set", line, "warning") for line in dataset.warnings)
    return delivery_of(dataset, tuple(notes))


def delivery_of(dataset: Dataset, problems: tuple[Problem, ...] = ()) -> Delivery:
    """The images of a data set as a delivery: its splits are the lots, and each image's class is kept as `class`.

    Raises:
      UserError: images that are parts of larger files or of larger images.

    Examples:
      >>> from jaxqc.data.dataset import Sample
      >>> found = delivery_of(Dataset("set", ("pit",), (Sample("a", Path("a.png"), label=0, split="test"),)))
      >>> found.items[0].lot, dict(found.items[0].more)
      ('test', {'class': 'pit'})
    """
    packed = next((s for s in dataset.samples if isinstance(s, StoredSample) or s.crop is not None), None)
    if packed is not None:
        raise UserError(f"{printable(packed.image)}: no image file of its own; bring the set into files by"
                        " jaxqc data import, and inspect these")  # fmt: skip
    kind = lambda s: dataset.classes[s.label] if s.label >= 0 else ""
    items = (
        Item(s.image, s.id, s.split or dataset.name, product=s.product, more={"class": kind(s)}, piece=s.group)
        for s in dataset.samples
    )
    return Delivery(dataset.name, tuple(items), problems, ("class",))

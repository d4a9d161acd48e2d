"""A detector of several products, measured on each by that product's own thresholds."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.anomaly.evaluate import COLUMNS, AnomalyEvaluation, write_evaluation
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.data.coverage import Coverage
from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import by_product, named
from jaxqc.errors import UserError
from jaxqc.training.counting import Count
from jaxqc.training.record import write_measures
from jaxqc.types import Metrics


@dataclass(frozen=True)
class ProductsEvaluation:
    """The products' evaluations by name, whose plain mean is theirs together."""

    dataset: str
    split: str
    products: dict[str, AnomalyEvaluation]
    coverage: Coverage
    about: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def metrics(self) -> Metrics:
        """The mean of each measure over the products that have it, and each one's as `PRODUCT/key`."""
        each = {
            f"{name}/{key}": one.metrics.get(key, math.nan) for name, one in self.products.items() for key in COLUMNS
        }
        return {key: _mean([each[f"{name}/{key}"] for name in self.products]) for key in COLUMNS} | each

    @property
    def unreadable(self) -> tuple[str, ...]:
        """A line for each file that could not be read."""
        return tuple(line for one in self.products.values() for line in one.unreadable)

    @property
    def measured(self) -> int:
        """Images that were measured."""
        return sum(one.measured for one in self.products.values())

    def print(self) -> None:
        """A table on stdout: a row for each product, one for their mean."""
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(title=f"{self.dataset}, split {self.split}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for head in ("product", "images", *COLUMNS.values()):
            table.add_column(head, no_wrap=True, justify="left" if head == "product" else "right")
        cell = lambda value: f"{value:.4f}" if math.isfinite(value) else "-"
        found = self.metrics
        for name, one in self.products.items():
            table.add_row(name, str(one.measured), *(cell(found[f"{name}/{key}"]) for key in COLUMNS))
        table.add_row("mean of products", "", *(cell(found[key]) for key in COLUMNS))
        console = Console()
        width = console.measure(table, options=console.options.update(max_width=1000)).maximum
        Console(width=max(console.width, width)).print(table)

    def closing(self) -> str:
        """The lines below the table: what was measured, misses of each product, and where the results are."""
        lines = [self.coverage.plus("that cannot be read", len(self.unreadable)).line(self.measured)]
        lines += [f"{name}: {line}" for name, one in self.products.items() for line in one.misses.lines]
        return "\n".join([*lines, f"by each product's own thresholds; written to {self.folder}"])

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes null."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "images": {name: one.counts for name, one in self.products.items()},
            **self.coverage.to_json(),
            "unreadable": list(self.unreadable),
            "metrics": {k: round(v, 6) if math.isfinite(v) else None for k, v in self.metrics.items()},
            **self.about,
        }


def _mean(values: list[float]) -> float:
    """The mean of those that are known."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def evaluate_products(
    model: AnomalyModel,
    data: Dataset,
    account: Coverage,
    split: str,
    measure: Callable[[AnomalyModel, Dataset], AnomalyEvaluation],
    note: Callable[[str], None],
) -> ProductsEvaluation:
    """Measures each product of a data set by its own thresholds; one that was not fitted by those of all together.

    measure: of a model and the product's samples. account: what of the data is measured. note: takes a line on a
    product that was not fitted.
    """
    found: dict[str, AnomalyEvaluation] = {}
    for product, own in by_product(data).items():
        if product not in model.products:
            note(f"{named(data, product)}: not among the products that were fitted; measured by the thresholds of all")
        one = model.of(product) if product in model.products else model
        found[product] = measure(one, replace(own, name=named(data, product)))
    left_out = dict(account.left_out)
    for one in found.values():
        for why, count in one.coverage.left_out.items():
            left_out[why] = left_out.get(why, 0) + count
    return ProductsEvaluation(data.name, split, found, replace(account, left_out=left_out))


def folder_names(products: Iterable[str]) -> dict[str, str]:
    """A folder's name for each product: its own, but for characters that none may have; equal ones get a number.

    Examples:
      >>> folder_names(["bolt", "M8/zinc", "M8_zinc", "..", ""])
      {'bolt': 'bolt', 'M8/zinc': 'M8_zinc', 'M8_zinc': 'M8_zinc_2', '..': '_', '': 'other'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for product in products:
        plain = re.sub(r'[\x00-\x1f<>:"/\\|?*]|^\.+|[. ]+$', "_", product) if product else "other"
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.casefold())
        found[product] = name
    return found


def write_products(result: ProductsEvaluation, model: AnomalyModel, data: Dataset, out: Path, worst: int) -> None:
    """Writes each product's evaluation to a folder of its own below `out`, and there one of them all.

    Raises:
      UserError: a folder cannot be written.
    """
    parts, folders = by_product(data), folder_names(result.products)
    for name, one in result.products.items():
        own = model.of(name) if name in model.products else model
        write_evaluation(one, own, parts[name], out / folders[name], worst)
    rows = [{"product": name, **row} for name, one in result.products.items() for row in one.per_image]
    try:
        write_measures(out, result.to_json(), rows)
    except OSError as e:
        raise UserError(f"{e.filename or out}: cannot be written ({e.strerror or e}); choose another --out") from e


def counting(count: Count | None, model: AnomalyModel) -> Count | None:
    """The same way of counting, of another model: `count` is a function of a model in which that one is filled in."""
    if not isinstance(count, partial):
        return count
    return partial(count.func, model, *count.args[1:], **count.keywords)

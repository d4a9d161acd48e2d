"""A fit once more: the same recipe on its own good images and on those that people judged since, and what it brings."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from jaxqc.anomaly.fit import Fitted, fit
from jaxqc.anomaly.recipe import FitConfig, load_recipe
from jaxqc.atomic import write_text
from jaxqc.data.dataset import Dataset, Sample, with_rendering
from jaxqc.data.depth import remarks
from jaxqc.data.grouped import good_alone, group_of, with_products
from jaxqc.data.joined import content_keys, join
from jaxqc.data.labelled import Labelled
from jaxqc.data.normals import is_defective, is_normal
from jaxqc.data.open import keys_of, open_data
from jaxqc.data.problems import printable
from jaxqc.data.rendering import rendering_of
from jaxqc.data.tables.read import read_table
from jaxqc.errors import UserError
from jaxqc.inspection.reviewing.compare import Comparison, compare
from jaxqc.inspection.reviewing.exported import LEFT_OUT
from jaxqc.kinds import load

COMPARED = "comparison.json"
"""In the new fit's folder."""


@dataclass(frozen=True)
class Refitted:
    """A finished refit. comparison: None where no held-out review could be compared, and in all processes but one."""

    fitted: Fitted
    comparison: Comparison | None


@dataclass(frozen=True)
class Plan:
    """The data of a refit, and the held-out reviews that both models are measured on."""

    dataset: Dataset
    held_out: tuple[Labelled, ...]
    sources: tuple[str, ...]
    notes: tuple[str, ...]
    """Lines for people: what is taken from where, and what is left out."""


def refit(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    old_data: str | Path = "",
    change: Callable[[FitConfig], FitConfig] = lambda config: config,
    progress: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> Refitted:
    """Fits the recipe of a fit to its own data and new ones, and compares the two models on the new held-out pictures.

    The new folder gets `comparison.json`. The old one stays as it is.

    Args:
      run: the fit's folder. data: the new data set, as of `jaxqc ledger export --dataset`.
      old_data: where the fit's data lie now; "" = where the fit found them.
      change: of the recipe. note: takes lines worth showing: what is taken from where.

    Raises:
      UserError: no fit, its data are not known or gone, nothing new to fit; and as of a fit.
    """
    run, config, old_sources = _read(Path(run), str(old_data))
    if Path(out).resolve() == run.resolve():
        raise UserError(f"--out: {printable(out)} is the fit to compare with; give a new folder")
    plan = plan_of(config, old_sources, str(data))
    for line in plan.notes:
        note(line)
    about: dict[str, Any] = {"sources": list(plan.sources), "refit_of": printable(run)}
    old = load(run)
    for line in remarks(plan.dataset):
        note(line)
    fitted = fit(change(config), plan.dataset, out, progress, note=note, about=about)
    if not plan.held_out or jax.process_index():
        return Refitted(fitted, None)
    both = compare(old, fitted.model, plan.held_out, progress=progress)
    values = {"old": printable(run), "new": printable(out), "data": printable(data), **both.to_json()}
    write_text(Path(out) / COMPARED, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    return Refitted(fitted, both)


def plan_of(config: FitConfig, old_sources: Sequence[str], data: str) -> Plan:
    """The data that a refit is fitted to and measured on; reads no pixels.

    Of the old data everything is taken that the fit took, but for pictures on which the new data say something: they
    count as the new data have them, and not at all where people took their verdict back. Held-out pictures that the
    old fit has seen, or of whose lot it has seen others, are not compared.

    Raises:
      UserError: a data set that cannot be opened, or one without a new good picture to fit.
    """
    old_sets = [_fitted_as(_open(path, config, first=not i)) for i, path in enumerate(old_sources)]
    new = _open(data, config, first=False)
    if not any(s.split == "train" and is_normal(s, new) for s in new.samples):
        raise UserError(f"--data: {printable(data)}: no good picture in split 'train', so a fit to it would be the old"
                        " one; jaxqc ledger export --dataset writes those that people passed")  # fmt: skip
    sets, notes = [*old_sets, new], list[str]()
    sets = _one_kind_of_product(sets, config, notes)
    key = content_keys(sets)
    withdrawn = _withdrawn(Path(data))
    for i, own in enumerate(sets[:-1]):
        left = tuple(s for s in own.samples if s.id not in withdrawn)
        if len(left) < len(own):
            notes.append(f"{printable(old_sources[i])}: {len(own) - len(left)} pictures are left out: people took their"
                         " verdict back since")  # fmt: skip
        sets[i] = replace(own, samples=left)
    joined = join(sets, key)
    for path, own, again in zip(old_sources, sets, joined.again, strict=False):
        good = sum(s.split == "train" and is_normal(s, own) for s in own.samples)
        notes.append(f"from {printable(path)} (the old fit's): {good} good images of split train"
                     + (f"; {again} of its images count as the new data have them" if again else ""))  # fmt: skip
    notes.append(f"from {printable(data)} (new): {_counts(sets[-1], 'train')} of split train")
    names = lambda s: {key(s)} | ({group_of(s)} if s.group else set())
    seen = {name for own in old_sets for s in own.samples if s.split == "train" for name in names(s)}
    test = [s for s in sets[-1].samples if s.split == "test" and (is_normal(s, new) or is_defective(s, new))]
    held = tuple(Labelled(s, is_defective(s, new)) for s in test if not names(s) & seen)
    bad = sum(one.defective for one in held)
    notes.append(f"held out to compare: {len(held) - bad} good and {bad} defective images of split test of"
                 f" {printable(data)}")  # fmt: skip
    if len(held) < len(test):
        notes.append(f"{len(test) - len(held)} more of split test are not compared: the old fit has seen them, or"
                     " others of their lot")  # fmt: skip
    sources = tuple(str(Path(path).resolve()) for path in (*old_sources, data))
    return Plan(joined.dataset, held, sources, tuple(notes))


def _read(run: Path, old_data: str) -> tuple[Path, FitConfig, list[str]]:
    """A fit's folder, its recipe, and where its data lie."""
    name = printable(run)
    try:
        meta = json.loads((run / "meta.json").read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"--from: {name}: no folder of a fit ({e}); give the --out folder of jaxqc fit") from e
    if meta.get("kind") != "detector":
        raise UserError(f"--from: {name}: not a finished fit of a detector; a network is trained anew by jaxqc train")
    sources = [str(path) for path in meta.get("sources") or []]
    if old_data:
        sources = [old_data, *sources[1:]]
    if not sources:
        raise UserError(f"--from: {name}: the fit does not say where its data lie (an older jaxqc made it, or it was"
                        " given no path); name them by --old-data")  # fmt: skip
    for path in sources:
        if not Path(path).exists():
            raise UserError(f"--from: {name}: its data {printable(path)} are gone; name them by --old-data")
    return run, load_recipe(run / "config.json"), sources


def _open(path: str, config: FitConfig, first: bool) -> Dataset:
    """A data set: the recipe's own as a fit opens it, any other by its files."""
    options = config.data
    layout, keys = (options.layout, keys_of(options)) if first else ("auto", None)
    dataset = open_data(path, layout, options.skip_bad, keys, masks=False)
    return with_rendering(dataset, rendering_of(options))


def _fitted_as(dataset: Dataset) -> Dataset:
    """The old data with the sides that their own fit gave them: split `val` tests where there is no `test`."""
    dataset = good_alone(dataset)
    if any(s.split == "test" for s in dataset.samples):
        return dataset
    as_test = lambda s: replace(s, split="test") if s.split == "val" else s
    return replace(dataset, samples=tuple(map(as_test, dataset.samples)))


def _one_kind_of_product(sets: Sequence[Dataset], config: FitConfig, notes: list[str]) -> list[Dataset]:
    """The sets with products that the old fit has thresholds for; a line on what is left out."""
    known = {s.product for own in sets[:-1] for s in with_products(own, config.data.products).samples}
    if config.data.products == "group":
        raise UserError("--from: data.products group: a lot is a group of reviewed pictures, and no product; fit anew")
    new = sets[-1]
    if known <= {""}:
        return [*sets[:-1], replace(new, samples=tuple(replace(s, product="") for s in new.samples))]
    left = tuple(s for s in new.samples if s.product in known)
    if len(left) < len(new):
        others = ", ".join(sorted({printable(s.product or "(none)") for s in new.samples} - known))
        notes.append(f"{len(new) - len(left)} new images are left out: the old fit has no product {others}")
    return [*sets[:-1], replace(new, samples=left)]


def _withdrawn(data: Path) -> set[str]:
    """Pictures of an exported set whose verdict people took back: their ids in earlier exports."""
    file = data / LEFT_OUT
    if not file.is_file():
        return set()
    rows = (cells for _, cells in read_table(file, ("sha256", "reason")).records())
    return {row["sha256"] for row in rows if row["reason"] == "withdrawn"}


def _counts(dataset: Dataset, split: str) -> str:
    own: list[Sample] = [s for s in dataset.samples if s.split == split]
    good = sum(is_normal(s, dataset) for s in own)
    return f"{good} good and {sum(is_defective(s, dataset) for s in own)} defective images"

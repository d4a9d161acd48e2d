"""The files that an inspection leaves in its folder, beside the ledger.

| file              | holds                                                                                         |
|-------------------|-----------------------------------------------------------------------------------------------|
| `inspection.json` | which model, settings and ledger: the same folder goes on with these and no others            |
| `findings.jsonl`  | a line an image, when it is inspected: its finding, and as `manifest` its row there and then   |
| `problems.csv`    | of the last call: what could not be inspected, and why; which lots were corrected              |
| `lots.csv`        | at the end, a line a lot: figures, grade and risk                                              |
| `suppliers.csv`   | at the end, a line a supplier, the best first                                                  |
| `report.html`     | at the end, the page for people; `gallery` has its pictures                                    |
| `summary.json`    | at the end, all of it: the model, the rules, the counts, lots and suppliers                    |

Every line, and the summary, has `schema` and `version` (`jaxqc.inspection.stamps`); in tables they stand last.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxqc.atomic import write_text
from jaxqc.data.problems import Problem, printable
from jaxqc.data.tables.write import TableFile, write_table
from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.suppliers import Supplier
from jaxqc.inspection.findings import Finding, LotFinding
from jaxqc.inspection.ledger.queries import Lot
from jaxqc.inspection.ledger.store import CHUNK, Ledger, ModelInfo
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.stamps import STAMP, stamped
from jaxqc.training.record import environment

LEDGER, GALLERY, REPORT = "ledger.sqlite", "gallery", "report.html"
SHOWN = 20
"""Problems that are printed in full; the file has all."""


@dataclass(frozen=True)
class Inspection:
    """The outcome of an inspection.

    new: images that this call brought into the ledger; known: those that were there (or were copies of others); bad:
    those that could not be inspected, each with its reason in `out / "problems.csv"`, the first few in `reasons`.
    lots: those of the manifest, by name; suppliers: all of the ledger's, best first. corrected: images that lay in
    another lot before, or of which something else was said; empty: lots of the manifest without an inspected image;
    incomplete: a line for each other lot of which not all that was listed is inspected.
    """

    out: Path
    ledger: str
    model: ModelInfo
    new: int
    known: int
    bad: int
    reasons: tuple[str, ...]
    lots: tuple[tuple[Lot, LotFinding], ...]
    suppliers: tuple[Supplier, ...]
    images_per_second: float
    warnings: tuple[str, ...] = ()
    """A line for each kind of warning: how often, and the first one's words; `problems.csv` has all."""
    corrected: int = 0
    empty: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.out / REPORT


def claim_of(ledger: str, model: ModelInfo) -> dict[str, Any]:
    """The mark of a folder as one inspection's. ledger: its name, without a password."""
    weights, settings = model.details["weights_sha256"], model.details["settings"]
    return {"jaxqc": 1, "ledger": ledger, "model": model.digest, "weights": weights, "settings": settings}


def check_claim(out: Path, mine: Mapping[str, Any]) -> None:
    """Changes nothing.

    Raises:
      UserError: the folder holds an inspection by another model, with other settings or into another ledger.
    """
    file = out / "inspection.json"
    try:
        there = json.loads(file.read_text("utf-8")) if file.is_file() else mine
    except (OSError, ValueError) as e:
        raise UserError(f"{printable(file)}: cannot be read ({printable(e)}); give another --out") from e
    if there != mine:
        old, new = _flat(there), _flat(mine)
        name = next((k for k in new | old if k != "model" and old.get(k) != new.get(k)), "model")
        told = f"{name} was {printable(old.get(name))}, is {printable(new.get(name))}"
        raise UserError(f"{printable(out)}: holds another inspection ({told}); give another --out")


def claim(out: Path, mine: Mapping[str, Any]) -> None:
    """Marks the folder, which is made where it is absent.

    Raises:
      UserError: it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / "inspection.json").is_file():
            write_text(out / "inspection.json", json.dumps(mine, indent=2) + "\n")
    except OSError as e:
        raise UserError(f"{printable(out)}: cannot write there ({e.strerror or e}); give another --out") from e


def _flat(values: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {at: values}
    return {k: v for name, value in values.items() for k, v in _flat(value, f"{at}.{name}".lstrip(".")).items()}


class Findings:
    """`findings.jsonl`; a context manager.

    Lines are written before the ledger keeps their batch; where a crash came between the two, the next call takes the
    lines away that the ledger does not know, and inspects those images again.
    """

    def __init__(self, file: Path, ledger: Ledger, model: str) -> None:
        self._stream = file.open("ab")
        self._stream.truncate(_known_until(file, ledger, model))

    def add(self, findings: Sequence[Finding], rows: Sequence[Mapping[str, str]]) -> None:
        """Appends a line for each."""
        lines = [
            stamped("jaxqc-finding", f.to_dict() | {"manifest": dict(row)})
            for f, row in zip(findings, rows, strict=True)
        ]
        self._stream.write("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode())
        self._stream.flush()

    def __enter__(self) -> "Findings":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def _known_until(file: Path, ledger: Ledger, model: str) -> int:
    """Bytes of the lines up to the first that is not whole or not in the ledger."""
    good = 0
    with file.open("rb") as stream:
        while lines := list(itertools.islice(stream, CHUNK)):
            sums = [_sum(line) for line in lines]
            known = ledger.has([s for s in sums if s], model)
            for line, found in zip(lines, sums, strict=True):
                if found not in known:
                    return good
                good += len(line)
    return good


def _sum(line: bytes) -> str:
    try:
        return str(json.loads(line)["sha256"]) if line.endswith(b"\n") else ""
    except (ValueError, KeyError, TypeError):
        return ""


class Problems:
    """`problems.csv`, written as problems come; a context manager. The first few are kept to be printed.

    `errors`: images that were left out; `warnings` only deserve a look, and `warned` has their number and the first
    one's words by kind.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.errors, self.warnings, self.first = file, 0, 0, list[str]()
        self.warned: dict[str, tuple[int, str]] = {}
        self._table = TableFile(file, ("image", "kind", "severity", "message", *STAMP))

    def add(self, problem: Problem) -> None:
        """Writes and counts one."""
        line = {"image": problem.where, "kind": problem.kind, "severity": problem.severity, "message": problem.message}
        self._table.put([_last(stamped("jaxqc-problem", {name: printable(text) for name, text in line.items()}))])
        self.errors += problem.severity == "error"
        self.warnings += problem.severity == "warning"
        if problem.severity == "warning":
            # Notes on a table differ from each other; of other kinds the first stands for all.
            kind = problem.message if problem.kind == "table" else problem.kind
            count, first = self.warned.get(kind, (0, problem.message))
            self.warned[kind] = count + 1, first
        if problem.severity == "error" and len(self.first) < SHOWN:
            self.first.append(problem.message)

    def summary(self) -> tuple[str, ...]:
        """A line for each kind of warning."""
        return tuple(f"{count} times: {text}" if count > 1 else text for count, text in self.warned.values())

    def __enter__(self) -> "Problems":
        return self

    def __exit__(self, *_: object) -> None:
        self._table.__exit__()


def write_results(found: Inspection, rules: GradeRules) -> None:
    """`lots.csv`, `suppliers.csv` and `summary.json`; each appears whole or not at all."""
    lots = []
    for lot, figures in found.lots:
        own = {"lot": lot.name, "supplier": lot.supplier, "product": lot.product, "line": lot.line}
        rest = {k: v for k, v in figures.to_dict().items() if k not in (*own, "verdicts", "composition")}
        line = {**own, **rest, **figures.verdicts, "composition": dict(figures.composition)}
        lots.append(_last(stamped("jaxqc-lot", {name: _cell(value) for name, value in line.items()})))
    _table(found.out / "lots.csv", lots, ("lot", "supplier", "product", "line", "images"))
    _table(
        found.out / "suppliers.csv", [_last(_supplier(s)) for s in found.suppliers], ("supplier", "lots", "inspected")
    )
    write_text(found.out / "summary.json", json.dumps(to_json(found, rules), indent=1, allow_nan=False) + "\n")


def to_json(found: Inspection, rules: GradeRules) -> dict[str, Any]:
    """An inspection as plain values."""
    values = {
        "ledger": found.ledger,
        "model": {"digest": found.model.digest, "name": found.model.name, **found.model.details},
        "rules": asdict(rules),
        "images": {"new": found.new, "known": found.known, "bad": found.bad},
        "corrected": found.corrected,
        "lots_without_images": list(found.empty),
        "images_per_second": round(found.images_per_second, 2),
        "warnings": list(found.warnings),
        "lots": [stamped("jaxqc-lot", {"line": t.line, "since": t.since, **f.to_dict()}) for t, f in found.lots],
        "suppliers": [_supplier(s) for s in found.suppliers],
        "made_with": environment(),
    }
    return stamped("jaxqc-summary", values)


def _supplier(supplier: Supplier) -> dict[str, Any]:
    return stamped("jaxqc-supplier", asdict(supplier))


def _last(line: Mapping[str, Any]) -> dict[str, Any]:
    """With name and version at the end, where they do not stand in the way of people."""
    return {**{k: v for k, v in line.items() if k not in STAMP}, **{k: line[k] for k in STAMP}}


def _cell(value: Any) -> Any:
    """A value of a table: what is no plain value is JSON; None an empty cell."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else value


def _table(file: Path, lines: Sequence[Mapping[str, Any]], empty: Sequence[str]) -> None:
    """empty: the header where there are no lines."""
    shown = ({k: printable(v) if isinstance(v, str) else v for k, v in line.items()} for line in lines)
    write_table(file, list(lines[0]) if lines else empty, shown)

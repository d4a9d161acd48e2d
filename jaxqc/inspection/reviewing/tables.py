"""The table of pictures to look at, for people's spreadsheets, and the verdicts of the one that comes back."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxqc.atomic import whole_file
from jaxqc.data.normals import means_normal
from jaxqc.data.problems import one_line, printable
from jaxqc.data.tables.cells import emptied
from jaxqc.data.tables.read import COLUMNAR, DELIMITED, Table, check_columns, read_table
from jaxqc.data.tables.write import write_table
from jaxqc.errors import UserError, suggest
from jaxqc.inspection.ledger.reviews import Review, Word
from jaxqc.inspection.outcomes.orders import moment
from jaxqc.inspection.reviewing.waiting import Picture

FILLED = ("verdict", "class", "person", "note")
"""Columns that people fill in."""
COLUMNS = ("sha256", "why", "image", "path", "lot", "piece", "supplier", "model_verdict", "score", "severity",
           "defects", "classes", "model", *FILLED)  # fmt: skip
KNOWN = ("sha256", *FILLED, "time")
ALIASES = {
    **dict.fromkeys(("result", "judgement", "judgment", "decision", "判定", "结论", "結論", "结果", "結果"), "verdict"),
    **dict.fromkeys(("class_name", "defect_class", "类别", "類別", "缺陷类别", "缺陷", "缺陷类型"), "class"),
    **dict.fromkeys(("reviewer", "inspector", "operator", "人员", "人員", "检验员", "檢驗員", "质检员"), "person"),
    **dict.fromkeys(("notes", "comment", "remark", "remarks", "备注", "備註", "说明"), "note"),
}
"""Other names of the columns, as people's own tables have them."""
REJECT = frozenset((
    "reject", "rejected", "r", "refuse", "refused", "ng", "n.g.", "not ok", "nok", "bad", "fail", "failed", "defect",
    "defects", "defective", "faulty", "scrap", "nonconforming", "non-conforming",
    "不合格", "不合格品", "不良", "不良品", "缺陷", "有缺陷", "缺陷品", "次品", "废品", "廢品", "拒收", "拒绝",
    "不通过", "不通過", "报废", "報廢", "异常", "異常", "瑕疵", "불량", "불합격",
))  # fmt: skip
PASS = frozenset(("p", "accept", "通过", "通過", "接收", "接受", "合格", "可", "합격"))
"""Beside the names of classes of good images (`jaxqc.data.normals`)."""
UNDONE = frozenset(("undo", "undone", "withdraw", "withdrawn", "撤销", "撤銷", "撤回"))
_SUM = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Filled:
    """A table of verdicts, as read."""

    events: tuple[Review, ...]
    blank: int
    """Rows that nobody has filled in."""
    bad: tuple[str, ...]
    """Rows that cannot be used: line and reason."""
    notes: tuple[str, ...]
    """Points that deserve a look."""


def write_waiting(file: str | Path, chosen: Iterable[tuple[str, Picture]]) -> None:
    """Writes pictures as a table with empty columns for people's verdicts; filled ones where a person gave one.

    file: .csv (for spreadsheets) or .parquet. chosen: each picture with the reason for which it is there.

    Raises:
      UserError: another ending. OSError: it cannot be written.
    """
    file = Path(file)
    if file.suffix.lower() not in (DELIMITED[0], *COLUMNAR):
        raise UserError(f"{printable(file)}: unknown ending {file.suffix!r}; give one of .csv, {', '.join(COLUMNAR)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [_line(why, picture) for why, picture in chosen]
    if file.suffix.lower() == DELIMITED[0]:
        return write_table(file, COLUMNS, lines)
    import pyarrow as pa
    from pyarrow import parquet

    numbers = {"score": pa.float64(), "severity": pa.float64(), "defects": pa.int64()}
    schema = pa.schema([(name, numbers.get(name, pa.string())) for name in COLUMNS])
    with whole_file(file) as part:
        parquet.write_table(pa.Table.from_pylist(lines, schema), part)


def read_verdicts(file: str | Path, person: str = "") -> Filled:
    """The verdicts of a table: CSV in any separator, or Parquet, with the columns `sha256` and `verdict`.

    person: who judged, where a row does not say. A picture that stands in two rows needs the same verdict in both.

    Raises:
      UserError: it cannot be read, or lacks a column.
    """
    table = read_table(file, KNOWN, ALIASES)
    check_columns(table, ("sha256", "verdict"), KNOWN)
    table = emptied(table, ("sha256", "verdict", "class", "person"))
    events, bad, blank = list[Review](), list[str](), 0
    for where, outcome in _parsed(table, person):
        if isinstance(outcome, UserError):
            bad.append(f"{where}: {printable(outcome)}")
        elif outcome is None:
            blank += 1
        else:
            events.append(outcome)
    return Filled(tuple(events), blank, tuple(bad), table.notes)


def verdict_of(text: str) -> Word:
    """The verdict that a word means, in English or Chinese.

    Raises:
      UserError: a word that is none.

    Examples:
      >>> verdict_of("OK"), verdict_of("不合格"), verdict_of(" Good "), verdict_of("NG")
      ('pass', 'reject', 'pass', 'reject')
    """
    word = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    if word in REJECT:
        return "reject"
    if word in PASS or means_normal(word):
        return "pass"
    if word in UNDONE:
        return "undone"
    near = suggest(word, ("pass", "ok", "good", "reject", "defect", "undo")) if word.isascii() else ""
    shown = near if "did you mean" in near else "; write pass (ok, good, 合格) or reject (ng, defect, 不合格)"
    raise UserError(f"unknown verdict {text!r}{shown}")


def _line(why: str, picture: Picture) -> dict[str, Any]:
    same = {name: getattr(picture, name) for name in ("sha256", "image", "path", "piece", "supplier", "model")}
    line = same | {"why": why, "model_verdict": picture.verdict, "defects": picture.count}
    line |= {"score": picture.score, "severity": picture.severity, "lot": ", ".join(picture.lots)}
    line["classes"] = ", ".join(f"{name} {n}" for name, n in sorted(picture.composition.items()))
    said = picture.said
    texts = (said.verdict, said.class_name, said.person, said.note) if said else ("",) * len(FILLED)
    return line | dict(zip(FILLED, texts, strict=True))


def _parsed(table: Table, person: str) -> Iterator[tuple[str, Review | UserError | None]]:
    """Each row's line and verdict, None where it is not filled in, or the reason why it cannot be used."""
    seen: dict[str, tuple[str, Review]] = {}
    for row, cells in table.records():
        try:
            if row.fault:
                raise UserError(row.fault)
            event = _event(cells, person)
            if event and seen.setdefault(event.sha256, (row.where, event))[1] != event:
                raise UserError(f"another verdict on this picture stands on {seen[event.sha256][0]}; keep one")
        except UserError as e:
            yield row.where, e
            continue
        yield row.where, event


def _event(cells: Mapping[str, str], person: str) -> Review | None:
    sha256 = cells["sha256"].lower()
    texts = {name: one_line(cells.get(name, "")) for name in FILLED}
    if not texts["verdict"]:
        for name in ("class", "note"):
            if texts[name]:
                raise UserError(f"{name} {texts[name]!r} without a verdict; write pass or reject, or clear it")
        return None
    if not _SUM.fullmatch(sha256):
        raise UserError(f"sha256 {cells['sha256']!r} is no picture's; leave the column as it was written")
    return Review(sha256, verdict_of(texts["verdict"]), texts["class"], texts["person"] or one_line(person),
                  texts["note"], moment(cells.get("time", "")))  # fmt: skip

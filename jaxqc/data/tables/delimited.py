"""The text of a CSV file as rows: encodings by their byte-order marks, the separator by the header, and line numbers.

pyarrow's reader divides the text into cells, all of them text; what stands here is what it does not know.
"""

import io
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

from jaxqc.errors import UserError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_NEWLINE = re.compile(r"\r\n|\r|\n")
_BLANK = re.compile(r"(?:[ \t]*(?:\r\n|\r|\n))*")
_NAMED = re.compile(r'"?sep=([,;\t|])"?[,;\t]*(?:\r\n|\r|\n)', re.IGNORECASE)
"""The line by which spreadsheets name the separator."""
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_END = "\x1a"
"""The cells of a row put after the last one: a quote that is never closed would take it in."""
_WIDEST = 20_000


def decode(raw: bytes) -> str:
    """UTF-8, or what a byte-order mark names.

    Raises:
      UserError: other bytes, with the line and the first of them.

    Examples:
      >>> decode("Lot\\tA".encode("utf-16"))
      'Lot\\tA'
    """
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw[:2]:
        raise UserError("UTF-16 without a byte-order mark; save it as UTF-8 (spreadsheets: CSV UTF-8)")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as e:
        if encoding.startswith("utf-8"):
            line = raw[: e.start].count(b"\n") + 1
            byte = f"byte 0x{raw[e.start]:02x}"
            raise UserError(f"line {line}: not UTF-8 ({byte}); save it as UTF-8 (spreadsheets: CSV UTF-8)") from e
        raise UserError(f"not {encoding.upper()}, though its first bytes say so; save it as UTF-8") from e


def divide(text: str, score: Callable[[list[str]], int]) -> tuple[str, list[str], Iterator[tuple[int, list[str]]]]:
    """The separator, the header, and the rows as (line number, cells); lines without a value are left out.

    A row may have fewer or more cells than the header. score: the known names among a header's cells; of the separators
    the one that gives most of them is taken, and of equal ones the one that gives most cells.

    Raises:
      UserError: a quote that is never closed.

    Examples:
      >>> separator, header, rows = divide("lot;note\\n7;a,b\\n", lambda header: "lot" in header)
      >>> separator, header, list(rows)
      (';', ['lot', 'note'], [(2, ['7', 'a,b'])])
    """
    blank = _BLANK.match(text)
    before, text = (len(_NEWLINE.findall(blank[0])), text[blank.end() :]) if blank else (0, text)
    named = _NAMED.match(text)
    if named:
        text, before = text[named.end() :], before + 1
    if not text.strip():
        return ",", [], iter(())
    head = _head(text)
    found = [(sign, cells_of(head, sign)) for sign in ([named[1]] if named else SEPARATORS)]
    separator, header = max(found, key=lambda pair: (score(pair[1]), len(pair[1])))
    lines = 1 + sum(len(_NEWLINE.findall(cell)) for cell in header)
    end = 0
    for _, newline in zip(range(lines), _NEWLINE.finditer(text), strict=False):
        end = newline.end()
    body = text[end:] if len(_NEWLINE.findall(head)) >= lines else ""
    return separator, header, _rows(body, separator, len(header), before + lines + 1)


def cells_of(row: str, separator: str) -> list[str]:
    """The cells of the first row of a text; one that no reader takes is a cell as it stands.

    Examples:
      >>> cells_of('a,"b, c"', ",")
      ['a', 'b, c']
    """
    try:
        columns, _ = _parse(row + "\n", separator, None)
    except UserError:
        return [row]
    return [column[0] for column in columns]


def _head(text: str) -> str:
    """The first lines, with which every quote of the header is closed."""
    ends = [match.end() for match in itertools.islice(_NEWLINE.finditer(text), 20)]
    return next((text[:end] for end in ends if text.count('"', 0, end) % 2 == 0), text[: ends[-1] if ends else None])


def _rows(body: str, separator: str, width: int, line: int) -> Iterator[tuple[int, list[str]]]:
    """line: the number of the body's first one."""
    body += "" if not body or body[-1] in "\r\n" else "\n"
    columns, odd = _parse(body + separator.join([_END] * width) + "\n", separator, width)
    even = zip(*columns, strict=True)
    last: tuple[int, list[str]] = (line, [])
    for number in range(1, len(columns[0]) + len(odd) + 1):
        text = odd.get(number)
        cells = list(next(even)) if text is None else cells_of(text, separator) if text else []
        last = (line, cells)
        if any(cell.strip() for cell in cells) and cells != [_END] * width:
            yield last
        line += 1 + sum(len(_NEWLINE.findall(cell)) for cell in cells if "\n" in cell or "\r" in cell)
    if last[1] != [_END] * width:
        raise UserError(f"line {last[0]}: not CSV (a quote is opened and never closed); write a quote in a cell twice")


def _parse(text: str, separator: str, width: int | None) -> tuple[list[list[str]], dict[int, str]]:
    """Columns of the rows of `width` cells (None: as the first row), and the others' text by their number from 1."""
    import pyarrow as pa
    from pyarrow import csv

    odd: dict[int, str] = {}

    def keep(row: Any) -> str:
        odd[row.number] = row.text
        return "skip"

    most = width or text.count(separator) + 1
    if most > _WIDEST:
        raise UserError(f"not CSV (more than {_WIDEST} columns)")
    names = [f"f{i}" for i in range(most)]
    raw = text.encode("utf-8")
    try:
        table = csv.read_csv(
            io.BytesIO(raw),
            csv.ReadOptions(
                use_threads=False,
                block_size=len(raw) + 1,  # one block: a cell with line breaks does not end at its border
                column_names=names if width else None,
                autogenerate_column_names=not width,
            ),
            csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=keep
            ),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except (pa.ArrowException, OverflowError) as e:
        raise UserError(f"not CSV ({' '.join(str(e).split())[:200]}); save it with commas and double quotes") from e
    return [column.to_pylist() for column in table.columns], odd

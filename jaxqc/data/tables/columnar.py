"""A Parquet file as rows of text, whatever its columns' types."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxqc.errors import UserError


def columns_of(file: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The columns' names, and the rows as (number from 1, cells); null and NaN are "".

    Dates and times are ISO 8601, with a zone in UTC. One outside of the years 1 to 9999, which Python has, is a
    text that is no time.

    Raises:
      UserError: no readable Parquet file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(file)
        columns = [_texts(column) for column in table.columns]
    except (pa.ArrowException, OSError, ValueError) as e:
        raise UserError(f"not a readable Parquet file ({' '.join(str(e).split())[:200]})") from e
    return list(table.schema.names), ((i, list(row)) for i, row in enumerate(zip(*columns, strict=True), 1))


def _texts(column: Any) -> list[str]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind):
        # Python's times end at microseconds, pandas writes nanoseconds; a zone may be one that is not known here.
        unit = "us" if kind.unit == "ns" else kind.unit
        column = column.cast(pa.timestamp(unit, kind.tz and "UTC"), safe=kind.unit != "ns")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        column = column.cast(pa.string())
    try:
        values = column.to_pylist()
    except (ValueError, OverflowError):
        values = column.cast(pa.string()).to_pylist()
    return ["" if value is None or value != value else str(value).strip() for value in values]

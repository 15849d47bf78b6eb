"""Changes to the columns and the footer of Parquet files, written anew by pyarrow."""

from __future__ import annotations

import io
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_mutations import change_bytes
from fuzz_values import NUMBERS, TEXTS

Others = list[dict[str, bytes]]
MAGIC = b"PAR1"
_TAIL = 8
_MANY = 2_000  # rows, each of which alone in a group makes a file of megabytes
_NAMES = (
    "step", "loss", "train_loss", "run_id", "run", "", "a" * 300, "a.b", "é", "row_size", "obs",
    "timestamp", "project_id", "attribute_path", "source", "wall_time", "tau", "\0",
)  # fmt: skip


def _types() -> tuple[Any, ...]:
    text = pa.string()
    return (
        pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(),
        pa.float64(), text, pa.large_string(), pa.binary(), pa.binary(3), pa.bool_(), pa.null(),
        pa.decimal128(38, 9), pa.decimal256(60, 0), pa.decimal128(5, -2), pa.date32(), pa.date64(),
        pa.time32("ms"), pa.time64("ns"), pa.duration("us"), pa.timestamp("s"), pa.timestamp("ns"),
        pa.timestamp("us", tz="UTC"), pa.timestamp("ms", tz="Asia/Tokyo"), pa.list_(pa.int64()),
        pa.large_list(text), pa.struct([("a", text), ("b", pa.float64())]), pa.map_(text, text),
        pa.dictionary(pa.int8(), text), pa.dictionary(pa.int32(), pa.int64()), pa.struct([]),
        pa.string_view(), pa.list_(pa.float32(), 2),
    )  # fmt: skip


def changed_parquet(content: bytes, rng: random.Random, others: Others) -> bytes:
    """Change columns and write them in another way, or change the footer."""
    if rng.random() < 0.3:
        return _changed_footer(content, rng, others)
    table = pq.read_table(pa.BufferReader(content))
    for _ in range(rng.choice((1, 1, 2, 4))):
        try:
            table = rng.choice(WAYS)(table, rng)
        except (pa.ArrowException, ValueError, TypeError, OverflowError, KeyError):
            continue  # this change cannot be made to this table
    out = io.BytesIO()
    try:
        pq.write_table(
            table,
            out,
            compression=rng.choice(("none", "none", "snappy", "zstd", "gzip", "lz4", "brotli")),
            use_dictionary=rng.random() < 0.5,
            version=rng.choice(("1.0", "2.4", "2.6")),
            data_page_version=rng.choice(("1.0", "2.0")),
            row_group_size=rng.choice((1, 3, 10_000)) if table.num_rows < _MANY else 10_000,
            write_statistics=rng.random() < 0.5,
            write_page_checksum=rng.random() < 0.1,
        )
    except (pa.ArrowException, ValueError, TypeError, OSError):
        return change_bytes(content, rng, others)
    changed = out.getvalue()
    return _changed_footer(changed, rng, others) if rng.random() < 0.2 else changed


def _changed_footer(content: bytes, rng: random.Random, others: Others) -> bytes:
    length = int.from_bytes(content[-_TAIL:-4], "little")
    start = len(content) - _TAIL - length
    footer = change_bytes(content[start:-_TAIL], rng, others)
    return content[:start] + footer + len(footer).to_bytes(4, "little") + MAGIC


def _any_column(table: Any, rng: random.Random) -> tuple[int, str]:
    at = rng.randrange(table.num_columns)
    return at, table.column_names[at]


def _value_of(kind: Any, rng: random.Random) -> Any:
    value = rng.choice((None, rng.choice(NUMBERS), rng.choice(TEXTS)))
    try:
        return pa.scalar(value).cast(kind, safe=False).as_py()
    except (pa.ArrowException, ValueError, TypeError, OverflowError, UnicodeError):
        return None


def change_values(table: Any, rng: random.Random) -> Any:
    """Set some values of a column to others of its type, or to none."""
    at, _ = _any_column(table, rng)
    column = table.column(at)
    values = column.to_pylist()
    for _ in range(rng.choice((1, 3, len(values)))):
        if values:
            values[rng.randrange(len(values))] = _value_of(column.type, rng)
    return table.set_column(at, table.schema.field(at), [pa.array(values, column.type)])


def change_type(table: Any, rng: random.Random) -> Any:
    """Give a column another type; what cannot be cast becomes nothing."""
    at, name = _any_column(table, rng)
    kind = rng.choice(_types())
    try:
        column = table.column(at).cast(kind, safe=False)
    except (pa.ArrowException, ValueError):
        column = pa.nulls(table.num_rows, kind)
    return table.set_column(at, name, column)


def rename(table: Any, rng: random.Random) -> Any:
    """Give a column another name, or one that is there already."""
    at, _ = _any_column(table, rng)
    names = list(table.column_names)
    names[at] = rng.choice((*_NAMES, *names))
    return table.rename_columns(names)


def drop(table: Any, rng: random.Random) -> Any:
    """Leave out a column."""
    return table.remove_column(_any_column(table, rng)[0])


def add(table: Any, rng: random.Random) -> Any:
    """Put a column in."""
    column = pa.array([_value_of(pa.float64(), rng)] * table.num_rows, pa.float64())
    return table.add_column(0, rng.choice(_NAMES), [column])


def rows(table: Any, rng: random.Random) -> Any:
    """Leave out, repeat or mix rows."""
    count = table.num_rows
    order = rng.choice((range(0), range(count - 1, -1, -1), [*range(count)] * 30, [0] * 20_000))
    return table.take(pa.array(order, pa.int64()))


def note(table: Any, rng: random.Random) -> Any:
    """Change what the schema notes."""
    noted = dict(table.schema.metadata or {b"workbench": b"{}"})
    key = rng.choice(sorted(noted))
    noted[key] = change_bytes(noted[key], rng, [{"": b'{"coordinates": ["run_id"]}'}])
    return table.replace_schema_metadata(noted)


WAYS = (
    change_values,
    change_values,
    change_values,
    change_type,
    change_type,
    rename,
    drop,
    add,
    rows,
    note,
)

"""Parquet files in pieces, as numpy columns; a file's own claims are checked before it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError

MAGIC = b"PAR1"
_BATCH = 65_536
_ROWS = 10_000_000
_LARGEST_GROUP = 2 << 30


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: values, and which of them are there (a NaN may be)."""

    values: NDArray[np.float64]
    there: NDArray[np.bool_]


@dataclass(frozen=True)
class Texts:
    """A column of text: one code a row, -1 for none, into the distinct texts."""

    codes: NDArray[np.int64]
    texts: tuple[str, ...]


Column = Numbers | Texts


def column_names(path: Path) -> list[str] | None:
    """Return the names of a Parquet file's columns; None when it cannot be opened as one."""
    try:
        with _open(path) as file:
            return list(file.schema_arrow.names)
    except DataError:
        return None


def metadata_of(path: Path, key: str) -> bytes | None:
    """Return what a file's schema notes under `key`."""
    with _open(path) as file:
        found = (file.schema_arrow.metadata or {}).get(key.encode())
        return None if found is None else bytes(found)


def read_batches(
    path: Path, wanted: Sequence[str] | None = None
) -> Iterator[tuple[dict[str, Column], tuple[str, ...]]]:
    """Yield the columns of a file, some ten thousand rows at a time.

    Parameters
    ----------
    path : Path
        The file.
    wanted : sequence of str, optional
        Columns to read; all by default. Absent ones are left out.

    Yields
    ------
    dict of str to Numbers or Texts, tuple of str
        The columns, and the names of those whose type is neither.

    Raises
    ------
    DataError
        If the file is damaged, or claims more than its size can hold.
    """
    import pyarrow as pa

    with _open(path) as file:
        _require_sane(file, path)
        fields = [f for f in file.schema_arrow if wanted is None or f.name in wanted]
        usable = [f.name for f in fields if _is_usable(f.type)]
        strange = tuple(f.name for f in fields if not _is_usable(f.type))
        try:
            for batch in _gathered(file.iter_batches(_BATCH, columns=usable, use_threads=False)):
                columns = zip(batch.schema.names, batch.columns, strict=True)
                yield {name: _column(array) for name, array in columns}, strange
        except (pa.ArrowException, OSError, ValueError, MemoryError, KeyError) as error:
            raise _damaged(path, error) from error


def _gathered(batches: Iterator[Any]) -> Iterator[Any]:
    """Put the batches of small row groups together: one by one each would take its time."""
    pending: list[Any] = []
    rows = 0
    for batch in batches:
        if pending and rows + batch.num_rows > _BATCH:
            yield from _together(pending)
            pending, rows = [], 0
        pending.append(batch)
        rows += batch.num_rows
    yield from _together(pending)


def _together(batches: list[Any]) -> Iterator[Any]:
    import pyarrow as pa

    if len(batches) < 2:
        yield from batches
        return
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    yield from table.to_batches()


def _open(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        msg = f"{path} is Parquet; reading it needs pyarrow: pip install 'collapse-workbench[io]'"
        raise DataError(msg) from error
    try:
        schema = pq.read_schema(path)
        texts = [field.name for field in schema if _is_text(field.type)]
        return pq.ParquetFile(path, read_dictionary=texts)
    except (pa.ArrowException, OSError, ValueError, MemoryError, KeyError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{path} cannot be read as Parquet: {reason}. Export it again.")


def _require_sane(file: Any, path: Path) -> None:
    size = path.stat().st_size
    meta = file.metadata
    if not 0 <= meta.num_rows <= _ROWS + size:
        msg = f"{path} claims {meta.num_rows} rows in {size} bytes. Export it again."
        raise DataError(msg)
    names = [field.name for field in file.schema_arrow]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"{path} has column {twice[:40]!r} twice. Write it with one column a name."
        raise DataError(msg)
    # What a file says of a single column is left to the reader itself: asked for it alone, pyarrow
    # ends the process where the file is damaged.
    for group in range(meta.num_row_groups):
        whole = meta.row_group(group).total_byte_size
        if not 0 <= whole <= _LARGEST_GROUP:
            msg = (
                f"row group {group} of {path} claims {whole} bytes unpacked; up to "
                f"{_LARGEST_GROUP} are read. Write it with smaller row groups."
            )
            raise DataError(msg)


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_usable(kind: Any) -> bool:
    import pyarrow.types as types

    numeric = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_decimal,
        types.is_timestamp,
    )
    return _is_text(kind) or any(test(kind) for test in numeric)


def _column(array: Any) -> Column:
    import pyarrow as pa
    import pyarrow.types as types

    if types.is_dictionary(array.type):
        codes = array.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        if len(codes) and not -1 <= codes.min() <= codes.max() < len(array.dictionary):
            msg = "a text is numbered that is not there"
            raise ValueError(msg)
        return Texts(codes, tuple("" if t is None else t for t in array.dictionary.to_pylist()))
    there = array.is_valid().to_numpy(zero_copy_only=False)
    scale = 1.0
    if types.is_timestamp(array.type):  # as seconds since 1970, like every wall time
        scale = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[array.type.unit]
        array = array.cast(pa.int64())
    if types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return Numbers(np.asarray(values, np.float64) * scale, np.asarray(there, np.bool_))

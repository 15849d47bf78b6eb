"""Points as packed batches: named float64 columns in one checked block that never runs code.

Layout, little endian: magic ``CWB1``, crc32 of header and columns (u4), header length (u4), header
(JSON: count and column names), steps (i8), then one float64 block per column.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError

Records = dict[str, NDArray[np.generic]]

_MAGIC = b"CWB1"
_FRAME = struct.Struct("<4sII")


def pack(records: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Pack columns of equal length into one checked block.

    Parameters
    ----------
    records : mapping of str to ndarray of shape (point,)
        ``step`` (integers) and any number of float columns.

    Returns
    -------
    bytes
    """
    names = [name for name in records if name != "step"]
    header = json.dumps({"count": len(records["step"]), "columns": names}).encode()
    blocks = [np.asarray(records["step"], "<i8").tobytes()]
    blocks += [np.asarray(records[name], "<f8").tobytes() for name in names]
    body = header + b"".join(blocks)
    return _FRAME.pack(_MAGIC, zlib.crc32(body), len(header)) + body


def unpack(packed: bytes) -> Records:
    """Read a block written by `pack`.

    Returns
    -------
    dict of str to ndarray of shape (point,)
        ``step`` as int64, the others float64.

    Raises
    ------
    DataError
        If the block is damaged.
    """
    if len(packed) < _FRAME.size or packed[:4] != _MAGIC:
        msg = "a batch of points does not start as one; the registry is damaged."
        raise DataError(msg)
    _, checksum, length = _FRAME.unpack_from(packed)
    body = memoryview(packed)[_FRAME.size :]
    if zlib.crc32(body) != checksum:
        msg = "a batch of points does not match its checksum; the registry is damaged."
        raise DataError(msg)
    header = json.loads(bytes(body[:length]))
    count, start = int(header["count"]), length
    records: Records = {"step": np.frombuffer(body, "<i8", count, start).astype(np.int64)}
    for name in header["columns"]:
        start += 8 * count
        records[name] = np.frombuffer(body, "<f8", count, start).astype(np.float64)
    return records


def join(batches: Sequence[Records]) -> Records:
    """Put the batches of one attempt together: sorted by step, one record per step.

    Where a step was logged more than once, each column keeps the last value that is not NaN, so
    that a loss and an evaluation logged by separate calls become one record.

    Parameters
    ----------
    batches : sequence of dict of str to ndarray of shape (point,)
        In the order they were written.

    Returns
    -------
    dict of str to ndarray of shape (record,)
    """
    names = dict.fromkeys(name for batch in batches for name in batch if name != "step")
    step = np.concatenate([batch["step"] for batch in batches]).astype(np.int64, copy=False)
    if len(batches) == 1 and (step[1:] > step[:-1]).all():
        whole: Records = {name: np.asarray(batches[0][name], np.float64) for name in names}
        return {"step": step, **whole}
    order = np.argsort(step, kind="stable")
    step = step[order]
    starts = np.flatnonzero(np.diff(step, prepend=step[:1] - 1))
    records: Records = {"step": step[starts]}
    for name in names:
        parts = [batch.get(name, np.full(len(batch["step"]), np.nan)) for batch in batches]
        values = np.concatenate(parts).astype(np.float64)[order]
        if len(starts) < len(step):
            values = _last_known(values, starts)
        records[name] = values
    return records


def _last_known(values: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    known = np.where(np.isnan(values), -1, np.arange(len(values)))
    last = np.maximum.reduceat(known, starts)
    return np.where(last < 0, np.nan, values[last])


def overlay(older: Records, newer: Records) -> Records:
    """Put a later attempt over an earlier one: at a step both logged, only the later record stays.

    Parameters
    ----------
    older, newer : dict of str to ndarray of shape (record,)
        Each sorted by step, one record per step.

    Returns
    -------
    dict of str to ndarray of shape (record,)
    """
    keep = ~np.isin(older["step"], newer["step"])
    return join([{name: values[keep] for name, values in older.items()}, newer])

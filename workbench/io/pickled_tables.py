"""What a pickled pandas table may be made of: arrays of numbers, text, blocks and their labels.

`MAKERS` is the whole list of what such a pickle may name. Each name stands for a maker here that
checks sizes before it takes anything; nothing of numpy or pandas is called with what a file says,
except ``numpy.frombuffer`` on bytes whose length fits.
"""

from __future__ import annotations

import math
import sys
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from workbench.io.pickled import ForbiddenPickleError, Maker, Name

_TYPES = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"))
_OBJECTS = ("O", "O8")


def _refuse(why: str) -> NoReturn:
    raise ForbiddenPickleError(why)


def _is_plain(value: object) -> bool:
    """Tell whether a value is a single one.

    Others are never printed, hashed or compared: a tuple of itself twice, over and over, takes a
    few bytes in a file and whoever walks it for ever.
    """
    return value is None or isinstance(value, bool | int | float | str)


def _shown(value: object) -> str:
    return repr(str(value)[:20]) if _is_plain(value) else type(value).__name__


class Dtype:
    """A plain type of numbers, or of objects."""

    def __init__(self, spec: object, align: object = False, copy: object = True) -> None:
        if not isinstance(spec, str) or spec not in (*_TYPES, *_OBJECTS):
            _refuse(f"an array of type {_shown(spec)}")
        self.spec, self.order = spec, "="

    def build(self, state: object) -> None:
        """Take the byte order; fields and shapes within a type are refused."""
        if not isinstance(state, tuple) or len(state) < 4 or state[1] not in ("<", ">", "|", "="):
            _refuse("a type with an unknown state")
        if any(part is not None for part in state[2:5]):
            _refuse("a type with fields")
        self.order = state[1]

    @property
    def is_object(self) -> bool:
        """Whether the array holds objects, given as a list."""
        return self.spec in _OBJECTS


class Array:
    """An array: numbers in ``numbers`` or objects, in row order, in ``objects``."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.numbers: NDArray[np.generic] | None = None
        self.objects: list[Any] = []

    def build(self, state: object) -> None:
        """Take shape, type and content; the content must be exactly as long as they say."""
        if not isinstance(state, tuple) or len(state) != 5:
            _refuse("an array with an unknown state")
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran is True else "C")

    def fill(self, data: object, dtype: object, shape: object, order: object) -> None:
        """Take the content."""
        if not isinstance(dtype, Dtype) or not isinstance(shape, tuple) or order not in ("C", "F"):
            _refuse("an array with an unknown state")
        if len(shape) > 2 or not all(type(n) is int and 0 <= n <= sys.maxsize for n in shape):
            _refuse(f"an array of shape ({', '.join(map(_shown, shape[:3]))})")
        count = math.prod(shape)
        self.shape = shape
        if dtype.is_object:
            if not isinstance(data, list) or len(data) != count:
                _refuse("an array whose content is not as long as its shape says")
            # Fortran order lists the columns of a block one after another.
            self.objects = data if order == "C" or len(shape) < 2 else _by_rows(data, shape)
            return
        kind = np.dtype(dtype.spec).newbyteorder(dtype.order if dtype.order != "|" else "=")  # type: ignore[arg-type]
        if not isinstance(data, bytes | bytearray) or len(data) != count * kind.itemsize:
            _refuse("an array whose content is not as long as its shape says")
        self.numbers = np.frombuffer(bytes(data), kind).reshape(
            shape, order="F" if order == "F" else "C"
        )

    def rows(self) -> list[Any]:
        """Return the rows of a block: arrays of numbers, or lists of objects."""
        if len(self.shape) != 2:
            _refuse("a block that is no table")
        if self.numbers is not None:
            return list(self.numbers)
        width = self.shape[1]
        return [self.objects[i * width : (i + 1) * width] for i in range(self.shape[0])]

    def labels(self) -> list[Any]:
        """Return the values of an array of one dimension, each a number, text or None."""
        if len(self.shape) != 1:
            _refuse("labels of more than one dimension")
        found = self.objects if self.numbers is None else self.numbers.tolist()
        if not all(map(_is_plain, found)):
            _refuse("labels of other than numbers and text")
        return found


def _by_rows(data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    return [data[column * shape[0] + row] for row in range(shape[0]) for column in range(shape[1])]


def _reconstruct(kind: object, shape: object, code: object) -> Array:
    if not isinstance(kind, Name) or kind.name != "ndarray":
        _refuse("an array of another class")
    return Array()


def _from_buffer(data: object, dtype: object, shape: object, order: object, *_: object) -> Array:
    array = Array()
    array.fill(data, dtype, shape, order)
    return array


def _scalar(dtype: object, data: object = b"") -> float:
    array = Array()
    array.fill(data, dtype, (1,), "C")
    if array.numbers is None:
        _refuse("a single object in place of a number")
    return array.numbers.tolist()[0]  # type: ignore[no-any-return]


def _encode(text: object, encoding: object = "") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        _refuse("text in another encoding than latin1")
    return text.encode("latin1")


def _only_named(*_: object) -> None:
    _refuse("it calls a class that is only named in tables")


class Positions:
    """Which rows of a table a block holds: a slice."""

    def __init__(self, start: object, stop: object, step: object = 1) -> None:
        if (
            not all(type(n) is int and abs(n) <= sys.maxsize for n in (start, stop, step))
            or not step
        ):
            _refuse("a slice of other than numbers")
        self.range = range(start, stop, step)  # type: ignore[call-overload]


class Block:
    """Some columns of a table, one a row of ``values``."""

    def __init__(self, values: object, placement: object, ndim: object) -> None:
        if not isinstance(values, Array) or not isinstance(placement, Positions | Array):
            _refuse("a block of other than an array")
        self.values, self.placement = values, placement

    def columns(self) -> list[tuple[int, Any]]:
        """Return the position and the values of each column."""
        rows = self.values.rows()
        if isinstance(self.placement, Positions):
            if len(self.placement.range) != len(rows):
                _refuse("a block with other positions than columns")
            return list(zip(self.placement.range, rows, strict=True))
        return list(zip(self.placement.labels(), rows, strict=True))


class Labels:
    """The labels of a table's columns or rows."""

    def __init__(self, kind: object, state: object) -> None:
        if not isinstance(kind, Name) or not isinstance(state, dict):
            _refuse("labels with an unknown state")
        data = state.get("data")
        self.values = data.labels() if isinstance(data, Array) else None


class Manager:
    """The blocks of a table and its two axes."""

    def __init__(self, blocks: object, axes: object) -> None:
        if not isinstance(blocks, tuple) or not all(isinstance(b, Block) for b in blocks):
            _refuse("a table of other than blocks")
        if not isinstance(axes, list) or len(axes) != 2 or not isinstance(axes[0], Labels):
            _refuse("a table with other than two axes")
        self.blocks, self.names = blocks, axes[0].values


class Table:
    """A table: columns by name, each an array of numbers or a list of objects."""

    def __init__(self) -> None:
        self.columns: dict[str, Any] = {}

    def build(self, state: object) -> None:
        """Take the columns out of the blocks."""
        manager = state.get("_mgr") if isinstance(state, dict) else None
        if not isinstance(manager, Manager) or manager.names is None:
            _refuse("a table with an unknown state")
        placed = dict(column for block in manager.blocks for column in block.columns())
        if sorted(placed) != list(range(len(manager.names))):
            _refuse("a table whose columns have other positions than names")
        self.columns = {str(name): placed[i] for i, name in enumerate(manager.names)}
        if len({len(column) for column in self.columns.values()}) > 1:
            _refuse("a table whose columns differ in length")


_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_FRAMES = ("pandas", "pandas.core.frame")
_INDEXES = (
    ("pandas", "Index"),
    ("pandas", "RangeIndex"),
    ("pandas.core.indexes.base", "Index"),
    ("pandas.core.indexes.range", "RangeIndex"),
    ("pandas.core.indexes.numeric", "Int64Index"),
)
MAKERS: dict[tuple[str, str], Maker] = {
    **{(module, "_reconstruct"): _reconstruct for module in _ARRAYS},
    **{(module, "scalar"): _scalar for module in _ARRAYS},
    **{(module, "_frombuffer"): _from_buffer for module in _NUMERIC},
    ("numpy", "ndarray"): _only_named,
    ("numpy", "dtype"): Dtype,
    ("_codecs", "encode"): _encode,
    ("builtins", "slice"): Positions,
    ("__builtin__", "slice"): Positions,
    ("pandas._libs.internals", "_unpickle_block"): Block,
    ("pandas.core.internals.managers", "BlockManager"): Manager,
    ("pandas.core.indexes.base", "_new_Index"): Labels,
    **{name: _only_named for name in _INDEXES},
    **{(module, "DataFrame"): Table for module in _FRAMES},
}

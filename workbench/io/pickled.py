"""A pickle read as data: a stack of plain values and admitted names, and no code is ever run.

Python's own unpickler calls what a file names. This one knows only the instructions that a pickled
table needs, and a name that is not admitted ends the reading. Admitted names stand for makers of
this package, never for the functions of the library that wrote the file.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.errors import DataError

LARGEST_FILE = 512 << 20
_MOST_INSTRUCTIONS = 5_000_000
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "SHORT_BINUNICODE",
    "BINUNICODE",
    "SHORT_BINBYTES",
    "BINBYTES",
    "BINBYTES8",
    "BYTEARRAY8",
}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
Maker = Callable[..., Any]


class ForbiddenPickleError(ValueError):
    """The pickle holds something no table needs; the text says what."""


@dataclass(frozen=True)
class Name:
    """A name that the file refers to, and that is admitted."""

    module: str
    name: str


def read_pickle(content: bytes, makers: Mapping[tuple[str, str], Maker], *, where: str) -> Any:
    """Return what a pickle describes.

    Parameters
    ----------
    content : bytes
        The pickle, of protocol 2 to 5.
    makers : mapping of (module, name) to callable
        Everything a file may name. What a maker returns is built upon by its method ``build``.
    where : str
        For messages.

    Raises
    ------
    DataError
        If the pickle is too large, damaged, or asks for anything else.
    """
    if len(content) > LARGEST_FILE:
        msg = (
            f"{where} has {len(content)} bytes; a pickle is read as a whole, up to {LARGEST_FILE}. "
            "Load it with the software that wrote it and save the table as Parquet."
        )
        raise DataError(msg)
    try:
        with warnings.catch_warnings():  # of backslashes in damaged names
            warnings.simplefilter("ignore", DeprecationWarning)
            return _run(_Machine(makers), content)
    except ForbiddenPickleError as error:
        msg = (
            f"{where} is refused: {error}. Only tables of numbers and text written by pandas are "
            "read from a pickle; save it as Parquet or CSV where it can be trusted."
        )
        raise DataError(msg) from error
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"{where} is damaged or no pickled table: {reason}. Save it again."
        raise DataError(msg) from error


def _run(machine: _Machine, content: bytes) -> Any:
    # The generator checks every length against the content before it is read.
    for count, (code, argument, _) in enumerate(pickletools.genops(io.BytesIO(content))):
        if count >= _MOST_INSTRUCTIONS:
            msg = f"over {_MOST_INSTRUCTIONS} instructions"
            raise ForbiddenPickleError(msg)
        if code.name == "STOP":
            return machine.result()
        machine.step(code.name, argument)
    msg = "it ends without a result"
    raise ForbiddenPickleError(msg)


class _Machine:
    """The stack, the marks on it, and the values remembered by number."""

    def __init__(self, makers: Mapping[tuple[str, str], Maker]) -> None:
        self._makers = makers
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        """Return the one value that is left."""
        if len(self._stack) != 1 or self._marks:
            msg = f"it leaves {len(self._stack)} values"
            raise ForbiddenPickleError(msg)
        return self._stack[0]

    def step(self, code: str, argument: Any) -> None:
        """Carry out one instruction."""
        if code in _VALUES:
            self._stack.append(argument)
        elif code in _CONSTANTS:
            self._stack.append(_CONSTANTS[code])
        elif code in _TUPLES:
            self._stack.append(tuple(self._pop(_TUPLES[code])))
        elif code in ("PROTO", "FRAME"):
            if code == "PROTO" and not 2 <= argument <= 5:
                msg = f"protocol {argument}"
                raise ForbiddenPickleError(msg)
        elif not (self._collect(code) or self._remember(code, argument)):
            self._make(code, argument)

    def _pop(self, count: int) -> list[Any]:
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) - count < floor:
            msg = "it takes more values than there are"
            raise ForbiddenPickleError(msg)
        taken = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return taken

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            msg = "it has no mark to go back to"
            raise ForbiddenPickleError(msg)
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _collect(self, code: str) -> bool:
        match code:
            case "MARK":
                self._marks.append(len(self._stack))
            case "TUPLE":
                self._stack.append(tuple(self._pop_mark()))
            case "EMPTY_LIST":
                self._stack.append([])
            case "EMPTY_DICT":
                self._stack.append({})
            case "APPEND" | "APPENDS":
                items = self._pop(1) if code == "APPEND" else self._pop_mark()
                self._top(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._pop(2) if code == "SETITEM" else self._pop_mark()
                keys, values = items[::2], items[1::2]
                if len(keys) != len(values) or not all(isinstance(key, str) for key in keys):
                    msg = "a mapping with keys other than text"  # their hash may never end
                    raise ForbiddenPickleError(msg)
                self._top(dict).update(zip(keys, values, strict=True))
            case _:
                return False
        return True

    def _top(self, kind: type) -> Any:
        (top,) = self._pop(1)
        if type(top) is not kind:
            msg = f"it adds to what is no {kind.__name__}"
            raise ForbiddenPickleError(msg)
        self._stack.append(top)
        return top

    def _remember(self, code: str, argument: Any) -> bool:
        if code in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif code in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            (top,) = self._pop(1)
            self._stack.append(top)
            self._memo[len(self._memo) if code == "MEMOIZE" else argument] = top
        else:
            return False
        return True

    def _make(self, code: str, argument: Any) -> None:
        match code:
            case "GLOBAL":
                self._stack.append(self._admit(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                self._stack.append(self._admit(*self._pop(2)))
            case "REDUCE" | "NEWOBJ":
                maker, arguments = self._pop(2)
                if not isinstance(maker, Name) or not isinstance(arguments, tuple):
                    msg = "it calls what is no admitted name"
                    raise ForbiddenPickleError(msg)
                self._stack.append(self._makers[maker.module, maker.name](*arguments))
            case "BUILD":
                made, state = self._pop(2)
                build = getattr(made, "build", None)
                if isinstance(made, Name) or build is None:
                    msg = "it changes what is not being made"
                    raise ForbiddenPickleError(msg)
                build(state)
                self._stack.append(made)
            case _:
                msg = f"instruction {code}, which no table needs"
                raise ForbiddenPickleError(msg)

    def _admit(self, module: object, name: object) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            msg = "a name that is no text"
            raise ForbiddenPickleError(msg)
        if (module, name) not in self._makers:
            msg = f"it names {f'{module}.{name}'[:80]!r}"
            raise ForbiddenPickleError(msg)
        return Name(module, name)

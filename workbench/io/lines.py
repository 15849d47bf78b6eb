"""Lines of a console log, one at a time: prefixes of ranks and colours removed, torn tail left."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workbench.errors import DataError
from workbench.io.result import HEAD_BYTES, Source
from workbench.io.runlog import RunLog, usable_name

LONGEST_LINE = 1 << 20
OPENING_BYTES = 1 << 21
MOST_COLUMNS = 64  # of names that a log chooses itself: a damaged one must not make thousands
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# torchrun and srun --label put the rank before every line: "[rank0]:", "[default0]:", "0: ".
_RANK = re.compile(
    r"^ {0,3}(?:\[(?:rank|default)(?P<named>[0-9]+)\]:? ?|(?P<bare>[0-9]{1,5}):[ \t])"
)
_RANK_STARTS = frozenset(" [0123456789")
_LABELLED = re.compile(r"^ {0,3}[0-9]{1,5}:[ \t]", re.MULTILINE)
_PRODUCT = re.compile(r"[0-9]{1,18}(?: ?\* ?[0-9]{1,18}){1,7}")
_LONGEST_BLOCK = 5_000


def read_lines(path: Path, log: RunLog, *, complete: str = "\n") -> Iterator[str]:
    """Yield the lines of a text log without line ends, rank prefixes and terminal colours.

    A last line without a line end is still being written: it is left out and counted, as are
    lines over a mebibyte. Bytes that are not UTF-8 are replaced.

    Parameters
    ----------
    path : Path
        The log.
    log : RunLog
        Told of what was left out.
    complete : str
        What a whole line ends with, where that is more than a line end: a last line without a
        line end is kept when it ends so.

    Yields
    ------
    str

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    for _, line in read_ranked_lines(path, log, complete=complete):
        yield line


def read_ranked_lines(
    path: Path, log: RunLog, *, complete: str = "\n"
) -> Iterator[tuple[int | None, str]]:
    """Yield what `read_lines` does, each line with the rank that its prefix names."""
    try:
        with path.open("rb") as file:
            while raw := file.readline(LONGEST_LINE):
                if not raw.endswith(b"\n"):
                    if len(raw) < LONGEST_LINE:
                        if raw.endswith(complete.encode()):
                            yield ranked_line(raw.decode("utf-8", errors="replace"))
                            return
                        log.leave_out("line without a line end, taken as still being written")
                        return
                    while raw and not raw.endswith(b"\n"):
                        raw = file.readline(LONGEST_LINE)
                    log.leave_out("line longer than a mebibyte")
                    continue
                yield ranked_line(raw.decode("utf-8", errors="replace"))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}. Check the file and its mode."
        raise DataError(msg) from error


def plain_line(line: str) -> str:
    """Return a line without its end, its rank prefix and its terminal colours."""
    return ranked_line(line)[1]


def ranked_line(line: str) -> tuple[int | None, str]:
    """Return the rank in a line's prefix, or None, and the plain line."""
    line = line.rstrip("\r\n")
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    # A progress bar rewrites its line: what stands after the last carriage return is what is seen.
    if "\r" in line:
        line = line.rpartition("\r")[2]
    prefix = _RANK.match(line) if line[:1] in _RANK_STARTS else None
    if prefix is None:
        return None, line
    return int((prefix["named"] or prefix["bare"])[:9]), line[prefix.end() :]


def has_line(source: Source, pattern: re.Pattern[str]) -> bool:
    """Tell whether `pattern` is found in the plain text of the first 2 MiB.

    Job scripts, banners of every rank and listings of source may stand before the first record.

    Parameters
    ----------
    source : Source
        A folder or binary content has no such line.
    pattern : Pattern
        Compiled with ``re.MULTILINE``; each line is as `read_lines` gives it.
    """
    return pattern.search(opening(source)) is not None


def opening(source: Source) -> str:
    """Return the first 2 MiB as plain lines; empty for a folder or binary content."""
    text = source.head_text
    if not text:
        return ""
    if len(source.head) < HEAD_BYTES:
        return _plain(text)
    try:
        state = source.path.stat()
        return _opening(source.path, state.st_size, state.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=1)  # the readers ask for the same file one after the other
def _opening(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return _plain(file.read(OPENING_BYTES).decode("utf-8", errors="replace"))


def _plain(text: str) -> str:
    if _LABELLED.search(text) or any(mark in text for mark in ("\x1b", "\r", "[rank", "[default")):
        return "\n".join(map(plain_line, text.split("\n")))
    return text


def number(text: str) -> float | None:
    """Return a number as console logs write it, such as ``1,327.5``; None when it is none."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


class Columns:
    """Turns the named texts of a line into columns and numbers.

    Parameters
    ----------
    log : RunLog
        Told of what no number could be read from.
    names : mapping of str to str
        Column of each name in the log; others keep their own, up to `MOST_COLUMNS` of them.
    units : mapping of str to str
        Unit that ends the numbers of a name in the log.
    """

    def __init__(
        self,
        log: RunLog,
        names: Mapping[str, str] = MappingProxyType({}),
        units: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.log = log
        self._known = names
        self._units = units
        self._names: dict[str, str] = {}

    def take(self, texts: Iterable[tuple[str, str | None]]) -> dict[str, float]:
        """Return the numbers by column; None is absent, what is no number is counted.

        Parameters
        ----------
        texts : iterable of (str, str or None)
            Name and number as the log writes them.
        """
        values: dict[str, float] = {}
        for given, text in texts:
            if text is None:
                continue
            name = self._names.get(given) or self._name(given)
            if not name:
                self.log.leave_out(f"value beyond the first {MOST_COLUMNS} columns")
                continue
            value = number(text.removesuffix(self._units.get(given, "")))
            if value is None:
                self.log.leave_out("value that no number can be read from")
            else:
                values[name] = value
        return values

    def _name(self, given: str) -> str:
        if len(self._names) >= MOST_COLUMNS:
            return ""
        self._names[given] = self._known.get(given) or usable_name(given)
        return self._names[given]


def literal(text: str) -> float | str | bool | None:
    """Return the value of a setting as source code writes it; nothing is evaluated.

    Parameters
    ----------
    text : str
        Number, product of whole numbers such as ``8*64``, True, False or quoted text, and maybe
        a comment.

    Returns
    -------
    float, str, bool or None
        None for anything else.
    """
    text = text.strip()
    if text[:1] in ("'", '"'):
        end = text.find(text[0], 1)
        return text[1:end] if end > 0 else None
    text = text.partition("#")[0].strip()
    if text in ("True", "False"):
        return text == "True"
    if _PRODUCT.fullmatch(text):
        return float(math.prod(int(factor) for factor in text.split("*")))
    return number(text)


class JsonBlock:
    """Puts together a JSON object that a log prints indented over several lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def take(self, line: str) -> dict[str, Any] | None:
        """Take in a line; return the object when it ends here.

        Parameters
        ----------
        line : str
            The object starts with a line that ends in ``{`` and ends with one that starts with
            ``}``; a line between that is not indented shows that it was none.
        """
        if not self._lines:
            if line.endswith("{"):
                self._lines.append("{")
            return None
        if line[:1] not in (" ", "}") or len(self._lines) > _LONGEST_BLOCK:
            self._lines.clear()
            return None
        self._lines.append(line)
        if not line.startswith("}"):
            return None
        text = "\n".join(self._lines)
        self._lines.clear()
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

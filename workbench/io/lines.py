"""Lines of a console log, one at a time: prefixes of ranks and colours removed, torn tail left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from workbench.io.runlog import RunLog

LONGEST_LINE = 1 << 20
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# torchrun and srun --label put the rank before every line: "[rank0]: ", "[default0]:", "0: ".
_RANK = re.compile(r"^(?:\[(?:rank|default)(?P<named>\d+)\]:?|(?P<bare>\d{1,5}):)[ \t]")


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
    """
    with path.open("rb") as file:
        while raw := file.readline(LONGEST_LINE):
            if not raw.endswith(b"\n"):
                if len(raw) < LONGEST_LINE:
                    if raw.endswith(complete.encode()):
                        yield plain_line(raw.decode("utf-8", errors="replace"))
                        return
                    log.leave_out("line without a line end, taken as still being written")
                    return
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(LONGEST_LINE)
                log.leave_out("line longer than a mebibyte")
                continue
            yield plain_line(raw.decode("utf-8", errors="replace"))


def plain_line(line: str) -> str:
    """Return a line without its end, its rank prefix and its terminal colours."""
    line = line.rstrip("\r\n")
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    # A progress bar rewrites its line: what stands after the last carriage return is what is seen.
    line = line.rpartition("\r")[2]
    return _RANK.sub("", line)

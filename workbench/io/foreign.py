"""One clean error for whatever a library raises on a file it cannot make sense of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import DataError, WorkbenchError

_LONGEST = 300


@contextmanager
def foreign_library(path: Path) -> Iterator[None]:
    """Turn any error a library raises on a damaged file into a `DataError` that names the file.

    For calls into libraries that document no list of what they raise; the workbench's own code
    stays outside, so that its mistakes are seen as what they are.

    Parameters
    ----------
    path : Path
        The file or folder being read.
    """
    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:_LONGEST] or "no reason given"
        msg = (
            f"{path} cannot be read: {type(error).__name__}: {reason}. It is damaged, cut or not "
            "what it seems; export it again."
        )
        raise DataError(msg) from error

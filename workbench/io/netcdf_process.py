"""Read one NetCDF file and write its arrays as plain ``.npy`` files; run as a script, apart.

The HDF5 library loops for ever, or brings the process down, on some damaged files. In a process of
its own, under limits of time and memory, neither reaches the user. The file is run by its path, so
that it starts in a fraction of a second: it imports nothing of the workbench.

    python -P netcdf_process.py SOURCE FOLDER CPU_SECONDS MEMORY_BYTES
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(source: str, folder: str, seconds: int, memory: int) -> None:
    """Write ``0.npy``, ``1.npy``, … and ``index.json`` into an existing folder."""
    _limit(seconds, memory)
    from netCDF4 import Dataset

    variables = []
    with Dataset(source) as file:
        file.set_auto_maskandscale(False)
        file.set_auto_chartostring(False)
        for number, (name, variable) in enumerate(file.variables.items()):
            values = variable[...]
            if values.dtype.kind == "O":  # text of any length
                values = np.array(values, dtype=str)
            np.save(Path(folder) / f"{number}.npy", values, allow_pickle=False)
            variables.append(
                {"name": name, "dims": list(variable.dimensions), "attrs": _attrs(variable)}
            )
        index = {"variables": variables, "attrs": _attrs(file)}
    (Path(folder) / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _limit(seconds: int, memory: int) -> None:
    try:
        import resource
    except ImportError:  # no such limits on this system; the caller's clock still runs
        return
    used = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    memory += used * resource.getpagesize()
    for kind, limit in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory)):
        _, hard = resource.getrlimit(kind)
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lower, hard))


def _attrs(holder: Any) -> dict[str, Any]:
    return {name: _plain(holder.getncattr(name)) for name in holder.ncattrs()}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    except Exception as error:  # one line for the process that asked
        sys.exit(f"{type(error).__name__}: {error}")

"""Read one NetCDF file and write its arrays as plain ``.npy`` files, see `workbench.io.apart`.

The HDF5 library loops for ever, or brings the process down, on some damaged files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def main(source: str, folder: str) -> None:
    """Write ``0.npy``, ``1.npy``, … and ``index.json`` into an existing folder."""
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


def _attrs(holder: Any) -> dict[str, Any]:
    return {name: _plain(holder.getncattr(name)) for name in holder.ncattrs()}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value

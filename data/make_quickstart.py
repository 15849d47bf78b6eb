"""Make data/quickstart.nc, the family that ships with the workbench: train, then write.

Run from the repository root, in the project's environment:

    python data/make_quickstart.py

It takes about two minutes on two cores. The runs are those of the `quickstart` preset with more
seeds, so that the seed noise floor is well estimated.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import xarray as xr

from workbench.schema import add_history, record_names
from workbench.store import open_store
from workbench.training import FamilySpec, load_spec, parse_spec, train_family

TARGET = Path(__file__).with_name("quickstart.nc")
COMMAND = "python data/make_quickstart.py"
MATCHED_SEEDS, OTHER_SEEDS = [0, 1, 2, 3, 4], [0, 1, 2]


def shipped_spec() -> FamilySpec:
    """Return the `quickstart` preset with five seeds where matched and three elsewhere."""
    content = load_spec("quickstart").model_dump()
    matched, *others = content["group"]
    groups = [matched | {"seed": MATCHED_SEEDS}, *(g | {"seed": OTHER_SEEDS} for g in others)]
    return parse_spec(content | {"group": groups})


def write(runs: xr.Dataset, target: Path) -> None:
    """Write runs as compressed netCDF; records are rounded to float32, none is left out."""
    runs.attrs.pop("store_revision", None)
    runs.attrs["title"] = "Quickstart family of the collapse workbench"
    runs.attrs["license"] = "Apache-2.0"
    runs.attrs["comment"] = (
        "train_loss and eval_loss are H + mean(cross-entropy - true surprise of the tokens), H the "
        "exact entropy of the language: cross-entropy without the sampling noise of the text."
    )
    runs["train_loss"].attrs["long_name"] = "training loss, text sampling noise removed"
    runs["eval_loss"].attrs["long_name"] = "held-out loss, text sampling noise removed"
    squeeze = {"zlib": True, "complevel": 9, "shuffle": True}
    encoding = {name: squeeze | {"dtype": "float32"} for name in record_names(runs)}
    encoding["step"]["dtype"] = "int32"
    runs.to_netcdf(target, engine="netcdf4", encoding=encoding)


def main() -> None:
    """Train into a temporary store and write the family."""
    with tempfile.TemporaryDirectory() as folder:
        result = train_family(shipped_spec(), folder)
        store = open_store(folder)
        runs = store.runs()
        store.close()
    runs.attrs["history"] = ""
    write(add_history(runs, f"trained with: {COMMAND}"), TARGET)
    size = TARGET.stat().st_size / 1000
    sys.stdout.write(
        f"{TARGET}: {len(result.runs)} runs, {size:.0f} kB, trained in {result.seconds:.0f} s\n"
    )


if __name__ == "__main__":
    main()

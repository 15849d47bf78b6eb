"""A reference as a dataset in a file: what it holds, how it is written, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.schema import LossName
from workbench.watch.calibrate import Calibration
from workbench.watch.expected import Surrogate
from workbench.watch.members import GRID, Members

FORMAT = "workbench-reference"
FORMAT_VERSION = 1


def reference_data(
    members: Members,
    surrogate: Surrogate | None,
    healthy: Calibration,
    *,
    loss: LossName,
    name: str,
    note: str,
) -> xr.Dataset:
    """Put together what a reference holds; its version is the hash of its content."""
    data = _arrays(members, healthy).assign_attrs(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        name=name,
        loss=loss,
        run_ids=json.dumps(members.run_id),
        schedules=json.dumps(members.controls.schedule.tolist()),
        **asdict(healthy.wander),
        slope_sd=healthy.slope_sd,
        data_wander=members.data_wander,
        records=float(np.median([len(r.x) for r in members.records])),
        **{f"tail_{name}": value for name, value in asdict(healthy.tail).items()},
        wander_assumed=int(healthy.assumed),
        sisters=len(members.sisters),
        surrogate=json.dumps(None if surrogate is None else asdict(surrogate)),
        note=note,
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )
    return data.assign_attrs(version=_digest(data))


def _arrays(members: Members, healthy: Calibration) -> xr.Dataset:
    controls = members.controls
    shared, spread = members.shared()
    known = np.isfinite(shared)
    small = np.float32
    return xr.Dataset(
        {
            "log_shape": (("member", "progress"), members.log_shape.astype(small)),
            "lr_factor": (("member", "progress"), members.factors.astype(small)),
            "away": (("member", "progress"), members.away.astype(np.int8)),
            "final_loss": ("member", np.exp(members.log_final)),
            "own_noise": ("progress", healthy.own),
            "plain_noise": ("progress", healthy.plain),
            "band": ("progress", healthy.band.astype(small)),
            "shared": ("position", shared[known].astype(small)),
            "spread": ("position", spread[known].astype(small)),
            "simulated": ("draw", healthy.simulated.astype(small)),
            "score": ("watched", healthy.scores),
            "spike": ("watched", healthy.spikes),
        },
        coords={
            "model_size": ("member", controls.model_size),
            "tau": ("member", controls.tau),
            "tpp": ("member", controls.tpp),
            "warmup": ("member", controls.warmup),
            "progress": GRID,
            "position": members.position[known],
        },
    )


def _digest(data: xr.Dataset) -> str:
    """Hash every array and constant but the names and dates."""
    digest = hashlib.sha256()
    for name in sorted(map(str, data.variables)):
        values = data[name].to_numpy()
        digest.update(name.encode())
        digest.update(values.tobytes())
    ignored = ("name", "created", "version")
    kept = {k: v for k, v in sorted(data.attrs.items()) if k not in ignored}
    digest.update(repr([(k, str(v)) for k, v in kept.items()]).encode())
    return digest.hexdigest()


def _checked(data: xr.Dataset, source: Path) -> xr.Dataset:
    attrs = data.attrs
    if attrs.get("format") != FORMAT:
        msg = f"{source} is no reference of the workbench. Make one with Reference.from_runs(...)."
        raise DataError(msg)
    if int(attrs["format_version"]) > FORMAT_VERSION:
        msg = (
            f"{source} is a reference of format {attrs['format_version']}, and this version reads "
            f"up to {FORMAT_VERSION}. Update the workbench."
        )
        raise DataError(msg)
    if _digest(data) != attrs["version"]:
        msg = f"{source} is not as it was saved: its content has another hash. Make it again."
        raise DataError(msg)
    return data


def write_reference(data: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a reference; see `Reference.save`."""
    target = Path(path)
    if target.suffix not in (".nc", ".zarr"):
        msg = f"A reference is saved as .nc or .zarr, found {target.name!r}."
        raise ArgumentError(msg)
    if target.suffix == ".zarr":
        data.to_zarr(target, mode="w", consolidated=False)
        return target
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        data.to_netcdf(partial, engine="netcdf4")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def read_reference(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a reference; see `Reference.load`."""
    source = Path(path)
    if not source.exists():
        msg = f"There is no reference {str(source)!r}. Make one with Reference.from_runs(...)."
        raise ArgumentError(msg)
    try:
        opened = (
            xr.open_zarr(source, consolidated=False, chunks=None)
            if source.is_dir()
            else xr.open_dataset(source, engine="netcdf4")
        )
        with opened:
            data = opened.load()
    except (OSError, ValueError, KeyError) as error:
        msg = f"{source} cannot be read as a reference: {error}. Save it again."
        raise DataError(msg) from error
    return _checked(data, source)

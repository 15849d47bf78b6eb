"""Bring any ragged dataset to the schema, or say in one paragraph why it cannot be.

`conform` renames aliases, fixes dtypes and units, fills what follows from the rest and validates.
"""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from workbench.errors import DataError
from workbench.schema.fields import (
    LOSSES,
    SCHEMA,
    STATUSES,
    VERSION,
    canonical_record_name,
    canonical_run_name,
)
from workbench.schema.runs import (
    any_in_run,
    coordinate_names,
    make_runs,
    record_names,
    row_bounds,
    run_names,
)


def conform(ds: xr.Dataset, *, source: str = "the dataset") -> xr.Dataset:
    """Return `ds` in the schema: canonical names, dtypes, units, derived coordinates; validated.

    Parameters
    ----------
    ds : Dataset (run, obs)
        Ragged runs, possibly with the names of another tool or of an older schema version.
    source : str
        What to call the data in error messages.

    Returns
    -------
    Dataset (run, obs)

    Raises
    ------
    DataError
        If the data are not ragged runs, or break a rule that `validate` checks.
    """
    check_version(ds.attrs, source=source)
    if "row_size" not in ds.variables or not {"run", "obs"} <= set(ds.dims):
        msg = (
            f"{source} holds dims {dict(ds.sizes)} and variables {sorted(map(str, ds.variables))}: "
            "not runs. Runs need dims 'run' and 'obs' and the counts 'row_size(run)'; "
            "make them with workbench.schema.make_runs, or import a supported log instead."
        )
        raise DataError(msg)
    ds = ds.rename(_renames(ds))
    coords = {name: ds[name].to_numpy() for name in coordinate_names(ds)}
    records = {name: ds[name].to_numpy() for name in record_names(ds)}
    n_run = ds.sizes["run"]
    stated = coords.get("status", np.full(n_run, "")).astype(str)
    coords["status"] = np.where(stated == "", "done", stated)
    coords.setdefault("family", np.full(n_run, ""))
    runs = make_runs(coords, records, row_size=ds["row_size"].to_numpy(), attrs=_kept(ds.attrs))
    validate(runs, source=source)
    return derive(runs)


def check_version(attrs: dict[str, object], *, source: str) -> None:
    """Raise `DataError` when `attrs` declare a schema this software does not read."""
    declared = str(attrs.get("schema", f"{SCHEMA}/{VERSION}"))
    match = re.fullmatch(rf"{SCHEMA}/(\d+)", declared)
    if match is None:
        msg = f"{source} declares schema {declared!r}; the workbench reads {SCHEMA!r}."
        raise DataError(msg)
    if int(match.group(1)) > VERSION:
        msg = (
            f"{source} has schema version {match.group(1)}, newer than the {VERSION} this "
            "workbench reads. Upgrade with: pip install --upgrade collapse-workbench. "
            "Nothing was changed."
        )
        raise DataError(msg)


def _kept(attrs: dict[str, object]) -> dict[str, object]:
    own = ("schema", "Conventions", "featureType")
    return {key: value for key, value in attrs.items() if key not in own}


def _renames(ds: xr.Dataset) -> dict[str, str]:
    names = {}
    for name, variable in ((str(n), v) for n, v in ds.variables.items()):
        canonical = canonical_run_name(name) if variable.dims == ("run",) else name
        if variable.dims == ("obs",):
            canonical = canonical_record_name(name)
        if canonical != name and canonical not in ds.variables:
            names[name] = canonical
    return names


def validate(runs: xr.Dataset, *, source: str = "the dataset") -> None:
    """Check the rules every ragged dataset keeps.

    Raises
    ------
    DataError
        If counts do not add up, identifiers repeat or are empty, a step does not increase, a
        status is unknown, there is no loss at all, or a run has no finite loss.
    """
    sizes = runs["row_size"].to_numpy()
    names = run_names(runs)
    if (sizes < 0).any() or sizes.sum() != runs.sizes["obs"]:
        msg = (
            f"row_size of {source} adds up to {sizes.sum():.17g} records, found "
            f"{runs.sizes['obs']}. The file is damaged or was cut; export it again."
        )
        raise DataError(msg)
    unique, counts = np.unique(names, return_counts=True)
    if "" in unique or (counts > 1).any():
        bad = "an empty run_id" if "" in unique else f"run_id {str(unique[counts > 1][0])!r} twice"
        msg = f"{source} holds {bad}. Give every run a unique, non-empty run_id."
        raise DataError(msg)
    unknown = sorted(set(map(str, runs["status"].to_numpy())) - set(STATUSES))
    if unknown:
        msg = f"status {unknown[0]!r} in {source} is unknown. Use one of {', '.join(STATUSES)}."
        raise DataError(msg)
    _validate_steps(runs, names, source)
    _validate_losses(runs, names, source)


def _validate_steps(runs: xr.Dataset, names: list[str], source: str) -> None:
    steps, bounds = runs["step"].to_numpy(), row_bounds(runs)
    falls = np.flatnonzero(steps[1:] <= steps[:-1]) + 1
    falls = falls[~np.isin(falls, bounds)]
    if len(falls):
        run = int(np.searchsorted(bounds, falls[0], side="right")) - 1
        msg = (
            f"step of run {names[run]!r} in {source} goes from {steps[falls[0] - 1]} to "
            f"{steps[falls[0]]}. Steps must increase within a run; sort the records and keep "
            "the last one of each step."
        )
        raise DataError(msg)


def _validate_losses(runs: xr.Dataset, names: list[str], source: str) -> None:
    present = [loss for loss in LOSSES if loss in runs.variables]
    if not present:
        msg = (
            f"{source} has no loss: none of {', '.join(LOSSES)} among "
            f"{', '.join(record_names(runs))}. Rename the loss column to train_loss or eval_loss."
        )
        raise DataError(msg)
    finite = np.logical_or.reduce([np.isfinite(runs[loss].to_numpy()) for loss in present])
    lacking = ~any_in_run(finite, row_bounds(runs)) & (runs["row_size"].to_numpy() > 0)
    if lacking.any():
        msg = (
            f"run {names[int(lacking.argmax())]!r} in {source} has no finite loss: all its "
            f"values of {', '.join(present)} are NaN or infinite. Drop the run or log its loss."
        )
        raise DataError(msg)


def derive(runs: xr.Dataset) -> xr.Dataset:
    """Fill run coordinates that follow from others; a recorded value is never replaced.

    D = B·steps = TPP·N; τ = 1/(ηλ·steps) = B/(ηλD) (Bergsma et al. 2025, section 2);
    compute = 6ND.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Validated ragged runs.

    Returns
    -------
    Dataset (run, obs)
        With ``model_size, tau, tau_steps, tpp, tokens_total, total_steps, batch_size, peak_lr,
        weight_decay, compute_total, seed`` (NaN where neither recorded nor implied) and
        ``schedule`` ("" where not recorded).
    """
    nan = np.full(runs.sizes["run"], np.nan)

    def get(name: str) -> np.ndarray:
        known = name in runs.variables and runs[name].dims == ("run",)
        return runs[name].to_numpy().astype(float) if known else nan.copy()

    size, tpp, tokens, steps = map(get, ("model_size", "tpp", "tokens_total", "total_steps"))
    batch, lr, decay = map(get, ("batch_size", "peak_lr", "weight_decay"))
    with np.errstate(divide="ignore", invalid="ignore"):
        tokens = _fill(tokens, batch * steps, tpp * size)
        tpp = _fill(tpp, tokens / size)
        size = _fill(size, tokens / tpp)
        steps = _fill(steps, np.round(tokens / batch))
        batch = _fill(batch, tokens / steps)
        tau_steps = _fill(get("tau_steps"), 1 / (lr * decay))
        tau = _fill(get("tau"), tau_steps / steps)
        tau_steps = _fill(tau_steps, tau * steps)
        compute = _fill(get("compute_total"), 6 * size * tokens)
    filled = {
        "model_size": size,
        "tau": tau,
        "tau_steps": tau_steps,
        "tpp": tpp,
        "tokens_total": tokens,
        "total_steps": steps,
        "batch_size": batch,
        "peak_lr": lr,
        "weight_decay": decay,
        "compute_total": compute,
        "seed": get("seed"),
    }
    coords: dict[str, object] = {name: runs[name].to_numpy() for name in coordinate_names(runs)}
    coords.setdefault("schedule", np.full(runs.sizes["run"], ""))
    records = {name: runs[name].to_numpy() for name in record_names(runs)}
    filled = {name: values for name, values in filled.items() if name not in records}
    return make_runs(
        coords | filled,  # type: ignore[arg-type]
        records,
        row_size=runs["row_size"].to_numpy(),
        attrs=_kept(runs.attrs),
    )


def _fill(known: np.ndarray, *implied: np.ndarray) -> np.ndarray:
    for guess in implied:
        known = np.where(np.isnan(known), guess, known)
    return known

"""What the What-if page takes from the store: curves, the fitted surrogate, final losses."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse import TRAIN_SMOOTHING, largest_matched, replicate_cells
from workbench.curves import POINTS, is_complete, smooth
from workbench.errors import DataError
from workbench.forecast import SLIMPAJAMA_LLAMA, fit_surrogate, learning_rate_factors
from workbench.forecast.borrowed import BorrowedFit, borrow_exponents
from workbench.forecast.end_laws import EndLaw, end_laws
from workbench.forecast.surrogate import START
from workbench.laws.noisy_quadratic import NearestMode, nearest_mode
from workbench.schema import LossName, coordinate_names, take_runs
from workbench.views.run_table import losses_of, run_table

MOST_RUNS, MOST_FITTED, MOST_CURVES = 600, 80, 300
_KEPT = 8
USUAL_TAU = 0.2
_GRID, _BELOW, _BEYOND = 121, np.log(1e2), np.log(1e6)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """One setting of the store, averaged over its seeds.

    Parameters
    ----------
    runs : int
        How many seeds.
    size, tau, tpp : float
        Its parameters and controls; NaN where not recorded.
    schedule : str
        Name of its schedule, "" where not recorded.
    loss, ell : ndarray of shape (POINTS,)
        Loss [nats/token] and normalised loss.
    factor : ndarray of shape (POINTS,)
        Learning rate as a share of its peak; NaN where not known.
    """

    runs: int
    size: float
    tau: float
    tpp: float
    schedule: str
    loss: Floats
    ell: Floats
    factor: Floats


@dataclass(frozen=True)
class FamilyData:
    """One family of the store.

    Parameters
    ----------
    loss_name : str
        Which loss; "" without runs.
    n_runs, n_done, n_told : int
        Runs of the family, finished ones among those read, and among these the ones whose
        learning rate is known.
    settings : tuple of Setting
        What is drawn.
    n_settings : int
        Settings found; more than are drawn where there are too many.
    fit : BorrowedFit or None
        The surrogate fitted to the finished runs.
    problem : str
        Why there is no fit, "" if there is.
    ends : tuple of EndLaw
        Final loss against compute of every group with enough sizes.
    intervals : tuple of ndarray of shape (3, point)
        For each of `ends`: log compute [PFLOP] at equal steps, and the logarithms of both ends
        of the final loss there. The search for an end is the library's; the page interpolates.
    mode : NearestMode or None
        The noisy-quadratic mode nearest to the settings, those that record τ if any does.
    assumed_tau : bool
        Whether `mode` takes every τ for `USUAL_TAU`, since none is recorded.
    first : dict of str to Any
        Run coordinates of the largest setting of the largest matched group; empty without runs.
    first_factor : ndarray or None
        Its learning rate.
    """

    loss_name: str
    n_runs: int
    n_done: int
    n_told: int
    settings: tuple[Setting, ...]
    n_settings: int
    fit: BorrowedFit | None
    problem: str
    ends: tuple[EndLaw, ...]
    intervals: tuple[Floats, ...]
    mode: NearestMode | None
    assumed_tau: bool
    first: dict[str, object]
    first_factor: Floats | None


def families_of(runs: xr.Dataset) -> tuple[str, ...]:
    """Return the names of the families, the largest first."""
    if not runs.sizes["run"]:
        return ()
    names, counts = np.unique(runs["family"].to_numpy().astype(str), return_counts=True)
    return tuple(str(n) for n in names[np.argsort(-counts, kind="stable")])


_kept: OrderedDict[str, FamilyData] = OrderedDict()
_lock = Lock()


def family_data(runs: xr.Dataset, family: str) -> FamilyData:
    """Read one family, and fit what can be fitted.

    Visitors of one store share the result: what they would fit is the same.

    Parameters
    ----------
    runs : Dataset (run, obs)
        All runs.
    family : str
        Which family.
    """
    rows = runs["family"].to_numpy().astype(str) == family if runs.sizes["run"] else np.array([])
    if not rows.any():
        return _without("The store holds no runs yet.", 0)
    own = take_runs(runs, rows)
    key = _fingerprint(own)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = _read(own)
    with _lock:
        _kept[key] = found
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return found


def _without(problem: str, n_runs: int) -> FamilyData:
    return FamilyData("", n_runs, 0, 0, (), 0, None, problem, (), (), None, False, {}, None)


def _fingerprint(runs: xr.Dataset) -> str:
    digest = hashlib.sha256()
    for name in (*coordinate_names(runs), *losses_of(runs), "row_size"):
        values = runs[name].to_numpy()
        text = values.dtype.kind in "UO"
        digest.update("\0".join(map(str, values)).encode() if text else values.tobytes())
        digest.update(name.encode())
    return digest.hexdigest()


def _read(runs: xr.Dataset) -> FamilyData:
    n_runs = int(runs.sizes["run"])
    few = take_runs(runs, spread(n_runs, MOST_RUNS)) if n_runs > MOST_RUNS else runs
    names = losses_of(few)
    if not names:
        return _without("The runs of this family have no loss.", n_runs)
    loss = names[0]
    table = run_table(few, loss=loss, points=POINTS)
    if not table.n_runs:
        return _without("No run of this family has a loss and a planned length.", n_runs)
    few, curves = table.runs, table.curves
    if loss == "train_loss":
        curves = smooth(curves, width=TRAIN_SMOOTHING)
    done = np.flatnonzero(is_complete(curves).to_numpy())
    if not len(done):
        return _without("No run of this family has finished.", n_runs)
    finished, curves = take_runs(few, done), curves.isel(run=done)
    factors = _factors(finished)
    settings = _settings(curves, factors)
    told = np.flatnonzero(np.isfinite(factors).all(axis=1))
    fit, problem = _fitted(take_runs(finished, told[spread(len(told), MOST_FITTED)]), loss)
    at = _first(curves)
    ends = end_laws(take_runs(finished, told), loss=loss) if len(told) else ()
    return FamilyData(
        loss_name=loss,
        n_runs=n_runs,
        n_done=len(done),
        n_told=len(told),
        settings=tuple(settings[i] for i in spread(len(settings), MOST_CURVES)),
        n_settings=len(settings),
        fit=fit,
        problem=problem,
        ends=ends,
        intervals=tuple(_interval(law) for law in ends),
        mode=_mode(settings),
        assumed_tau=not any(s.tau > 0 for s in settings),
        first={str(n): curves[n].to_numpy()[at] for n in coordinate_names(finished)},
        first_factor=factors[at] if np.isfinite(factors[at]).all() else None,
    )


def spread(n: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` positions of `n`, evenly spread."""
    return np.unique(np.linspace(0, max(n - 1, 0), min(n, most)).round().astype(np.int64))


def _factors(runs: xr.Dataset) -> Floats:
    """Return the learning rate of every run over its peak; NaN where nothing tells it."""
    try:
        return np.asarray(learning_rate_factors(runs, points=POINTS).to_numpy())
    except DataError:
        if runs.sizes["run"] == 1:
            return np.full((1, POINTS), np.nan)
    return np.vstack([_factors(take_runs(runs, np.array([i]))) for i in range(runs.sizes["run"])])


def _settings(curves: xr.DataArray, factors: Floats) -> list[Setting]:
    values = curves.to_numpy()
    columns = {name: curves[name].to_numpy() for name in ("model_size", "tau", "tpp", "schedule")}
    found = []
    for rows in replicate_cells(curves):
        loss = values[rows]
        first = {name: column[rows[0]] for name, column in columns.items()}
        found.append(
            Setting(
                runs=len(rows),
                size=float(first["model_size"]),
                tau=float(first["tau"]),
                tpp=float(first["tpp"]),
                schedule=str(first["schedule"]),
                loss=loss.mean(axis=0),
                ell=(loss / loss[:, -1:]).mean(axis=0),
                factor=factors[rows].mean(axis=0),
            )
        )
    return found


def _fitted(runs: xr.Dataset, loss: LossName) -> tuple[BorrowedFit | None, str]:
    if runs.sizes["run"] < 3:
        return None, (
            f"The surrogate needs three finished runs whose learning rate is known, and this "
            f"family has {runs.sizes['run']}."
        )
    try:
        own = fit_surrogate(runs, loss=loss)
    except DataError as error:
        return None, str(error)
    return borrow_exponents(own, SLIMPAJAMA_LLAMA), ""


def _interval(law: EndLaw) -> Floats:
    """Return log compute, from far below the law's runs to far beyond, and both ends there."""
    fitted = law.band.log_compute + law.band.centre
    log_compute = np.linspace(fitted.min() - _BELOW, fitted.max() + _BEYOND, _GRID)
    losses = [law.band.at(float(np.exp(value))).loss for value in log_compute]
    ends = np.array([[e.lower for e in losses], [e.upper for e in losses]])
    return np.vstack([log_compute, np.log(ends)])


def _mode(settings: list[Setting]) -> NearestMode | None:
    told = [s for s in settings if np.isfinite(s.factor).all() and np.isfinite(s.ell[-1])]
    known = [s for s in told if s.tau > 0] or told
    if not known:
        return None
    ell, factor = np.stack([s.ell for s in known]), np.stack([s.factor for s in known])
    missing = int(np.isnan(ell).any(axis=0).sum())  # before the first record of the latest
    tau = np.array([s.tau if s.tau > 0 else USUAL_TAU for s in known])
    return nearest_mode(ell, factor, tau, since=max(START, (missing + 1) / POINTS))


def _first(curves: xr.DataArray) -> int:
    _, rows = largest_matched(curves)
    size = curves["model_size"].to_numpy()[rows]
    return int(rows[int(np.argmax(np.where(np.isfinite(size), size, -np.inf)))])

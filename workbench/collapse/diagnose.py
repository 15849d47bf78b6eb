"""Why is a run off the curve? Rank its coordinates by how much of its residual they explain."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse.causes import COORDINATES, Cause, Diagnosis
from workbench.collapse.groups import CONTROL_TOLERANCE, largest_matched
from workbench.curves import snap
from workbench.errors import ArgumentError, DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CurveModel = Callable[[xr.Dataset], xr.DataArray]
"""Takes the coordinates of runs, Dataset (run), gives their normalised curves (run, progress)."""

LEVEL = 0.95
_DRAWS = 200
_TIED = 0.95


def diagnose(
    normalized: xr.DataArray,
    run_id: str,
    *,
    start: float = 0.2,
    models: Mapping[str, CurveModel] | None = None,
    rng: int = 0,
) -> Diagnosis:
    """Rank the coordinates of a run by how much of its residual they explain.

    Parameters
    ----------
    normalized : DataArray (run, progress)
        Normalised curves of the family, of the run, and of any other runs that may show what a
        coordinate does, all with one offset.
    run_id : str
        The run in question.
    start : float
        Residuals are looked at from here on.
    models : mapping of str to callable, optional
        Curve models by name. Each is asked for the family's curve with and without the run's value
        of one coordinate; their ratio is what the coordinate does.
    rng : int
        Source of the draws behind the intervals.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ArgumentError
        If `run_id` is not among the curves.
    DataError
        If no other run is there to compare with.

    Notes
    -----
    Without a model, what a value does is read from other runs: the mean curve of the runs with
    that value over the family's, interpolated in the logarithm of the value between the nearest
    values on both sides. Runs that differ from the family in that coordinate alone are preferred;
    where there are none, all are used and ``alone`` is False. Nothing is extrapolated: beyond the
    last value its own curve is taken.
    """
    names = normalized["run_id"].to_numpy().astype(str)
    if run_id not in names:
        msg = f"No run {run_id!r} among the {len(names)} curves. Give a run_id that is compared."
        raise ArgumentError(msg)
    if len(names) < 2:
        msg = f"Run {run_id!r} is alone: there is no family to compare it with. Widen --where."
        raise DataError(msg)
    case = _Case(
        _with_warmup(normalized.transpose("run", ...)),
        int(np.flatnonzero(names == run_id)[0]),
        start,
    )
    generator = np.random.default_rng(rng)
    found = [case.from_neighbours(name, generator) for name in case.changed]
    for label, model in (models or {}).items():
        found += [case.from_model(name, label, model) for name in case.changed]
    ranked = sorted(found, key=lambda c: -np.inf if c.explained is None else c.explained)
    residual = xr.DataArray(
        case.residual[case.run],
        dims="progress",
        coords={"progress": case.progress},
        name="residual",
    )
    return Diagnosis(run_id, residual, tuple(ranked[::-1]), tuple(map(str, names[case.family])))


class _Case:
    """The run, its family, the residuals of all runs about the family's mean curve."""

    def __init__(self, curves: xr.DataArray, run: int, start: float) -> None:
        self.curves, self.run = curves, run
        others = np.flatnonzero(np.arange(curves.sizes["run"]) != run)
        _, rows = largest_matched(curves.isel(run=others))
        self.others, self.family = others, others[rows]
        values = curves.to_numpy()
        whole = np.isfinite(values).all(axis=0)
        self.window = whole & (curves["progress"].to_numpy() >= start)
        self.progress = curves["progress"].to_numpy()[self.window]
        late = values[:, self.window]
        self.residual = late / late[self.family].mean(axis=0) - 1
        present = [n for n in COORDINATES if n in curves.coords]
        self.labels = {n: _labels(curves[n].to_numpy()) for n in present}
        self.usual = {n: _most(self.labels[n][self.family]) for n in present}
        self.changed = [n for n in present if self._differs(n)]

    def _differs(self, name: str) -> bool:
        label = self.labels[name][self.run]
        known = label not in ("", "nan") and self.usual[name] not in ("", "nan")
        return bool(known and label != self.usual[name])

    def _explained(self, effect: Floats, residual: Floats) -> Floats:
        left = ((residual - effect) ** 2).sum(axis=-1)
        return np.asarray(1 - left / (residual**2).sum(axis=-1))

    def from_neighbours(self, name: str, rng: np.random.Generator) -> Cause:
        pool, alone = self._pool(name)
        groups, weights = self._between(name, pool)
        own = self.residual[self.run]
        if not groups:
            return self._cause(name, None, None, 0, alone, (), "neighbours")
        effect = sum(
            w * self.residual[rows].mean(axis=0) for w, rows in zip(weights, groups, strict=True)
        )
        noise = self.residual[self.family]
        drawn = own + noise[rng.integers(0, len(noise), _DRAWS)]
        moved = sum(
            w * self.residual[rows[rng.integers(0, len(rows), (_DRAWS, len(rows)))]].mean(axis=1)
            for w, rows in zip(weights, groups, strict=True)
        )
        tail = (1 - LEVEL) / 2
        shares = self._explained(np.asarray(moved), drawn)
        low, high = np.quantile(shares, [tail, 1 - tail])
        value = float(self._explained(np.asarray(effect), own))
        behind = np.concatenate(groups)
        tied = self._tied(name, behind)
        interval = (min(float(low), value), max(float(high), value))
        return self._cause(name, value, interval, len(behind), alone, tied, "neighbours")

    def _pool(self, name: str) -> tuple[Ints, bool]:
        """Return the runs that show what a coordinate does, and whether they differ in it alone."""
        same = np.ones(len(self.others), bool)
        for other, labels in self.labels.items():
            if other != name:
                same &= labels[self.others] == self.usual[other]
        moved = self.labels[name][self.others] != self.usual[name]
        if (same & moved).any():
            return self.others[same], True
        return self.others, False

    def _between(self, name: str, pool: Ints) -> tuple[list[Ints], list[float]]:
        """Return the groups of runs on both sides of the run's value, and their weights."""
        labels = self.labels[name][pool]
        exact = pool[labels == self.labels[name][self.run]]
        if len(exact):
            return [exact], [1.0]
        values = self.curves[name].to_numpy()
        if not np.issubdtype(values.dtype, np.number):
            return [], []
        with np.errstate(divide="ignore", invalid="ignore"):
            position = np.log(values.astype(np.float64))
        known = pool[np.isfinite(position[pool])]
        if not np.isfinite(position[self.run]) or not len(known):
            return [], []
        away = position[known] - position[self.run]
        sides = [known[away < 0], known[away > 0]]
        nearest = [
            side[self.labels[name][side] == self.labels[name][side[np.abs(gap).argmin()]]]
            for side in sides
            if len(side)
            for gap in [position[side] - position[self.run]]
        ]
        gaps = [float(np.abs(position[rows] - position[self.run]).mean()) for rows in nearest]
        if len(nearest) == 1:
            only = self.labels[name][nearest[0][0]] == self.usual[name]
            return ([], []) if only else (nearest, [1.0])
        return nearest, [gaps[1] / sum(gaps), gaps[0] / sum(gaps)]

    def _tied(self, name: str, behind: Ints) -> tuple[str, ...]:
        """Return what else splits family and neighbours as this coordinate does."""
        runs = np.concatenate([self.family, behind])
        mine = self.labels[name][runs] == self.usual[name]
        splits = {n: self.labels[n][runs] == self.usual[n] for n in self.changed if n != name}
        size = self.curves["model_size"].to_numpy()
        splits["model_size"] = size[runs] != size[self.run]
        return tuple(n for n, split in splits.items() if (split == mine).mean() >= _TIED)

    def from_model(self, name: str, label: str, model: CurveModel) -> Cause:
        """Ask a curve model what the run's value of one coordinate does to the family's curve."""
        family = self.family[0]
        frame = self.curves.isel(run=[family, family]).drop_vars("progress").coords.to_dataset()
        column = self.curves[name].to_numpy()
        usual = column[self.family][self.labels[name][self.family] == self.usual[name]][0]
        frame = frame.assign_coords(
            {name: ("run", np.array([usual, column[self.run]], dtype=column.dtype))}
        )
        with_usual, with_own = model(frame).interp(progress=self.progress).to_numpy()
        value = float(self._explained(with_own / with_usual - 1, self.residual[self.run]))
        return self._cause(name, value, None, 0, True, (), label)

    def _cause(
        self,
        name: str,
        explained: float | None,
        interval: tuple[float, float] | None,
        neighbours: int,
        alone: bool,
        tied: tuple[str, ...],
        source: str,
    ) -> Cause:
        column = self.curves[name].to_numpy()
        usual = column[self.family][self.labels[name][self.family] == self.usual[name]]
        low, high = interval or (None, None)
        return Cause(
            coordinate=name,
            value=_plain(column[self.run : self.run + 1]),
            usual=_plain(usual),
            explained=explained,
            lower=low,
            upper=high,
            neighbours=neighbours,
            alone=alone,
            tied_with=tied,
            source=source,
        )


def _with_warmup(curves: xr.DataArray) -> xr.DataArray:
    """Fill ``warmup_fraction`` from ``warmup_steps`` where only those were recorded."""
    if not {"warmup_steps", "total_steps"} <= set(curves.coords):
        return curves
    share = curves["warmup_steps"] / curves["total_steps"]
    if "warmup_fraction" in curves.coords:
        share = curves["warmup_fraction"].fillna(share)
    return curves.assign_coords(warmup_fraction=("run", share.to_numpy()))


def _labels(values: NDArray[np.generic]) -> NDArray[np.str_]:
    if not np.issubdtype(values.dtype, np.number):
        return values.astype(str)
    snapped = snap(values, tolerance=CONTROL_TOLERANCE)
    return np.array([f"{value:.6g}" for value in snapped])


def _most(labels: NDArray[np.str_]) -> str:
    found, counts = np.unique(labels, return_counts=True)
    return str(found[counts.argmax()])


def _plain(values: NDArray[np.generic]) -> float | str:
    if np.issubdtype(values.dtype, np.number):
        return float(np.median(values.astype(np.float64)))
    return str(values[0])

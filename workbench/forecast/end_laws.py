"""Final loss against compute for every group of runs with the same controls and learning rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.collapse import control_labels
from workbench.curves import POINTS, default_loss, final_loss, is_complete, on_progress
from workbench.errors import DataError
from workbench.forecast.learning_rate import learning_rate_factors
from workbench.forecast.planned import SAME_TPP
from workbench.laws import PFLOP
from workbench.laws.extrapolation import PowerLawBand, power_law_band
from workbench.schema import LossName, take_runs

SIMILAR_TAU = 1.5
"""Ratio of τ up to which the final loss counts as that of the same τ: its optimum is flat."""
SIMILAR_RATE = 0.04
"""Mean difference, in shares of the peak, up to which two learning rates count as the same."""
_SIZES = 3


@dataclass(frozen=True)
class EndLaw:
    """The power law of one group's end points.

    Parameters
    ----------
    label : str
        Schedule, τ and tokens per parameter of the group.
    tau : float
        Geometric mean of the group's; NaN where not recorded.
    tpp_range : (float, float)
        Smallest and largest tokens per parameter.
    lr_factor : ndarray of shape (POINTS,)
        Mean learning rate as a share of its peak.
    band : PowerLawBand
        Final loss [nats/token] against compute [PFLOP].
    n_runs : int
        Runs in the group.
    """

    label: str
    tau: float
    tpp_range: tuple[float, float]
    lr_factor: NDArray[np.float64]
    band: PowerLawBand
    n_runs: int

    def holds_at(self, *, tau: float, tpp: float, lr_factor: ArrayLike) -> bool:
        """Return whether a run with these controls belongs to the group.

        TPP up to 5 % beyond the group's, τ within a factor of 1.5 (any where the group records
        none), and the learning rate within 4 % of the peak on average.
        """
        low, high = self.tpp_range
        same_tpp = low * (1 - SAME_TPP) <= tpp <= high * (1 + SAME_TPP)
        ratio = self.tau / tau if np.isfinite(self.tau) else 1.0
        away = float(np.abs(self.lr_factor - np.asarray(lr_factor, dtype=np.float64)).mean())
        return bool(same_tpp and 1 / SIMILAR_TAU <= ratio <= SIMILAR_TAU and away <= SIMILAR_RATE)


def end_laws(runs: xr.Dataset, *, loss: LossName | None = None) -> tuple[EndLaw, ...]:
    """Fit the final loss of every group that has three sizes or more.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs of one family, with a recorded or named learning rate. Unfinished runs are left
        out.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default `default_loss`.

    Returns
    -------
    tuple of EndLaw
        Groups share their controls, as `control_labels`, and their learning rate; those that no law
        fits, or that do not record compute and tokens per parameter, are left out.

    Raises
    ------
    DataError
        If a learning rate is neither recorded nor named.
    """
    curves = on_progress(runs, loss=default_loss(runs) if loss is None else loss)
    done = is_complete(curves).to_numpy()
    labels = np.array(control_labels(curves))
    factors = learning_rate_factors(take_runs(runs, done), points=POINTS).to_numpy()
    whole = curves.isel(run=np.flatnonzero(done))
    laws = []
    for rows in _groups(labels[done], factors):
        band = _band(whole.isel(run=rows))
        if band is not None:
            tau, tpp = (whole[name].to_numpy()[rows] for name in ("tau", "tpp"))
            span = (float(tpp.min()), float(tpp.max()))
            label = str(labels[done][rows[0]])
            laws.append(EndLaw(label, _mean(tau), span, factors[rows].mean(0), band, len(rows)))
    return tuple(laws)


def _groups(labels: NDArray[np.str_], factors: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Return runs that share label and learning rate: a name may stand for several decays."""
    groups: list[list[int]] = []
    for i, (label, factor) in enumerate(zip(labels, factors, strict=True)):
        for rows in groups:
            away = np.abs(factors[rows[0]] - factor).mean()
            if labels[rows[0]] == label and away <= SIMILAR_RATE:
                rows.append(i)
                break
        else:
            groups.append([i])
    return [np.array(rows) for rows in groups]


def _band(group: xr.DataArray) -> PowerLawBand | None:
    size, compute = group["model_size"].to_numpy(), group["compute_total"].to_numpy()
    final = final_loss(group).to_numpy()
    levels = np.unique(size[np.isfinite(size)])
    known = np.isfinite(compute).all() and np.isfinite(group["tpp"].to_numpy()).all()
    if len(levels) < _SIZES or not known:
        return None
    rows = [size == value for value in levels]
    try:
        return power_law_band(
            [compute[row].mean() / PFLOP for row in rows], [final[row].mean() for row in rows]
        )
    except DataError:  # fewer than three different computes: no law, and the page says so
        return None


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.exp(np.log(values).mean())) if np.isfinite(values).all() else float("nan")

"""Best learning rate, batch size and AdamW timescale against size and tokens, from tuning grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench.errors import ArgumentError, DataError
from workbench.laws import kernels_optimum as kernels
from workbench.laws.estimate import LEVEL, Estimate, FittedLaw
from workbench.laws.kernels import Floats
from workbench.laws.points import positive_points

WINDOW = 0.02
NEAR_BEST = 0.0025
_NEAR_DRAWS = 1000
_FEWEST_CELLS = 5
_FEWEST_RATIOS = 3


@dataclass(frozen=True, kw_only=True)
class OptimumFit(FittedLaw):
    """Fitted η* = c_η·N^p·D^q, B* = c_B·D^r [tokens], τ* = c_τ·TPP^m.

    Parameters
    ----------
    lr_scale, lr_N, lr_D : Estimate
        c_η, p and q of the best peak learning rate.
    batch_scale, batch_D : Estimate
        c_B and r of the best batch size.
    tau_scale, tau_TPP : Estimate or None
        c_τ and m of the best timescale τ = B/(ηλD); None without the weight decay.
    batch_N : Estimate
        Exponent of N where the batch size may depend on it too.
    near_best : mapping of str to Estimate
        ``lr_N``, ``lr_D`` and ``batch_D`` of the same runs by the procedure of Li et al. 2025: one
        regression of all runs within 0.25 % of the least loss of their grid, redrawn 1000 times.
        Where it agrees with this fit and not with the published law, the runs differ, not the
        method.
    cells : Dataset (cell)
        Size, tokens, best learning rate, batch and τ of every grid, and by how much of the loss
        the fitted (``excess``) and the published law (``excess_published``) miss its minimum.
    """

    lr_scale: Estimate
    lr_N: Estimate
    lr_D: Estimate
    batch_scale: Estimate
    batch_D: Estimate
    batch_N: Estimate
    tau_scale: Estimate | None
    tau_TPP: Estimate | None
    near_best: Mapping[str, Estimate]
    cells: xr.Dataset = field(repr=False, compare=False)

    law = "optimum"
    formula = "lr = c * N**p * D**q; batch = c * D**r, in tokens; tau = c * TPP**m"
    names = ("lr_scale", "lr_N", "lr_D", "batch_scale", "batch_D", "batch_N")
    published: ClassVar[dict[str, float]] = {
        "lr_scale": 1.79,
        "lr_N": -0.713,
        "lr_D": 0.307,
        "batch_scale": 0.58,
        "batch_D": 0.571,
        "batch_N": 0.0,
        "tau_scale": 1.084,
        "tau_TPP": -0.527,
    }
    """Li et al. 2025 (arXiv:2503.04715) for η and B, Bergsma et al. 2025 (arXiv:2505.13738) for τ.
    """

    @property
    def params(self) -> dict[str, Estimate]:
        """Return the parameters by name, those of τ where they were fitted."""
        found = super().params
        if self.tau_scale is not None and self.tau_TPP is not None:
            found |= {"tau_scale": self.tau_scale, "tau_TPP": self.tau_TPP}
        return found

    def to_dict(self) -> dict[str, object]:
        """Return the fit as plain numbers and text."""
        cells = {
            name: self.cells[name].to_numpy().tolist()
            for name in map(str, self.cells.variables)
            if self.cells[name].dims == ("cell",)
        }
        published = {name: self.published[name] for name in self.params}
        near = {name: found.to_dict() for name, found in self.near_best.items()}
        more = {"published": published, "published_procedure": near, "cells": cells}
        return super().to_dict() | more

    def predict(self, model_size: ArrayLike, tokens_total: ArrayLike) -> tuple[Floats, Floats]:
        """Return the best peak learning rate and batch size [tokens]."""
        return _recommend(
            {name: found.estimate for name, found in self.params.items()},
            np.asarray(model_size, np.float64),
            np.asarray(tokens_total, np.float64),
        )

    def __str__(self) -> str:
        rows = [
            f"published {name} = {value:g}"
            for name, value in self.published.items()
            if name in self.params and name != "batch_N"
        ]
        rows += [
            f"published procedure on these runs {name} = {found}"
            for name, found in self.near_best.items()
        ]
        missed = [
            f"{title}: {100 * float(self.cells[name].mean()):.3f} % of the loss above the minimum"
            for name, title in (("excess", "this law"), ("excess_published", "published law"))
        ]
        return "\n".join([super().__str__(), *rows, *missed])


def fit_optimum(
    model_size: ArrayLike,
    tokens_total: ArrayLike,
    peak_lr: ArrayLike,
    batch_size: ArrayLike,
    loss: ArrayLike,
    *,
    weight_decay: ArrayLike | None = None,
    window: float = WINDOW,
    level: float = LEVEL,
) -> OptimumFit:
    """Fit how the best learning rate and batch size move with size and tokens.

    Parameters
    ----------
    model_size, tokens_total : array-like of shape (point,)
        Parameters N and tokens D; every (N, D) is one tuning grid.
    peak_lr, batch_size : array-like of shape (point,)
        Peak learning rate η and batch size B [tokens] of each run.
    loss : array-like of shape (point,)
        Final loss [nats/token]; smoothed, since a grid compares losses that differ by 0.1 %.
    weight_decay : array-like of shape (point,), optional
        AdamW decay λ, for τ = B/(ηλD); one number for all will do.
    window : float
        Each grid's bowl is fitted to the runs whose log loss lies within this of its least.
    level : float
        Level of the intervals.

    Returns
    -------
    OptimumFit

    Raises
    ------
    ArgumentError
        If `window` is not positive.
    DataError
        If a value is not positive and finite, or fewer than five grids surround a minimum.

    Notes
    -----
    Per grid a cubic of log loss in (log η, log B), robustly; then straight lines through the
    logs of the minima. The intervals are Student's t of those lines: they count what the grids
    disagree about, whatever the reason.
    """
    if not window > 0:
        msg = f"window must be a positive log loss, found {window}."
        raise ArgumentError(msg)
    columns = positive_points(
        model_size=model_size,
        tokens_total=tokens_total,
        peak_lr=peak_lr,
        batch_size=batch_size,
        loss=loss,
    )
    decay = None
    if weight_decay is not None:
        full = np.broadcast_to(np.asarray(weight_decay, np.float64), columns[0].shape)
        (decay,) = positive_points(weight_decay=full)
    n, d, tpp_decay, bowls, refused = _bowls(columns, decay, window)
    log_lr, log_batch = np.array([bowl.centre for bowl in bowls]).T
    near = _near_best(columns, level)
    one = np.ones(len(n))
    lr = kernels.regress(np.stack([one, np.log(n), np.log(d)], 1), log_lr, level=level)
    batch = kernels.regress(np.stack([one, np.log(d)], 1), log_batch, level=level)
    free = kernels.regress(np.stack([one, np.log(n), np.log(d)], 1), log_batch, level=level)
    tau = None
    if decay is not None:
        log_tau = log_batch - log_lr - np.log(tpp_decay) - np.log(d)
        tau = kernels.regress(np.stack([one, np.log(d / n)], 1), log_tau, level=level)
    params = {
        "lr_scale": _exp(lr[0]),
        "lr_N": _row(lr[1]),
        "lr_D": _row(lr[2]),
        "batch_scale": _exp(batch[0]),
        "batch_D": _row(batch[1]),
        "batch_N": _row(free[1]),
    }
    cells = _cells(n, d, log_lr, log_batch, bowls, params)
    if tau is not None:
        cells = cells.assign(tau=("cell", np.exp(log_tau)))
    return OptimumFit(
        **params,
        tau_scale=None if tau is None else _exp(tau[0]),
        tau_TPP=None if tau is None else _row(tau[1]),
        near_best=near,
        cells=cells,
        objective=float(cells["excess"].mean()),
        n_points=len(n),
        interval="Student's t of the lines through the minima of the grids",
        level=level,
        warnings=_warnings(refused, params["batch_N"], _bend(n, d, log_lr, level)),
    )


def _near_best(columns: tuple[Floats, ...], level: float) -> dict[str, Estimate]:
    _, member = np.unique(np.stack(columns[:2], axis=1), axis=0, return_inverse=True)
    logs = tuple(np.log(column) for column in columns)
    found = kernels.near_best(
        logs, member.ravel(), within=NEAR_BEST, draws=_NEAR_DRAWS, level=level
    )
    return dict(zip(("lr_N", "lr_D", "batch_D"), map(_row, found), strict=True))


def _bend(n: Floats, d: Floats, log_lr: Floats, level: float) -> Estimate | None:
    """Return how the exponent of D in η changes with each e-fold of D/N.

    None for few grids, or fewer than three values of D/N.
    """
    ratio = np.log(d / n)
    if len(n) <= _FEWEST_CELLS or len(np.unique(np.round(ratio, 1))) < _FEWEST_RATIOS:
        return None
    off = ratio - ratio.mean()
    columns = np.stack([np.ones(len(n)), np.log(n), np.log(d), off**2], axis=1)
    return _row(2 * kernels.regress(columns, log_lr, level=level)[3])


def _bowls(
    columns: tuple[Floats, ...], decay: Floats | None, window: float
) -> tuple[Floats, Floats, Floats, list[kernels.Bowl], list[str]]:
    """Return N, D, λ and the bowl of each grid, and the names of the grids without one."""
    n, d, lr, batch, loss = columns
    cells, member = np.unique(np.stack([n, d], axis=1), axis=0, return_inverse=True)
    found, refused = [], []
    for i, (size, tokens) in enumerate(cells):
        rows = member.ravel() == i
        bowl = kernels.fit_bowl(
            np.log(lr[rows]), np.log(batch[rows]), np.log(loss[rows]), window=window
        )
        if bowl is None:
            refused.append(f"N {size:.3g}, D {tokens:.3g}")
        else:
            here = np.nan if decay is None else float(np.exp(np.log(decay[rows]).mean()))
            found.append((size, tokens, here, bowl))
    if len(found) < _FEWEST_CELLS:
        msg = (
            f"{len(found)} of {len(cells)} grids over learning rate and batch size surround a "
            f"minimum; the law needs {_FEWEST_CELLS}. Add runs around the best of each (N, D)."
        )
        raise DataError(msg)
    size, tokens, decays = np.array([row[:3] for row in found]).T
    return size, tokens, decays, [row[3] for row in found], refused


def _row(row: Floats) -> Estimate:
    return Estimate(*(float(value) for value in row))


def _exp(row: Floats) -> Estimate:
    return _row(np.exp(row))


def _recommend(law: dict[str, float], n: Floats, d: Floats) -> tuple[Floats, Floats]:
    lr = law["lr_scale"] * n ** law["lr_N"] * d ** law["lr_D"]
    return np.asarray(lr), np.asarray(law["batch_scale"] * d ** law["batch_D"])


def _cells(
    n: Floats,
    d: Floats,
    log_lr: Floats,
    log_batch: Floats,
    bowls: list[kernels.Bowl],
    params: dict[str, Estimate],
) -> xr.Dataset:
    def missed(law: dict[str, float]) -> Floats:
        at = np.log(np.stack(_recommend(law, n, d), axis=1))
        return np.array([bowl.excess(p) for bowl, p in zip(bowls, at, strict=True)])

    ours = {name: found.estimate for name, found in params.items()}
    columns = {
        "model_size": n,
        "tokens_total": d,
        "peak_lr": np.exp(log_lr),
        "batch_size": np.exp(log_batch),
        "loss": np.exp([bowl.lowest for bowl in bowls]),
        "excess": missed(ours),
        "excess_published": missed(OptimumFit.published),
    }
    return xr.Dataset({name: ("cell", values) for name, values in columns.items()})


def _warnings(refused: list[str], batch_n: Estimate, bend: Estimate | None) -> tuple[str, ...]:
    notes = []
    if refused:
        notes.append(f"No bowl around the best run of {len(refused)} grids: {'; '.join(refused)}.")
    if batch_n.lower > 0 or batch_n.upper < 0:
        notes.append(
            f"The best batch size depends on N too here (exponent {batch_n.lower:.2g} to "
            f"{batch_n.upper:.2g}): batch_D holds along the sizes and tokens of these grids only."
        )
    if bend is not None and (bend.lower > 0 or bend.upper < 0):
        notes.append(
            "The exponent of D in the learning rate is not one number here: it changes by "
            f"{bend.estimate:.2g} ({bend.lower:.2g} to {bend.upper:.2g}) with every e-fold of D/N, "
            "so lr_D depends on how far past the usual D/N the grids go."
        )
    return tuple(notes)

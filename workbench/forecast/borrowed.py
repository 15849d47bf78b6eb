"""A surrogate for controls that its own runs do not vary: the exponent is another fit's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri

from workbench.forecast.surrogate import SurrogateFit
from workbench.laws import Estimate
from workbench.laws.kernels import Floats


@dataclass(frozen=True)
class BorrowedFit:
    """A surrogate and which of its exponents are not its own.

    Parameters
    ----------
    fit : SurrogateFit
        The surrogate.
    borrowed : tuple of {"tau", "tpp"}
        Controls whose exponent is the lender's.
    still : tuple of {"tau", "tpp"}
        Controls the surrogate does not follow: the runs do not record them.
    """

    fit: SurrogateFit
    borrowed: tuple[str, ...]
    still: tuple[str, ...]


def borrow_exponents(fit: SurrogateFit, lender: SurrogateFit, *, rng: int = 0) -> BorrowedFit:
    """Give a surrogate the exponents its own runs could not tell.

    Runs of one τ (or one TPP) fix b (or q) there and leave open how it changes away from there.
    The constants keep their values at the runs' own controls, and the band widens away from them
    by the lender's interval, taken as that of a normal distribution.

    Parameters
    ----------
    fit, lender : SurrogateFit
        Fitted to the runs at hand; where the exponents come from.
    rng : int
        Seed of the draws.
    """
    generator = np.random.default_rng(rng)
    draws = fit.draws.copy()
    borrowed, still = [], []
    changed: dict[str, Any] = {}
    for place, (control, constant, name) in enumerate(
        (("tau", "b_const", "b_exp"), ("tpp", "q_const", "q_exp"))
    ):
        if getattr(fit, name).estimate != 0 or draws[:, 2 * place + 1].any():
            continue  # its own
        low, high = getattr(fit, f"{control}_range")
        if not np.isfinite(low) or (fit.centre[place] == 0.0 and low != high):
            still.append(control)
            continue
        slope: Estimate = getattr(lender, name)
        spread = (slope.upper - slope.lower) / (2 * ndtri((1 + lender.level) / 2))
        draws[:, 2 * place + 1] = slope.estimate + spread * generator.standard_normal(len(draws))
        changed[name] = slope
        pair = draws[:, 2 * place : 2 * place + 2]
        changed[constant] = _moved(getattr(fit, constant), slope, pair, fit, fit.centre[place])
        borrowed.append(control)
    return BorrowedFit(replace(fit, draws=draws, **changed), tuple(borrowed), tuple(still))


def _moved(
    constant: Estimate, slope: Estimate, draws: Floats, fit: SurrogateFit, centre: float
) -> Estimate:
    """Return the constant at control 1 of a law that passes through `constant` at the centre."""
    best = float(constant.estimate * np.exp(-slope.estimate * centre))
    low = high = float("nan")
    if len(draws):
        tail = (1 - fit.level) / 2
        low, high = np.quantile(np.exp(draws[:, 0] - draws[:, 1] * centre), [tail, 1 - tail])
    return Estimate(best, float(np.fmin(low, best)), float(np.fmax(high, best)))

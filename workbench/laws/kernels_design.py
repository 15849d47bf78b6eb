"""Final loss of the Multi-Power Law as a function of the whole schedule, and its minimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from workbench.laws.kernels_schedule import SMALLEST_LR

Floats = NDArray[np.float64]


def final_loss(
    lr: Floats, width: float, past: float, peak: float, params: Floats
) -> tuple[float, Floats]:
    """Return the loss after the last block and its derivative by every block's learning rate.

    Parameters
    ----------
    lr : ndarray of shape (block,)
        Learning rate of blocks of equal length after the peak was reached.
    width : float
        Steps in a block.
    past : float
        Learning-rate sum of the warm-up.
    peak : float
        Learning rate before the first block.
    params : ndarray of shape (8,)
        L0, log A, α, log B, κ, log C, log β, γ; see `kernels_schedule.curve`. The rises of the
        warm-up enter as one rise to the peak at their mean learning-rate sum.

    Returns
    -------
    loss : float
    slope : ndarray of shape (block,)
    """
    floor, log_a, alpha, log_b, kappa, log_c, log_beta, gamma = params
    beta = np.exp(log_beta)
    # Block 0 is the warm-up's rise of −peak. A drop happens along a ramp, at its mean rate: the law
    # rewards a drop in one step, at the rate it ends on, far beyond the same drop over ten steps.
    before = np.concatenate([[peak], lr[:-1]])
    ramp = 0.5 * (before + lr)
    rates = np.concatenate([[peak], np.maximum(ramp, SMALLEST_LR * peak)])
    drop = np.concatenate([[-peak], before - lr])
    ahead = np.cumsum((lr * width)[::-1])[::-1]
    total = past + ahead[0]
    passed = np.concatenate([[total - past / 3], ahead])
    scale = np.exp(log_c - gamma * np.log(rates))
    x = scale * passed
    left = np.exp(-beta * np.log1p(x))
    by_x = beta * left / (1 + x)
    saved = float(((1 - left) * drop).sum())
    slow, gain = np.exp(log_a - alpha * np.log(total)), np.exp(log_b - kappa * np.log(total))
    by_total = -alpha * slow / total + kappa * gain * saved / total
    by_passed = drop * by_x * scale
    by_saved = np.append(left[1:-1] - left[2:], left[-1] - 1.0)
    moved = np.where(ramp > SMALLEST_LR * peak, -gamma * x[1:] / rates[1:], 0.0)
    half = 0.5 * drop[1:] * by_x[1:] * moved
    by_saved += half + np.append(half[1:], 0.0) + width * np.cumsum(by_passed)[1:]
    return float(floor + slow - gain * saved), by_total * width - gain * by_saved


def best_decay(
    starts: Sequence[Floats],
    width: float,
    past: float,
    peak: float,
    lowest: float,
    params: Floats,
    *,
    ends_lowest: bool = False,
) -> tuple[float, Floats]:
    """Return the smallest final loss over schedules that never rise again, and that schedule.

    Parameters
    ----------
    starts : sequence of ndarray of shape (block,)
        Schedules to start from, falling from `peak` to `lowest`.
    width, past, peak : float
        See `final_loss`.
    lowest : float
        Bound from below on the learning rate.
    params : ndarray of shape (8,)
        See `final_loss`.
    ends_lowest : bool
        Whether the last block must lie at `lowest`.

    Returns
    -------
    loss : float
    lr : ndarray of shape (block,)

    Notes
    -----
    The drops are the shares of a softmax, one share more for what is never dropped unless the end
    is fixed, so that every point of the search satisfies the constraints.
    """
    room = peak - lowest

    def schedule(z: Floats) -> tuple[Floats, Floats]:
        share = np.exp(z - z.max())
        share /= share.sum()
        dropped = np.cumsum(share if ends_lowest else share[:-1])
        return np.maximum(peak - room * dropped, lowest), share

    def objective(z: Floats) -> tuple[float, Floats]:
        lr, share = schedule(z)
        value, slope = final_loss(lr, width, past, peak, params)
        by_share = -room * np.cumsum(slope[::-1])[::-1]
        by_share = by_share if ends_lowest else np.append(by_share, 0.0)
        return value, share * (by_share - share @ by_share)

    def start_of(lr: Floats) -> Floats:
        drop = np.maximum(-np.diff(np.concatenate([[peak], lr])) / room, 1e-5)
        return np.log(drop if ends_lowest else np.append(drop, max(1 - drop.sum(), 1e-5)))

    return _lowest(objective, lambda z: schedule(z)[0], [start_of(start) for start in starts])


def best_path(
    starts: Sequence[Floats],
    width: float,
    past: float,
    peak: float,
    lowest: float,
    params: Floats,
    *,
    end: float | None = None,
) -> tuple[float, Floats]:
    """Return the smallest final loss over schedules that may also rise again, and that schedule.

    Parameters
    ----------
    starts, width, past, peak, lowest, params
        See `best_decay`.
    end : float, optional
        Rate of the last block; by default free.
    """
    floors = np.full(len(starts[0]), lowest)
    ceilings = np.full(len(starts[0]), peak)
    if end is not None:
        floors[-1] = ceilings[-1] = end

    def objective(z: Floats) -> tuple[float, Floats]:
        value, slope = final_loss(z * peak, width, past, peak, params)
        return value, slope * peak

    bounds = list(zip(floors / peak, ceilings / peak, strict=True))
    inside = [np.clip(start, floors, ceilings) / peak for start in starts]
    return _lowest(objective, lambda z: z * peak, inside, bounds)


def _lowest(
    objective: Callable[[Floats], tuple[float, Floats]],
    schedule: Callable[[Floats], Floats],
    starts: Sequence[Floats],
    bounds: list[tuple[float, float]] | None = None,
) -> tuple[float, Floats]:
    best: tuple[float, Floats] | None = None
    for z in starts:
        found = minimize(
            objective,
            z,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 400, "ftol": 1e-13},
        )
        if best is None or found.fun < best[0]:
            best = (float(found.fun), schedule(found.x))
    assert best is not None
    return best

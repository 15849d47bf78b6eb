"""End of a cooldown from relatives at neighbouring learning rates; no law needed.

A cooldown over a fraction f of a run ends where the given one does, plus a difference that changes
slowly with the peak learning rate: final(f) = final(given) + delta(f), delta interpolated in log LR
between the nearest relatives below and above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import default_loss, require_loss
from workbench.errors import DataError
from workbench.schema import LossName, row_bounds, run_names

Floats = NDArray[np.float64]
_SAME = ("model_size", "total_steps", "batch_size", "weight_decay", "decay_type")


@dataclass(frozen=True)
class TransferredEnd:
    """Predicted final loss of one run.

    Parameters
    ----------
    run_id : str
        Run that was predicted.
    final_loss : float
        Prediction [nats/token].
    given : str
        Run of the same learning rate whose end was used.
    relatives : (float, float)
        Peak learning rates below and above the target's, where the difference came from.
    actual : float
        Measured final loss, NaN where unknown; not used.
    """

    run_id: str
    final_loss: float
    given: str
    relatives: tuple[float, float]
    actual: float


def transfer_cooldowns(
    given: xr.Dataset, targets: xr.Dataset, relatives: xr.Dataset, *, loss: LossName | None = None
) -> list[TransferredEnd]:
    """Predict where cooldowns end from one given cooldown and relatives at other rates.

    Parameters
    ----------
    given : Dataset (run, obs)
        One finished cooldown per setting, for instance the one over 20 %.
    targets : Dataset (run, obs)
        Runs to predict: only their ``peak_lr``, ``decay_fraction`` and setting are read.
    relatives : Dataset (run, obs)
        Finished runs at other learning rates, which have both fractions.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default `default_loss`.

    Returns
    -------
    list of TransferredEnd

    Raises
    ------
    DataError
        If a target has no given run of its setting, or relatives with both fractions do not lie on
        both sides of its learning rate: extrapolated differences are worse than a schedule law.

    Notes
    -----
    A relative at the same learning rate is never read, so a target may be among `relatives`.
    """
    loss = default_loss(given) if loss is None else require_loss(given, loss)
    known, near, wanted = (_table(runs, loss) for runs in (given, relatives, targets))
    return [_transfer(row, known, near) for row in wanted]


@dataclass(frozen=True)
class _Row:
    run_id: str
    setting: tuple[object, ...]
    lr: float
    fraction: float
    final: float


def _table(runs: xr.Dataset, loss: LossName) -> list[_Row]:
    for name in ("peak_lr", "decay_fraction"):
        if name not in runs.variables:
            msg = f"Cooldowns are told apart by {name}, which these runs lack. Set it with --set."
            raise DataError(msg)
    values, bounds, names = runs[loss].to_numpy(), row_bounds(runs), run_names(runs)
    rows = []
    for i, name in enumerate(names):
        one = values[bounds[i] : bounds[i + 1]]
        finite = one[np.isfinite(one)]
        setting = tuple(_plain(runs[key].to_numpy()[i]) for key in _SAME if key in runs.variables)
        rows.append(
            _Row(
                name,
                setting,
                float(runs["peak_lr"].to_numpy()[i]),
                round(float(runs["decay_fraction"].to_numpy()[i]), 6),
                float(finite[-1]) if len(finite) else float("nan"),
            )
        )
    return rows


def _plain(value: object) -> object:
    return round(float(value), 6) if isinstance(value, (float, np.floating)) else str(value)


def _same_lr(one: float, other: float) -> bool:
    return bool(np.isclose(one, other, rtol=1e-6, atol=0))


def _transfer(target: _Row, given: list[_Row], near: list[_Row]) -> TransferredEnd:
    own = [r for r in given if r.setting == target.setting and _same_lr(r.lr, target.lr)]
    if not own:
        msg = (
            f"No given cooldown at the peak rate of {target.run_id!r}, {target.lr:g}, with the "
            "same model, length and kind of decay. Give one of its own cooldowns."
        )
        raise DataError(msg)
    start = own[0]
    away = [r for r in near if r.setting == target.setting and not _same_lr(r.lr, target.lr)]
    ends = {r.lr: r.final for r in away if r.fraction == target.fraction}
    begins = {r.lr: r.final for r in away if r.fraction == start.fraction}
    delta = {lr: ends[lr] - begins[lr] for lr in ends if lr in begins}
    delta = {lr: value for lr, value in delta.items() if np.isfinite(value)}
    below = [lr for lr in delta if lr < target.lr]
    above = [lr for lr in delta if lr > target.lr]
    if not below or not above:
        side = "below" if above else "above" if below else "on either side of"
        msg = (
            f"No relative with both decay fractions, {start.fraction:g} and {target.fraction:g}, "
            f"has a peak rate {side} {target.lr:g}, that of {target.run_id!r}. Use a schedule law."
        )
        raise DataError(msg)
    around = max(below), min(above)
    between = np.interp(np.log(target.lr), np.log(around), [delta[lr] for lr in around])
    return TransferredEnd(
        target.run_id, start.final + float(between), start.run_id, around, target.final
    )

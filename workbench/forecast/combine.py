"""Members tested on the references, their intervals calibrated by it, and joined by precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from workbench.forecast.evidence import Evidence
from workbench.forecast.members import Member, MemberRule

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
_PRIOR_TESTS = 4.0
_MOST_SIZES = 8
_MOST_RUNS = 3
_FEWEST_CELLS = 2


@dataclass(frozen=True)
class BackTest:
    """How one member did on the references.

    Parameters
    ----------
    error : ndarray of shape (size,)
        Root-mean-square error of the log final loss, per size held out.
    ratio : ndarray of shape (size,)
        Root-mean-square of error over standard deviation, per size held out.
    """

    error: Floats
    ratio: Floats

    @property
    def stretch(self) -> float:
        """Factor by which intervals must be stretched; never below 1, near 1 after few tests."""
        if not len(self.ratio):
            return 1.0
        total = _PRIOR_TESTS + float(np.square(self.ratio).sum())
        return float(np.sqrt(max(1.0, total / (_PRIOR_TESTS + len(self.ratio)))))

    @property
    def rms(self) -> float:
        """Root-mean-square error over sizes; NaN without a test."""
        return float(np.sqrt(np.mean(np.square(self.error)))) if len(self.error) else np.nan


def blind(runs: Evidence) -> Evidence:
    """Return runs without what they did beyond `at`, to be predicted like a live one."""
    seen = runs.progress <= runs.at + 1e-9
    return replace(
        runs,
        final=np.full(len(runs), np.nan),
        curves=np.where(seen, runs.curves, np.nan),
    )


def back_test(
    reference: Evidence,
    run: Evidence,
    rules: Mapping[str, MemberRule],
    *,
    level: float,
    progress: Progress | None = None,
) -> dict[str, BackTest]:
    """Predict references from one another, the way the run is predicted from them.

    A run larger than every reference is imitated by sizes predicted from smaller ones alone, any
    other by sizes predicted from all other sizes.

    Parameters
    ----------
    reference : Evidence
        Usable references.
    run : Evidence
        The run to predict.
    rules : mapping of str to callable
        Members by name.
    level : float
        Level of the intervals.
    progress : callable, optional
        Called with (done, total) predictions.

    Returns
    -------
    dict of str to BackTest
    """
    upwards = bool((reference.size < run.size[0]).all()) and bool(reference.matches(run).all())
    plan = [
        (i, others) for i, others in _held_out(reference, upwards) for _ in rules
    ]  # one entry a prediction, so that progress counts predictions
    found: dict[str, dict[float, list[tuple[float, float]]]] = {name: {} for name in rules}
    for done, ((i, others), name) in enumerate(
        zip(plan, list(rules) * (len(plan) // max(len(rules), 1)), strict=True)
    ):
        member = rules[name](reference.take(others), blind(reference.take([i])), level)
        if member is not None:
            error = member.log_loss - float(reference.final[i])
            pair = (error, error / max(member.sd, 1e-9))
            found[name].setdefault(float(reference.size[i]), []).append(pair)
        if progress is not None:
            progress(done + 1, len(plan))
    return {name: _summary(by_size) for name, by_size in found.items()}


def _held_out(reference: Evidence, upwards: bool) -> list[tuple[int, NDArray[np.bool_]]]:
    sizes = np.unique(reference.size[np.isfinite(reference.size)])
    out = []
    for size in sizes[-_MOST_SIZES:]:
        others = reference.size < size if upwards else reference.size != size
        if len(np.unique(reference.cell[others])) < _FEWEST_CELLS:
            continue
        rows = np.flatnonzero(reference.size == size)
        chosen = rows[np.linspace(0, len(rows) - 1, min(_MOST_RUNS, len(rows))).astype(int)]
        out += [(int(i), others) for i in chosen]
    return out


def _summary(by_size: dict[float, list[tuple[float, float]]]) -> BackTest:
    pairs = [np.sqrt(np.mean(np.square(rows), axis=0)) for rows in by_size.values()]
    columns = np.array(pairs).reshape(-1, 2)
    return BackTest(columns[:, 0], columns[:, 1])


def combine(
    members: list[Member], tests: Mapping[str, BackTest], *, level: float
) -> tuple[Member, dict[str, float]]:
    """Join members into one prediction.

    Each is weighted by the inverse square of its expected error: the larger of its
    root-mean-square error on the references and of what its own interval, wide with few
    references, says. A member that disagrees with the most precise one by more than that allows
    loses weight, so that a scaling law that the prefix contradicts is not averaged in. The
    interval is that of the mixture: the members' own widths and their disagreement, since their
    errors are not independent.

    Returns
    -------
    member, weights : Member, dict of str to float
    """
    stretched = [m.scaled(tests[m.name].stretch if m.name in tests else 1.0) for m in members]
    unit = 2 * float(ndtri((1 + level) / 2))
    own = np.array([(m.upper - m.lower) / unit for m in stretched])
    tested = [tests[m.name].rms if m.name in tests else np.nan for m in stretched]
    expected = np.fmax(own, tested)
    value = np.array([m.log_loss for m in stretched])
    best = int(np.argmin(expected))
    apart = (value - value[best]) ** 2 / (expected**2 + expected[best] ** 2)
    weight = np.exp(-0.5 * apart) / expected**2
    weight /= weight.sum()
    centre = float(weight @ value)
    away = (value - centre) ** 2
    low = np.array([m.log_loss - m.lower for m in stretched])
    high = np.array([m.upper - m.log_loss for m in stretched])
    sd = float(np.sqrt(weight @ (np.array([m.sd for m in stretched]) ** 2 + away)))
    joined = Member(
        stretched[best].name,
        centre,
        centre - float(np.sqrt(weight @ (low**2 + away))),
        centre + float(np.sqrt(weight @ (high**2 + away))),
        sd,
    )
    return joined, {m.name: float(w) for m, w in zip(stretched, weight, strict=True)}

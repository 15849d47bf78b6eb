"""The way from a prefix to its predicted end, shaped like the references' ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import ArgumentError
from workbench.forecast.evidence import Evidence
from workbench.forecast.members import Member

Floats = NDArray[np.float64]
_NEAREST_RUNS = 12


@dataclass(frozen=True)
class Path:
    """A predicted curve from progress `at` to 1; arrays of shape (progress,), nats/token."""

    progress: Floats
    loss: Floats
    lower: Floats
    upper: Floats

    def to_dict(self) -> dict[str, list[float]]:
        """Return the arrays as lists by name."""
        return {name: values.tolist() for name, values in vars(self).items()}

    def to_dataset(self) -> xr.Dataset:
        """Return the curve as a dataset with dim ``progress``."""
        columns = {name: ("progress", getattr(self, name)) for name in ("loss", "lower", "upper")}
        return xr.Dataset(
            columns, coords={"progress": self.progress}, attrs={"units": "nats/token"}
        )

    def interpolate(self, progress: Floats) -> xr.Dataset:
        """Return the curve at other progress; `ArgumentError` outside the predicted stretch."""
        first, last = self.progress[0], self.progress[-1]
        if (progress < first - 1e-9).any() or (progress > last + 1e-9).any():
            msg = (
                f"progress must lie between {first:g} and {last:g}, where the curve is predicted, "
                f"found {progress.min():g} to {progress.max():g}."
            )
            raise ArgumentError(msg)
        at = np.atleast_1d(progress)
        columns = {
            name: ("progress", np.interp(at, self.progress, getattr(self, name)))
            for name in ("loss", "lower", "upper")
        }
        return xr.Dataset(columns, coords={"progress": at}, attrs={"units": "nats/token"})


def path_to_end(
    reference: Evidence | None, run: Evidence, member: Member, *, course: Floats | None = None
) -> Path:
    """Return the curve from the run's level at `at` to its predicted end.

    Of the remaining drop of log loss, the share still to come at each progress is that of `course`,
    a log loss along `Evidence.progress` that a law predicts, or else the mean over the nearest
    references of the run's schedule (of all, where none shares it), whose spread widens the band.
    At the end the band is the interval of the final loss. Without either it is a straight path.
    """
    if course is not None:
        share, spread, x = _along(course, run)
    elif reference is None:
        return straight_path(run, member)
    else:
        same = reference.schedule == run.schedule[0]
        near = reference.take(same) if same.any() else reference
        share, spread, x = _still_to_come(near, run)
    return _path(run, member, share, spread, x)


def straight_path(run: Evidence, member: Member) -> Path:
    """Return the curve that falls as a power of progress from the run's level to its end."""
    later = run.progress > run.at + 1e-9
    x = np.append(run.at, run.progress[later])
    return _path(run, member, np.log(x) / np.log(run.at), np.zeros(len(x)), x)


def _path(run: Evidence, member: Member, share: Floats, spread: Floats, x: Floats) -> Path:
    level = float(run.level[0])
    drop = level - member.log_loss
    centre = member.log_loss + share * drop
    widths = [
        np.sqrt(((1 - share) * (edge - member.log_loss)) ** 2 + (spread * drop) ** 2)
        for edge in (member.lower, member.upper)
    ]
    return Path(x, np.exp(centre), np.exp(centre - widths[0]), np.exp(centre + widths[1]))


def _along(course: Floats, run: Evidence) -> tuple[Floats, Floats, Floats]:
    later = run.progress > run.at + 1e-9
    x = np.append(run.at, run.progress[later])
    values = np.interp(x, run.progress, course)
    drop = values[0] - values[-1]
    share = (values - values[-1]) / drop if drop > 0 else (1 - x) / (1 - x[0])
    return share, np.zeros(len(x)), x


def _still_to_come(near: Evidence, run: Evidence) -> tuple[Floats, Floats, Floats]:
    """Return the share of the drop still to come, its spread over references, and progress."""
    columns = [np.log(getattr(near, n) / getattr(run, n)[0]) for n in ("size", "tau", "tpp")]
    distance = np.nansum(np.square(columns), axis=0)
    near = near.take(np.argsort(distance, kind="stable")[:_NEAREST_RUNS])
    later = near.progress > near.at + 1e-9
    x = np.append(near.at, near.progress[later])
    curves = np.column_stack([near.level, near.curves[:, later]])
    curves[:, -1] = near.final
    share = (curves - near.final[:, None]) / (near.level - near.final)[:, None]
    known = np.isfinite(share)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, share, 0.0).sum(0) / count
    spread = np.sqrt(np.where(known, (share - mean) ** 2, 0.0).sum(0) / count)
    return mean, spread, x

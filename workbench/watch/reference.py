"""A family's universal curve as a saved, versioned object, with a band and what is healthy."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import ArgumentError, DataError
from workbench.forecast import fit_surrogate
from workbench.forecast.prefix import as_runs
from workbench.recipes import schedule_from_coordinates
from workbench.schema import LossName, take_runs
from workbench.watch.calibrate import calibrate
from workbench.watch.expected import Controls, Expectation, Surrogate, expect
from workbench.watch.kernels_records import BLOCKS, Tail
from workbench.watch.kernels_state import Wander
from workbench.watch.members import GRID, Members, gather_members, watched_loss
from workbench.watch.reference_file import read_reference, reference_data, write_reference
from workbench.watch.thresholds import Thresholds, thresholds_for

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
_BAND_LEVEL = 1.645


@dataclass(frozen=True)
class Reference:
    """What a healthy run of a family looks like.

    Made by `from_runs`, kept by `save`, and read again by `load` in training code: nothing but
    xarray is needed there, and nothing is ever unpickled.

    Parameters
    ----------
    data : Dataset (member, progress, position, draw)
        ``log_shape`` and ``lr_factor`` (member, progress); ``band`` (progress); ``shared``
        (position), what the same data did to all; ``simulated`` (draw); ``score`` and ``spike``
        (watched); the members' controls; all constants in attributes.
    """

    data: xr.Dataset

    @classmethod
    def from_runs(
        cls,
        runs: xr.Dataset,
        *,
        loss: LossName | None = None,
        name: str = "",
        progress: Progress | None = None,
    ) -> Reference:
        """Make a reference from the finished runs of a family.

        Parameters
        ----------
        runs : Dataset (run, obs) or cube
            Runs of one family, of any sizes, seeds, τ, TPP and schedules. Unfinished ones only
            tell what the same data does to sister runs.
        loss : {"eval_loss", "train_loss"}, optional
            Which loss; by default `watched_loss`.
        name : str
            For people.
        progress : callable, optional
            Called with (done, total) members watched with the reference of the others.

        Returns
        -------
        Reference

        Raises
        ------
        DataError
            If no run has finished, or a loss is not positive.
        """
        runs = as_runs(runs)
        loss = watched_loss(runs) if loss is None else loss
        members = gather_members(runs, loss=loss)
        surrogate, why = _surrogate(runs, members, loss)
        healthy = calibrate(members, surrogate, progress=progress)
        return cls(reference_data(members, surrogate, healthy, loss=loss, name=name, note=why))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the reference to a ``.nc`` file or a ``.zarr`` folder; complete or not at all.

        Raises
        ------
        ArgumentError
            If the suffix is another one.
        """
        return write_reference(self.data, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """Read a reference that `save` wrote.

        Raises
        ------
        ArgumentError
            If there is nothing.
        DataError
            If it is no reference, one of a newer format, or not as it was saved.
        """
        return cls(read_reference(path))

    @property
    def loss(self) -> LossName:
        """The loss it is of."""
        return "eval_loss" if self.data.attrs["loss"] == "eval_loss" else "train_loss"

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the runs it is made of."""
        return tuple(map(str, json.loads(self.data.attrs["run_ids"])))

    @property
    def version(self) -> str:
        """Hash of its content: the same runs give the same version."""
        return str(self.data.attrs["version"])

    @property
    def wander(self) -> Wander:
        """How healthy runs stray."""
        return Wander(**{name: float(self.data.attrs[name]) for name in Wander.__annotations__})

    def expect(self, controls: Mapping[str, Any]) -> Expectation:
        """Say which curve a run with these coordinates should follow.

        Parameters
        ----------
        controls : mapping
            ``model_size``, ``tau``, ``tpp``, ``schedule`` and what describes the schedule;
            what is missing counts as the family's usual.

        Returns
        -------
        Expectation
        """
        own = Controls(
            **{n: np.array([_number(controls, n)]) for n in ("model_size", "tau", "tpp")},
            warmup=np.array([warmup_of(controls)]),
            schedule=np.array([str(controls.get("schedule", "") or "")]),
        )
        members = Controls(
            **{n: self.data[n].to_numpy() for n in ("model_size", "tau", "tpp", "warmup")},
            schedule=np.array(json.loads(self.data.attrs["schedules"]), dtype=str),
        )
        return expect(
            own,
            _factors(controls),
            members,
            self.data["log_shape"].to_numpy().astype(np.float64),
            self.data["lr_factor"].to_numpy().astype(np.float64),
            GRID,
            self.surrogate,
            away=self.data["away"].to_numpy() > 0,
        )

    @property
    def surrogate(self) -> Surrogate | None:
        """The (τ, TPP) surrogate fitted to the members, where they pin one down."""
        kept = json.loads(self.data.attrs["surrogate"])
        if kept is None:
            return None
        return Surrogate(tuple(kept["parameters"]), tuple(kept["centre"]), kept["m"])

    def curve(self, controls: Mapping[str, Any]) -> xr.Dataset:
        """Return the normalised curve ℓ = L/L(1) of a run, with its 90 % band.

        Returns
        -------
        Dataset (progress)
            ``normalized_loss``, ``lower``, ``upper``: where healthy runs lie that are aligned to
            it over 25 to 50 % of training.
        """
        found = self.expect(controls)
        extra = found.slope_sd * np.abs(np.log(GRID / np.sqrt(0.125)))
        sd = np.sqrt(self.data["band"].to_numpy().astype(np.float64) ** 2 + extra**2)
        rows = {"normalized_loss": 0.0, "lower": -_BAND_LEVEL, "upper": _BAND_LEVEL}
        return xr.Dataset(
            {n: ("progress", np.exp(found.log_shape + k * sd)) for n, k in rows.items()},
            coords={"progress": GRID},
            attrs={"how": found.how, "level": 0.9, "loss": self.loss},
        )

    def thresholds(self, false_alarm: float = 0.01, *, records: float | None = None) -> Thresholds:
        """Return where to alarm for a false-alarm rate per run.

        Half of it goes to the sequential test, half to single records. The former's threshold is
        the larger of two bounds: of simulated healthy runs, and of the next healthy run given what
        the members themselves reached. The latter's likewise, with the tail of all records of the
        members in place of simulation.

        Parameters
        ----------
        false_alarm : float
            Chance that a healthy run is alarmed, in (0, 0.5].
        records : float, optional
            Records of a whole run; by default as many as the members have.

        Raises
        ------
        ArgumentError
            If the rate is out of range.
        """
        if not 0 < false_alarm <= 0.5:
            msg = f"false_alarm is a chance per run in (0, 0.5], found {false_alarm!r}. Try 0.01."
            raise ArgumentError(msg)
        return thresholds_for(
            false_alarm,
            records=float(self.data.attrs["records"]) if records is None else records,
            simulated=self.data["simulated"].to_numpy().astype(np.float64),
            scores=self.data["score"].to_numpy().astype(np.float64),
            spikes=self.data["spike"].to_numpy().astype(np.float64),
            tail=Tail(*(float(self.data.attrs[f"tail_{n}"]) for n in Tail.__annotations__)),
        )

    def __repr__(self) -> str:
        name = self.data.attrs["name"] or "reference"
        return f"<Reference {name!r}: {len(self.members)} runs, {self.loss}, {self.version[:12]}>"


def _number(controls: Mapping[str, Any], name: str) -> float:
    value = controls.get(name)
    return float("nan") if value is None or value == "" else float(value)


def warmup_of(controls: Mapping[str, Any]) -> float:
    """Return the share of training a run with these coordinates warms up, 0 where unknown."""
    share = _number(controls, "warmup_fraction")
    if not math.isfinite(share):
        share = _number(controls, "warmup_steps") / max(_number(controls, "total_steps"), 1.0)
    return share if math.isfinite(share) else 0.0


def _factors(controls: Mapping[str, Any]) -> Floats:
    """Return the planned learning rate over its peak; NaN where the coordinates do not tell."""
    try:
        return np.asarray(schedule_from_coordinates(controls).factors(BLOCKS), dtype=np.float64)
    except DataError:
        return np.full(BLOCKS, np.nan)


def _surrogate(runs: xr.Dataset, members: Members, loss: LossName) -> tuple[Surrogate | None, str]:
    """Fit the surrogate where members differ in what it describes; else say why there is none."""
    controls = members.controls
    differ = len(np.unique(controls.schedule)) > 1 or any(
        np.isfinite(v).all() and np.ptp(np.log(v)) > 0.2 for v in (controls.tau, controls.tpp)
    )
    known = np.asarray(np.isfinite(members.factors).all(axis=1))
    if not differ or int(known.sum()) < 3:
        return None, "" if not differ else "fewer than 3 members have a known learning rate"
    names = {n for n, k in zip(members.run_id, known, strict=True) if k}
    kept = take_runs(runs, np.array([str(n) in names for n in runs["run_id"].to_numpy()]))
    try:
        fit = fit_surrogate(kept, loss=loss, bootstrap=0)
    except DataError as error:
        return None, f"no surrogate: {error}"
    b, q = math.log(fit.b_const.estimate), math.log(fit.q_const.estimate)
    slope_b, slope_q = fit.b_exp.estimate, fit.q_exp.estimate
    parameters = (b + slope_b * fit.centre[0], slope_b, q + slope_q * fit.centre[1], slope_q)
    return Surrogate(parameters, fit.centre, fit.m), ""

"""State of the What-if page without a GUI: settings of a run that could be, and what follows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import param
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import POINTS
from workbench.errors import ArgumentError, DataError
from workbench.forecast import SLIMPAJAMA_LLAMA, SurrogateFit
from workbench.forecast.end_laws import EndLaw
from workbench.laws import PFLOP
from workbench.laws.extrapolation import Extrapolation
from workbench.laws.noisy_quadratic import noisy_quadratic_parts
from workbench.recipes import Course, NamedSchedule, Schedule, training_compute
from workbench.recipes.recorded import schedule_from_coordinates
from workbench.views.drawn_schedule import EXAMPLE, points_through, read_points, write_points
from workbench.views.what_if_data import USUAL_TAU, FamilyData, families_of, family_data

Floats = NDArray[np.float64]
BY_HAND = "by hand"
SHAPES = (
    "linear", "cosine", "1-sqrt", "square", "quadratic", "exponential", "harmonic", "multicosine",
    "inverse_sqrt", "constant", BY_HAND,
)  # fmt: skip
RATIO_END = 0.01
"""The least end of shapes that come down by a ratio and so cannot reach zero."""
RATIO = ("exponential", "harmonic")
UNDECAYED = ("constant", "inverse_sqrt")
FITTED, PUBLISHED = "fitted here", "published"
TAU_DECADES, TPP_DECADES, SIZE_DECADES = (-2.0, 0.6), (0.0, 3.5), (4.0, 12.0)
START_DECADES, MOST_FLOOR = (-1.0, 4.0), 0.99
USUAL_START, USUAL_FLOOR = float(np.log10(25)), 0.9
VIEWS = ("Normalised", "Loss")
SETTINGS = (
    "family", "constants", "tau", "horizon", "size", "shape", "warmup", "decay", "final",
    "points", "start", "floor", "view",
)  # fmt: skip


class WhatIfSettings(param.Parameterized):
    """What can be set on the page: the parameters named in `SETTINGS`."""

    tau = param.Number(
        default=float(np.log10(USUAL_TAU)), bounds=TAU_DECADES, doc="Log τ, base 10."
    )
    horizon = param.Number(default=float(np.log10(20)), bounds=TPP_DECADES, doc="Log TPP, base 10.")
    size = param.Number(default=8.0, bounds=SIZE_DECADES, doc="Log N, base 10.")
    shape = param.Selector(default="linear", objects=list(SHAPES), doc="How the rate comes down.")
    warmup = param.Number(default=0.1, bounds=(0, 0.5), doc="Share of the run spent warming up.")
    decay = param.Number(
        default=1.0, bounds=(0.05, 1), doc="Share of the run it comes down over, at the most."
    )
    final = param.Number(default=0.0, bounds=(0, 1), doc="Rate at the end, share of the peak.")
    points = param.String(default=EXAMPLE, doc="A drawn schedule, see drawn_schedule.")
    start = param.Number(
        default=USUAL_START, bounds=START_DECADES, doc="Log E[θ(0)²]/σ² of the mode, base 10."
    )
    floor = param.Number(
        default=USUAL_FLOOR, bounds=(0, MOST_FLOOR), doc="Irreducible share of the final loss."
    )
    family = param.Selector(default="", objects=[""], doc="Which runs of the store.")
    constants = param.Selector(default=PUBLISHED, objects=[PUBLISHED], doc="Of the surrogate.")
    view = param.Selector(default="Normalised", objects=list(VIEWS), doc="What is drawn.")


class WhatIfModel(WhatIfSettings):
    """A run that could be: τ, tokens per parameter, schedule and size.

    Parameters
    ----------
    runs : Dataset (run, obs)
        The store's runs; may hold none.
    """

    def __init__(self, runs: xr.Dataset) -> None:
        super().__init__()
        self.runs = runs
        self._drawn = False
        self._quiet = False
        names = families_of(runs)
        self.param.family.objects = list(names) or [""]
        self.family = self.param.family.objects[0]
        self.data: FamilyData = family_data(runs, self.family)
        self._begin()
        self.param.watch(self._family_changed, list(SETTINGS))
        self.param.watch(self._drawing_changed, ["shape", "points"])

    # -- settings -----------------------------------------------------------------------------

    @property
    def tau_value(self) -> float:
        """Return τ, share of the run, to three digits."""
        return _rounded(self.tau)

    @property
    def tpp(self) -> float:
        """Return the tokens per parameter, to three digits."""
        return _rounded(self.horizon)

    @property
    def model_size(self) -> float:
        """Return N, to three digits."""
        return _rounded(self.size)

    @property
    def start_value(self) -> float:
        """Return E[θ(0)²]/σ² of the mode, to three digits."""
        return _rounded(self.start)

    @property
    def kappa(self) -> float:
        """Return κ = 2τ·E[θ(0)²]/σ², the mode's start over its stationary level."""
        return 2 * self.tau_value * self.start_value

    @property
    def floor_value(self) -> float:
        """Return the floor in units of the final reducible loss."""
        return float(self.floor / (1 - self.floor))

    def schedule(self) -> Course:
        """Return the learning rate.

        Raises
        ------
        ArgumentError
            If drawn points describe none.
        """
        if self.shape == BY_HAND:
            return read_points(self.points)
        decays = self.shape not in UNDECAYED
        final = max(self.final, RATIO_END) if self.shape in RATIO else self.final
        return NamedSchedule(
            cast(Schedule, self.shape),
            warmup_fraction=self.warmup,
            decay_fraction=min(self.decay, 1 - self.warmup) if decays else None,
            final_lr_fraction=final if decays else 0.0,
        )

    def factors(self) -> Floats:
        """Return the learning rate of `POINTS` steps over its peak; errors as `schedule`."""
        return self.schedule().factors(POINTS)

    # -- what follows -------------------------------------------------------------------------

    @property
    def fit(self) -> SurrogateFit:
        """Return the surrogate in use."""
        own = self.data.fit
        return own.fit if own is not None and self.constants == FITTED else SLIMPAJAMA_LLAMA

    def predicted(self) -> xr.Dataset:
        """Return the surrogate's curve and its interval, Dataset (progress)."""
        progress = np.arange(1, POINTS + 1) / POINTS
        return self.fit.predict(
            progress, tau=self.tau_value, tpp=self.tpp, lr_factor=self.factors()
        )

    def parts(self) -> xr.Dataset:
        """Return the noisy quadratic with its bias and variance, Dataset (progress)."""
        return noisy_quadratic_parts(
            self.factors(), tau=self.tau_value, kappa=self.kappa, floor=self.floor_value
        )

    def end_law(self) -> EndLaw | None:
        """Return the law of final losses of the runs with these settings, None without any."""
        factors = self.factors()
        fits = (
            law
            for law in self.data.ends
            if law.holds_at(tau=self.tau_value, tpp=self.tpp, lr_factor=factors)
        )
        return next(fits, None)

    def final_loss(self) -> Extrapolation | None:
        """Return the final loss by `end_law` at this size, None without a law."""
        law = self.end_law()
        if law is None:
            return None
        size = self.model_size
        flops = training_compute(model_size=size, tokens_total=self.tpp * size)
        return law.band.at(flops / PFLOP)

    def settings(self) -> dict[str, Any]:
        """Return the values of `SETTINGS`."""
        return {name: getattr(self, name) for name in SETTINGS}

    # -- reactions ----------------------------------------------------------------------------

    @contextmanager
    def _silently(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _begin(self) -> None:
        """Start from the largest setting of the family's largest matched group."""
        values: dict[str, Any] = {"constants": self._offer_constants()}
        for name, coordinate in (("tau", "tau"), ("horizon", "tpp"), ("size", "model_size")):
            values |= self._decades(name, self.data.first.get(coordinate))
        if self.data.mode is not None:
            values |= self._decades("start", self.data.mode.start)
            floor = self.data.mode.floor
            values["floor"] = round(min(floor / (1 + floor), MOST_FLOOR), 3)
        with self._silently():
            self.param.update(**values, **self._first_schedule())

    def _offer_constants(self) -> str:
        """Offer the constants there are; return the ones to begin with."""
        choices = [PUBLISHED] if self.data.fit is None else [FITTED, PUBLISHED]
        self.param.constants.objects = choices
        if self.constants not in choices:
            self.constants = choices[0]
        return choices[0]

    def _decades(self, name: str, value: Any) -> dict[str, float]:
        if value is None or not np.isfinite(value) or value <= 0:
            return {}
        low, high = self.param[name].bounds
        return {name: float(np.clip(np.log10(float(value)), low, high))}

    def _first_schedule(self) -> dict[str, Any]:
        """Return shape and shares of the first setting's schedule, or points through its rate."""
        factor = self.data.first_factor
        try:
            found = _as_recorded(schedule_from_coordinates(self.data.first), factor)
        except DataError:
            return {} if factor is None else {"shape": BY_HAND, "points": points_through(factor)}
        if not found.decay_share:
            shape = found.name if found.name in UNDECAYED else "constant"
            return {"shape": shape, "warmup": min(found.warmup_fraction, 0.5)}
        whole = found.decay_share > 1 - found.warmup_fraction - 1e-9
        return {
            "shape": found.shape,
            "warmup": min(found.warmup_fraction, 0.5),
            "decay": 1.0 if whole else max(found.decay_share, 0.05),
            "final": found.final_lr_fraction,
        }

    def _family_changed(self, *events: Any) -> None:
        """Begin anew with another family; what was set at the same time stands."""
        given = {event.name: event.new for event in events}
        if self._quiet or given.pop("family", None) is None:
            return
        self.data = family_data(self.runs, self.family)
        self._begin()
        allowed = self.param.constants.objects
        with self._silently():
            self.param.update({k: v for k, v in given.items() if k != "constants" or v in allowed})

    def _drawing_changed(self, *events: Any) -> None:
        """Begin drawing from the schedule that stood there, unless points were given before."""
        changed = {event.name: event for event in events}
        if self._quiet:
            return
        self._drawn |= "points" in changed
        if self._drawn or self.shape != BY_HAND:
            return
        with self._silently():
            self.shape = changed["shape"].old
            text = self._points_of_schedule()
            self.shape = BY_HAND
            self.points = text

    def _points_of_schedule(self) -> str:
        try:
            return write_points(self.schedule())
        except ArgumentError:  # inverse_sqrt without warm-up is known per step only
            return points_through(self.factors())

    def set_runs(self, runs: xr.Dataset) -> None:
        """Take a newer version of the runs; the controls stay, unless there was no curve before."""
        had = bool(self.data.settings)
        self.runs = runs
        names = families_of(runs) or ("",)
        self.param.family.objects = list(names)
        with self._silently():
            self.family = self.family if self.family in names else names[0]
        self.data = family_data(runs, self.family)
        if had:
            self._offer_constants()
        else:
            self._begin()


def _as_recorded(named: NamedSchedule, factor: Floats | None) -> NamedSchedule:
    """Return the schedule with the warm-up its recorded rate shows, where that comes nearer."""
    if factor is None:
        return named
    warm = float(np.argmax(factor > 0.999)) / POINTS
    share = min(named.decay_share, 1 - warm) if named.decay_share else None
    other = replace(named, warmup_fraction=warm, decay_fraction=share)
    return min(named, other, key=lambda s: float(np.abs(s.factors(POINTS) - factor).mean()))


def _rounded(decades: float) -> float:
    return float(f"{10**decades:.3g}")

"""State of the Planner without a GUI: what is asked, the recipe that follows, what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import param
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import ArgumentError, DataError, WorkbenchError
from workbench.forecast.planned import SAME_TPP, PlannedLoss, predict_planned
from workbench.recipes import (
    ACCELERATORS,
    RECIPE_NAMES,
    CompressionTradeoff,
    Overrides,
    Plan,
    RecipeName,
    find_recipe,
    parse_count,
    plan_run,
    training_days,
)
from workbench.schema import take_runs

DEVICES = tuple(2**k for k in range(15))
SIZE_DECADES = (5.0, 12.0)
TPP_DECADES = (0.0, 3.5)
_SIMILAR_TAU = 1.5
"""Ratio of τ up to which a run's final loss counts as one at the plan's τ: the optimum is flat."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trade:
    """The plan beside the compute-optimal model that reaches the same loss.

    Parameters
    ----------
    tpp, compute, size : ndarray, shape (point,)
        Tokens per parameter, and compute and parameters as multiples of the optimum's.
    here : (tpp, compute, size)
        The plan's own.
    wall : float
        Size ratio below which no amount of data reaches the loss.
    """

    tpp: Floats
    compute: Floats
    size: Floats
    here: tuple[float, float, float]
    wall: float


class PlannerModel(param.Parameterized):
    """A size, a horizon and a recipe, and everything that follows from them.

    Parameters
    ----------
    runs : Dataset (run, obs)
        The store's runs, for the map and the predicted loss; may hold none.
    """

    size = param.Number(default=9.0, bounds=SIZE_DECADES, doc="Logarithm of N, base 10.")
    horizon = param.Number(
        default=float(np.log10(20)), bounds=TPP_DECADES, doc="Logarithm of TPP, base 10."
    )
    recipe = param.Selector(default="celerity", objects=list(RECIPE_NAMES), doc="Recipe.")
    batch = param.String(default="", doc="Tokens per step as a count; empty for the recipe's.")
    warmup = param.String(default="", doc="Share of the run; empty for the recipe's.")
    accelerator = param.Selector(default="H100 SXM", objects=list(ACCELERATORS), doc="Device.")
    devices = param.Selector(default=8, objects=list(DEVICES), doc="How many devices.")
    utilisation = param.Number(default=0.4, bounds=(0.05, 1), doc="Share of the peak rate.")

    def __init__(self, runs: xr.Dataset) -> None:
        super().__init__()
        self.runs = runs

    @property
    def model_size(self) -> float:
        """Return N, to three digits."""
        return _rounded(self.size)

    @property
    def tpp(self) -> float:
        """Return the tokens per parameter, to three digits."""
        return _rounded(self.horizon)

    def overrides(self) -> Overrides:
        """Return what is typed over the recipe.

        Raises
        ------
        ArgumentError
            If a field holds no number it can take.
        """
        batch = parse_count(self.batch, name="Batch") if self.batch.strip() else None
        warmup = _share(self.warmup) if self.warmup.strip() else None
        return Overrides(batch_size=batch, warmup_fraction=warmup)

    def plan(self) -> Plan:
        """Return the recipe; errors as `plan_run` and `overrides`."""
        recipe = cast(RecipeName, self.recipe)
        return plan_run(self.model_size, tpp=self.tpp, recipe=recipe, overrides=self.overrides())

    def days(self, plan: Plan) -> float:
        """Return how long the training takes on the chosen devices."""
        return training_days(
            plan.flops,
            accelerator=self.accelerator,
            count=self.devices,
            utilisation=self.utilisation,
        )

    def predicted(self, plan: Plan) -> PlannedLoss:
        """Return the plan's final loss by the store's runs at its tokens per parameter.

        Raises
        ------
        DataError
            If they do not suffice; the message says what is missing.
        """
        if not self.runs.sizes["run"]:
            msg = "The store holds no runs yet."
            raise DataError(msg)
        near = np.abs(self.runs["tpp"].to_numpy() / plan.tpp - 1) <= SAME_TPP
        near &= self.runs["schedule"].to_numpy().astype(str) == plan.schedule.name
        ratio = self.runs["tau"].to_numpy() / plan.tau
        near &= (ratio >= 1 / _SIMILAR_TAU) & (ratio <= _SIMILAR_TAU)
        if not near.any():
            msg = (
                f"The store holds no {plan.schedule.name} run near {plan.tpp:.3g} tokens per "
                f"parameter and τ {plan.tau:.2g}."
            )
            raise DataError(msg)
        return predict_planned(plan, take_runs(self.runs, near))

    def law(self) -> tuple[Floats, Floats]:
        """Return the recipe's τ over tokens per parameter, each ndarray of shape (point,)."""
        tpp = np.logspace(*TPP_DECADES, 60)
        rule = find_recipe(self.recipe).tau
        return tpp, np.array([float(rule(tpp=float(value))) for value in tpp])

    def trade(self, plan: Plan) -> Trade:
        """Return compute and size against the compute-optimal model of the same loss."""
        tradeoff = CompressionTradeoff()
        tpp = np.logspace(*TPP_DECADES, 80)
        size = np.array([tradeoff.size_ratio_for_tpp(float(value)) for value in tpp])
        own = tradeoff.size_ratio_for_tpp(plan.tpp)
        here = (plan.tpp, float(tradeoff.compute_ratio(own)), own)
        return Trade(tpp, tradeoff.compute_ratio(size), size, here, tradeoff.smallest_ratio)

    def recorded(self) -> tuple[Floats, Floats, Floats]:
        """Return TPP, τ and size of the store's runs that record them."""
        columns = [self.runs[name].to_numpy() for name in ("tpp", "tau", "model_size")]
        known = np.all([np.isfinite(c) & (c > 0) for c in columns], axis=0)
        tpp, tau, size = (c[known] for c in columns)
        return tpp, tau, size

    def command(self) -> str:
        """Return the command that gives the same recipe."""
        parts = [f"workbench plan --model-size {self.model_size:g} --tpp {self.tpp:g}"]
        if self.recipe != "celerity":
            parts.append(f"--recipe {self.recipe}")
        parts += [f"--{name.replace('_', '-')} {value}" for name, value in self._typed().items()]
        return " ".join(parts)

    def python(self) -> str:
        """Return Python that gives the same recipe."""
        typed = ", ".join(f"{name}={value}" for name, value in self._typed().items())
        names = "Overrides, plan_run" if typed else "plan_run"
        given = f", overrides=Overrides({typed})" if typed else ""
        return (
            f"from workbench.recipes import {names}\n"
            f"plan_run({self.model_size:g}, tpp={self.tpp:g}, recipe={self.recipe!r}{given})"
        )

    def _typed(self) -> dict[str, str]:
        try:
            given = self.overrides()
        except WorkbenchError:
            return {}
        names = ("batch_size", "warmup_fraction")
        return {n: f"{getattr(given, n):g}" for n in names if getattr(given, n) is not None}


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        msg = f"Warm-up takes a share of the run from 0 to below 1, such as 0.1, found {text!r}."
        raise ArgumentError(msg)
    return value


def _rounded(decades: float) -> float:
    return float(f"{10**decades:.3g}")

"""The verb `schedule`: fit a law of the learning-rate schedule to some runs, predict others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from cyclopts import Parameter

from workbench.cli.app import app, emit
from workbench.cli.options import AsJson, Selection
from workbench.curves import default_loss, require_loss
from workbench.errors import ArgumentError, DataError
from workbench.laws.annealing import fit_annealing
from workbench.laws.cooldown_transfer import transfer_cooldowns
from workbench.laws.curve_fit import CurveFit, Score
from workbench.laws.curve_interval import (
    Fitter,
    PredictedCurve,
    describe_interval,
    predict_runs,
    with_runs_left_out,
)
from workbench.laws.learning_rates import learning_rates, scheduled_runs
from workbench.laws.multi_power import fit_multi_power
from workbench.laws.multi_power_profile import profile_multi_power
from workbench.laws.noise import fit_noise
from workbench.laws.noise_interval import METHOD as NOISE_INTERVAL
from workbench.laws.noise_interval import predict_noise_runs
from workbench.laws.noise_runs import noise_runs
from workbench.laws.schedule_choice import choose_schedule_law
from workbench.laws.schedule_design import Form, ScheduleDesign, design_schedule
from workbench.schema import (
    LossName,
    iter_runs,
    matching,
    parse_filter,
    run_names,
    select_runs,
    take_runs,
)

LawName = Literal["multi-power", "annealing", "noise", "auto"]


@Parameter(name="*")
@dataclass(frozen=True)
class Roles:
    """Which runs play which part."""

    fit: Annotated[
        tuple[str, ...],
        Parameter(
            negative="", consume_multiple=True, help="Runs to fit: NAME OP VALUE. Repeatable."
        ),
    ] = ()
    predict: Annotated[
        tuple[str, ...],
        Parameter(
            negative="", consume_multiple=True, help="Runs to predict: NAME OP VALUE. Repeatable."
        ),
    ] = ()
    shape: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            consume_multiple=True,
            help="multi-power: take C, beta, gamma, kappa from these relatives, say another model "
            "size. Repeatable.",
        ),
    ] = ()
    relatives: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            consume_multiple=True,
            help="Also predict where cooldowns end from one fitted cooldown and these runs at "
            "neighbouring learning rates. Repeatable.",
        ),
    ] = ()

    def check(self, law: LawName) -> None:
        """Raise `ArgumentError` for roles that are missing or do not go with the law."""
        if not self.fit or not self.predict:
            lacking = "--predict" if self.fit else "--fit"
            msg = f"schedule needs {lacking} NAME OP VALUE. Example: --fit role=fit"
            raise ArgumentError(msg)
        if self.shape and law != "multi-power":
            msg = f"--shape goes with --law multi-power; {law} has no shape to take over."
            raise ArgumentError(msg)
        for text in (*self.fit, *self.predict, *self.shape, *self.relatives):
            parse_filter(text)


@Parameter(name="*")
@dataclass(frozen=True)
class Design:
    """What a designed schedule is held to."""

    design: Annotated[
        int | None, Parameter(help="Also design the best schedule of this many steps.")
    ] = None
    peak_lr: Annotated[
        float | None, Parameter(help="--design: highest learning rate [that of the fitted runs].")
    ] = None
    final_lr: Annotated[float, Parameter(help="--design: lowest learning rate.")] = 0.0
    end_lr: Annotated[
        float | None, Parameter(help="--design: learning rate of the last step [free].")
    ] = None
    warmup_steps: Annotated[
        int | None, Parameter(help="--design: steps of warm-up [those of the fitted runs].")
    ] = None
    form: Annotated[
        Form, Parameter(help="--design: any course, or a trunk with a decay of this shape.")
    ] = "free"
    may_rise: Annotated[
        bool, Parameter(negative="", help="--design: let the rate rise again after the warm-up.")
    ] = False

    def find(self, fit: CurveFit, fitted: xr.Dataset) -> ScheduleDesign | None:
        """Return the best schedule, or None where none was asked for."""
        if self.design is None:
            return None
        warmup = self.warmup_steps
        if warmup is None:
            warmup = max(learning_rates(run)[1] for _, run in iter_runs(fitted))
        return design_schedule(
            fit,
            total_steps=self.design,
            peak_lr=self.peak_lr,
            warmup_steps=warmup,
            final_lr=self.final_lr,
            end_lr=self.end_lr,
            form=self.form,
            may_rise=self.may_rise,
        )


@app.command
def schedule(
    selection: Selection | None = None,
    *,
    roles: Roles | None = None,
    law: Annotated[
        LawName, Parameter(help="auto: the law that best predicts each fitted run from the others.")
    ] = "multi-power",
    loss: Annotated[
        LossName | None,
        Parameter(help="Loss to read; default: eval_loss where every selected run has it."),
    ] = None,
    profile: Annotated[
        bool | None,
        Parameter(
            negative="--no-profile",
            help="How the objective rises off its minimum; default: with --law multi-power.",
        ),
    ] = None,
    design: Design | None = None,
    json: AsJson = False,
) -> None:
    """Fit a law to runs under some schedules and predict runs under others."""
    roles, design = roles or Roles(), design or Design()
    roles.check(law)
    if (profile or design != Design()) and law in ("noise", "annealing"):
        msg = f"--profile and --design go with --law multi-power, found {law}."
        raise ArgumentError(msg)
    every = (selection or Selection()).runs()
    fitted, unseen = select_runs(every, roles.fit), select_runs(every, roles.predict)
    chosen = _loss(every, roles, loss)
    if law == "noise":
        data, text = _noise(fitted, unseen, chosen)
    else:
        _same_model(fitted, unseen)
        relatives = select_runs(every, roles.shape) if roles.shape else None
        fit, extra, text = _curve_law(law, fitted, relatives, chosen)
        targets = scheduled_runs(unseen, loss=chosen)
        scores, curves = fit.score(targets), predict_runs(fit, targets)
        data = fit.to_dict() | extra | {"scores": _rows(scores, curves, fitted)}
        data |= {"predictions": [curve.to_dict() for curve in curves]}
        data["prediction_interval"] = describe_interval(fit)
        text = "\n".join([text, _table(scores, curves), f"intervals: {describe_interval(fit)}"])
        if profile or (profile is None and law == "multi-power"):
            data["profile"], text = _profile(fitted, chosen, text)
        best = design.find(fit, fitted)
        if best is not None:
            data["design"], text = _design_dict(best), f"{text}\n{best}"
    if roles.relatives:
        ends = transfer_cooldowns(
            _cooldowns(fitted), unseen, select_runs(every, roles.relatives), loss=chosen
        )
        data["transferred"] = [asdict(end) for end in ends]
        text += "".join(f"\n{end.run_id}: ends at {end.final_loss:.4f}" for end in ends)
    emit({"loss": chosen, "fit_runs": run_names(fitted)} | data, text, as_json=json)


def _loss(every: xr.Dataset, roles: Roles, loss: LossName | None) -> LossName:
    used = matching(every, roles.fit) | matching(every, roles.predict)
    runs = take_runs(every, used)
    return default_loss(runs) if loss is None else require_loss(runs, loss)


def _same_model(fitted: xr.Dataset, unseen: xr.Dataset) -> None:
    if "model_size" not in fitted.variables:
        return
    sizes = np.unique(np.concatenate([d["model_size"].to_numpy() for d in (fitted, unseen)]))
    sizes = sizes[np.isfinite(sizes)]
    if len(sizes) > 1:
        msg = (
            f"A schedule law describes one model; --fit and --predict select {len(sizes)} model "
            f"sizes, {sizes[0]:g} to {sizes[-1]:g}. Add --where model_size={sizes[0]:.0f}."
        )
        raise DataError(msg)


def _curve_law(
    law: LawName, fitted: xr.Dataset, relatives: xr.Dataset | None, loss: LossName
) -> tuple[CurveFit, dict[str, Any], str]:
    if law == "auto":
        choice = choose_schedule_law(fitted, loss=loss)
        extra = {"chosen": choice.name, "held_out_mae": choice.errors()}
        return choice.fit, extra, f"{choice}\n{choice.fit}"
    fitter: Fitter = fit_annealing
    if law == "multi-power":
        donor = None if relatives is None else fit_multi_power(relatives, loss=loss)
        fitter = partial(fit_multi_power, shape=donor)
    runs = scheduled_runs(fitted, loss=loss)
    fit = with_runs_left_out(fitter(runs), runs, fitter)
    return fit, {}, str(fit)


def _noise(fitted: xr.Dataset, unseen: xr.Dataset, loss: LossName) -> tuple[dict[str, Any], str]:
    fit = fit_noise(fitted, loss=loss, targets=unseen)
    targets = noise_runs(unseen, loss=loss)
    scores, curves = fit.score(targets), predict_noise_runs(fit, targets)
    data = fit.to_dict() | {"window": fit.window, "scores": _rows(scores, curves, fitted)}
    data |= {"predictions": [curve.to_dict() for curve in curves], "forecast": None}
    data["prediction_interval"] = NOISE_INTERVAL
    parts = [str(fit), f"hindcast, {fit.window}", _table(scores, curves)]
    if fit.can_forecast:
        scores = fit.score(targets, forecast=True)
        curves = predict_noise_runs(fit, targets, forecast=True)
        data["forecast"] = _rows(scores, curves, fitted)
        parts += ["forecast, from the schedule alone", _table(scores, curves)]
    return data, "\n".join([*parts, f"intervals: {NOISE_INTERVAL}"])


def _rows(
    scores: Sequence[Score], curves: Sequence[PredictedCurve], fitted: xr.Dataset
) -> list[dict[str, Any]]:
    known = set(run_names(fitted))
    return [
        score.to_dict()
        | {"fitted": score.run_id in known}
        | {"final_loss": curve.final_loss(), "coverage": curve.coverage}
        for score, curve in zip(scores, curves, strict=True)
    ]


def _table(scores: Sequence[Score], curves: Sequence[PredictedCurve]) -> str:
    rows = []
    for s, curve in zip(scores, curves, strict=True):
        end = curve.final_loss()
        rows.append(
            f"{s.run_id}: mae {s.mae:.5f}, r2 {s.r2:.5f}, mean relative {s.mean_relative:.2e}, "
            f"final {s.final_error:+.5f}; ends at {end['estimate']:.4f} ({end['lower']:.4f} to "
            f"{end['upper']:.4f}, {end['level']:.0%}), {curve.coverage:.0%} of records inside"
        )
    mae, relative = (np.mean([getattr(s, n) for s in scores]) for n in ("mae", "mean_relative"))
    return "\n".join([*rows, f"mean over runs: mae {mae:.5f}, mean relative {relative:.2e}"])


def _profile(fitted: xr.Dataset, loss: LossName, text: str) -> tuple[dict[str, Any], str]:
    found = profile_multi_power(fitted, loss=loss)
    data = {
        name: {"value": part["value"].to_numpy(), "objective": part["objective"].to_numpy()}
        for name, part in found.items()
    }
    lines = [
        f"profile of the objective over {name}: "
        + ", ".join(
            f"{value:.3g} → {height:.3e}"
            for value, height in zip(part["value"], part["objective"], strict=True)
        )
        for name, part in data.items()
    ]
    return data, "\n".join([text, *lines])


def _design_dict(best: ScheduleDesign) -> dict[str, Any]:
    at = np.unique(np.linspace(0, len(best.lr) - 1, 101).round().astype(int))
    return {
        "step": at,
        "learning_rate": best.lr[at],
        "final_loss": best.final_loss,
        "lower": best.lower,
        "upper": best.upper,
        "level": best.level,
        "interval": best.interval,
        "usual": dict(best.usual),
        "gain": best.gain.to_dict() | {"level": best.level, "over": best.gain_over},
        "gains": {name: gain.to_dict() for name, gain in best.gains.items()},
        "cooldown": best.cooldown,
        "constraints": dict(best.constraints),
        "warnings": list(best.warnings),
    }


def _cooldowns(fitted: xr.Dataset) -> xr.Dataset:
    return select_runs(fitted, ["decay_fraction>0"])

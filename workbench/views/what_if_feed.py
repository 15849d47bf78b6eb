"""What the script of the What-if page is given."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.curves import POINTS
from workbench.forecast import SLIMPAJAMA_LLAMA, SurrogateFit
from workbench.forecast.end_laws import SIMILAR_RATE, SIMILAR_TAU, EndLaw
from workbench.forecast.planned import SAME_TPP
from workbench.text import plural
from workbench.views import format as fmt
from workbench.views.theme import (
    CATEGORY_COLOURS,
    MODES,
    PALETTES,
    TOKENS,
    Mode,
    css_variables,
    palette_of,
)
from workbench.views.what_if_data import FamilyData, Setting, spread
from workbench.views.what_if_model import FITTED, PUBLISHED, WhatIfModel

STATE = (
    "tau", "horizon", "size", "shape", "warmup", "decay", "final", "points", "start", "floor",
    "constants", "view",
)  # fmt: skip
_COLOURED = {"tau": "τ", "tpp": "tokens per parameter", "size": "model size"}
_LOSS = {"eval_loss": "Held-out loss", "train_loss": "Training loss"}


def state_columns(model: WhatIfModel, *, dark: bool) -> dict[str, list[Any]]:
    """Return the values of the controls as the one-row table the script reads."""
    return {name: [getattr(model, name)] for name in STATE} | {"dark": [dark]}


def run_columns(data: FamilyData) -> dict[str, Any]:
    """Return one row per setting: its curves, learning rate, controls, colours and name."""
    settings = data.settings
    name, _ = _coloured(settings)
    values = np.array([getattr(s, name) for s in settings])
    columns: dict[str, Any] = {
        key: np.array([getattr(s, key) for s in settings]) for key in ("tau", "tpp", "size")
    }
    for key in ("loss", "ell", "factor"):
        rows = [getattr(s, key) for s in settings]
        columns[key] = np.stack(rows) if rows else np.empty((0, POINTS))
    for mode in MODES:
        columns[f"color_{mode}"] = _colours(values, name, mode)
    columns["name"] = [_setting_name(s) for s in settings]
    return columns


def scene_json(model: WhatIfModel) -> str:
    """Return what follows the family: constants, laws of final losses, colours, words."""
    data = model.data
    fits = {PUBLISHED: _fit(SLIMPAJAMA_LLAMA, (), ())}
    if data.fit is not None:
        fits[FITTED] = _fit(data.fit.fit, data.fit.borrowed, data.fit.still)
    content = {
        "points": POINTS,
        "fits": fits,
        "ends": [_end(*pair) for pair in zip(data.ends, data.intervals, strict=True)],
        "rules": {"tpp": SAME_TPP, "tau": SIMILAR_TAU, "rate": SIMILAR_RATE},
        "theme": {mode: _theme(mode) for mode in MODES},
        "loss_label": _LOSS.get(data.loss_name, "Loss"),
        "counts": {
            "runs": data.n_runs,
            "done": data.n_done,
            "drawn": len(data.settings),
            "settings": data.n_settings,
        },
        "legend": {mode: _legend(data.settings, mode) for mode in MODES},
    }
    return json.dumps(content, allow_nan=False)


def _fit(fit: SurrogateFit, borrowed: tuple[str, ...], still: tuple[str, ...]) -> dict[str, Any]:
    rows = np.vstack([fit.centred(), fit.draws])
    return {
        "rows": rows.tolist(),
        "centre": list(fit.centre),
        "m": fit.m,
        "level": fit.level,
        "tau_range": _finite(fit.tau_range),
        "tpp_range": _finite(fit.tpp_range),
        "error": fit.mae,
        "n_runs": fit.n_runs,
        "borrowed": list(borrowed),
        "still": list(still),
    }


def _finite(ends: tuple[float, float]) -> list[float] | None:
    return [float(v) for v in ends] if np.isfinite(ends).all() else None


def _end(law: EndLaw, interval: NDArray[np.float64]) -> dict[str, Any]:
    band, fit = law.band, law.band.fit
    return {
        "label": law.label,
        "tau": law.tau if np.isfinite(law.tau) else None,
        "tpp": list(law.tpp_range),
        "factor": law.lr_factor.tolist(),
        "n_runs": law.n_runs,
        "n_sizes": fit.n_points,
        "level": fit.level,
        "identified": fit.identified,
        "L0": fit.L0.estimate,
        "a": fit.a.estimate,
        "b": fit.b.estimate,
        "log_compute": interval[0, [0, -1]].tolist(),
        "log_lower": interval[1].tolist(),
        "log_upper": interval[2].tolist(),
        "largest": band.largest,
    }


def _theme(mode: Mode) -> dict[str, Any]:
    names = ("ink", "muted", "line", "accent")
    bias, variance = CATEGORY_COLOURS[mode][0], CATEGORY_COLOURS[mode][1]
    tokens = {name: TOKENS[mode][name] for name in names}
    return {**tokens, "bias": bias, "variance": variance, "css": css_variables(mode)}


def _coloured(settings: tuple[Setting, ...]) -> tuple[str, str]:
    """Return the first of τ, TPP and size that differs between settings, with its title."""
    for name, title in _COLOURED.items():
        values = np.array([getattr(s, name) for s in settings])
        known = values[np.isfinite(values) & (values > 0)]
        if len(known) and known.max() / known.min() > 1.1:
            return name, title
    return "size", _COLOURED["size"]


def _place(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where values lie between their extremes, by logarithm; NaN where not recorded."""
    with np.errstate(invalid="ignore", divide="ignore"):
        log = np.log(values)
    known = log[np.isfinite(log)]
    span = float(np.ptp(known)) if len(known) else 0.0
    return (log - known.min()) / span if span else np.where(np.isfinite(log), 1.0, np.nan)


def _colours(values: NDArray[np.float64], name: str, mode: Mode) -> list[str]:
    palette = PALETTES[mode][palette_of("model_size" if name == "size" else name)]
    last = len(palette) - 1
    return [
        palette[round(float(p) * last)] if np.isfinite(p) else TOKENS[mode]["muted"]
        for p in (_place(values) if len(values) else [])
    ]


def _legend(settings: tuple[Setting, ...], mode: Mode) -> dict[str, Any]:
    """Return what colours the real curves, and up to four values with their colours."""
    name, title = _coloured(settings)
    values = np.array([getattr(s, name) for s in settings])
    levels = np.unique(values[np.isfinite(values)])
    shown = levels[spread(len(levels), 4)]
    palette = dict(zip(values.tolist(), _colours(values, name, mode), strict=True))
    write = {"tau": fmt.tau, "tpp": fmt.tpp, "size": fmt.count}[name]
    entries = [{"label": write(float(v)), "colour": palette[float(v)]} for v in shown]
    return {"title": title, "entries": entries}


def _setting_name(setting: Setting) -> str:
    parts = [fmt.count(setting.size)]
    if np.isfinite(setting.tau):
        parts.append(f"τ {fmt.tau(setting.tau)}")
    if np.isfinite(setting.tpp):
        parts.append(f"TPP {fmt.tpp(setting.tpp)}")
    parts += [setting.schedule] if setting.schedule else []
    return f"{', '.join(parts)}: {plural(setting.runs, 'run')}"

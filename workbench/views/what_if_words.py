"""What the What-if page says about where its numbers come from."""

from __future__ import annotations

from workbench.forecast import SLIMPAJAMA_LLAMA
from workbench.text import percent_two_digits, plural
from workbench.views.format import escape
from workbench.views.what_if_data import USUAL_TAU, FamilyData
from workbench.views.what_if_model import FITTED

LEARNING_RATE = (
    '<div class="row" style="flex-wrap:wrap">'
    '<span class="group">Learning rate, share of the peak</span>'
    '<span class="small">shape “by hand”: drag the points, tap to add one; by keys: arrows '
    "move, Enter adds, Delete takes away</span></div>"
)
_NAMES = {"tau": "τ", "tpp": "TPP"}


def runs_html(problem: str) -> str:
    """Return the card of a family without a finished run."""
    return (
        '<div class="state" role="status"><span class="tag no">Nothing to compare</span>'
        f"<h2>No real curve yet</h2><p>{escape(problem)} The prediction stands on the published "
        "constants.</p></div>"
    )


def constants_html(data: FamilyData, constants: str) -> str:
    """Say where the surrogate's constants come from, and what they do not cover."""
    if constants != FITTED or data.fit is None:
        parts = [
            f"Published: {SLIMPAJAMA_LLAMA.n_runs} Llama-like runs of 33M to 124M parameters on "
            "SlimPajama. Other data have other constants."
        ]
        if data.fit is None and data.problem:
            parts.append(f"Not fitted here: {escape(data.problem)}")
        return f'<span class="small">{" ".join(parts)}</span>'
    fit = data.fit.fit
    counted = plural(fit.n_runs, "finished run")
    if fit.n_runs < data.n_done:
        counted = f"{fit.n_runs} of {data.n_done} finished runs"
    parts = [
        f"Fitted to {counted} with mean error {percent_two_digits(fit.mae)}; "
        f"{100 * fit.level:.0f} % band from {len(fit.draws)} bootstrap draws over runs."
    ]
    if data.n_told < data.n_done:
        unknown = data.n_done - data.n_told
        parts.append(f"The learning rate of {plural(unknown, 'run')} is not known: left out.")
    parts += [
        f"The runs hardly differ in {_NAMES[name]}: how the curve moves with it is the published "
        "exponent."
        for name in data.fit.borrowed
    ]
    parts += [
        f"The runs do not record {_NAMES[name]}: the curve does not follow it."
        for name in data.fit.still
    ]
    return f'<span class="small">{" ".join(parts)}</span>'


def mode_html(data: FamilyData) -> str:
    """Say where the two settings of the noisy quadratic come from."""
    if data.mode is None:
        return '<span class="small">Start and floor are usual values, not fitted.</span>'
    assumed = f" if their τ, which is not recorded, were {USUAL_TAU}" if data.assumed_tau else ""
    return (
        '<span class="small">Set to come nearest to '
        f"{plural(data.mode.n_curves, 'setting')} of the store{assumed}: "
        f"{percent_two_digits(data.mode.error)} away on average. One mode has no power law; it "
        "shows the mechanism.</span>"
    )

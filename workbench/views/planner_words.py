"""The Planner's recipe in words and numbers."""

from __future__ import annotations

from workbench.forecast.planned import PlannedLoss
from workbench.recipes import Plan
from workbench.text import percent, plural, short_count
from workbench.views.format import escape, interval
from workbench.views.planner_model import Trade

PLANNER_CSS = """
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-weight:400;color:var(--wb-muted);text-align:left;padding:5px 18px 5px 0;white-space:nowrap;
  vertical-align:top}
td{padding:5px 0;border:0} tr+tr{border-top:1px solid var(--wb-line)}
ul{margin:6px 0 0;padding-left:18px;color:var(--wb-muted)} li{margin:4px 0;max-width:95ch}
"""


MAP_NOTE = (
    '<p class="small">Dashed: the recipe\'s τ. Dots: runs of the store, by size. Curves collapse '
    "only between runs with the same TPP, τ and schedule.</p>"
)
_FAR = 100


def recipe_html(plan: Plan, predicted: PlannedLoss | str) -> str:
    """Return the answer: a sentence, the four settings to type, and the final loss.

    Parameters
    ----------
    plan : Plan
        The recipe.
    predicted : PlannedLoss or str
        The final loss, or why there is none.
    """
    numbers = (
        (f"{plan.peak_lr:.3g}", "peak learning rate η"),
        (f"{plan.weight_decay:.3g}", "weight decay λ"),
        (short_count(plan.batch_size), "tokens per step B"),
        (f"{plan.total_steps:,}", "steps T"),
    )
    shown = "".join(f"<div><b>{text}</b><span>{name}</span></div>" for text, name in numbers)
    above = plan.batch_size > plan.critical_batch
    tag = ("no", "Batch too large") if above else ("ok", f"Recipe {plan.recipe}")
    return (
        f'<div class="verdict" role="status"><div><span class="tag {tag[0]}">{tag[1]}</span>'
        f"<h2>{short_count(plan.model_size)} parameters, {short_count(plan.tokens_total)} tokens: "
        f"τ is {plan.tau:.2g} of the run</h2><p>{_loss_sentence(predicted)}</p></div>"
        f'<div class="numbers">{shown}</div></div>'
    )


def _loss_sentence(predicted: PlannedLoss | str) -> str:
    if isinstance(predicted, str):
        return f"No final loss predicted. {escape(predicted)}"
    found = predicted.extrapolation
    level = f"{100 * found.fit.level:.0f} %"
    far = " So far beyond the runs it is little more than a guess." if found.beyond > _FAR else ""
    return (
        f"Predicted final loss {found.loss.estimate:.3f} nats/token "
        f"({interval(found.loss.lower, found.loss.upper)}, {level}): {escape(predicted.source)}."
        f"{far}"
    )


def details_html(plan: Plan, *, days: float, devices: int, accelerator: str) -> str:
    """Return every other value of the recipe, and its cost, as a table."""
    rows = (
        (
            "Timescale τ",
            f"{plan.tau:.4g} of the run, {plan.tau * plan.total_steps:,.0f} steps "
            f"(B / (η λ D) = 1 / (η λ T))",
        ),
        ("Tokens per parameter", f"{plan.tpp:.4g}, whole steps"),
        (
            "Batch",
            f"{plan.batch_size // plan.context} sequences of {plan.context} tokens; critical "
            f"batch about {short_count(plan.critical_batch)} tokens",
        ),
        (
            "Warm-up",
            f"{plural(plan.warmup_steps, 'step')}, {percent(plan.warmup_fraction)} of the run; "
            f"then {plan.schedule.name} to {plan.schedule.end_factor:g} of the peak",
        ),
        ("Compute", f"{plan.flops:.3g} FLOP ({plan.flops_count})"),
        ("Time", f"{_time(days)} on {devices} × {escape(accelerator)}"),
    )
    body = "".join(f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in rows)
    return f'<div class="group">The whole recipe</div><table>{body}</table>'


def _time(days: float) -> str:
    if days < 1 / 24:
        return f"{days * 1440:.2g} minutes"
    return f"{days * 24:.2g} hours" if days < 2 else f"{days:,.3g} days"


def trade_html(trade: Trade) -> str:
    """Say what this TPP costs against the compute-optimal model of the same loss."""
    tpp, compute, size = trade.here
    return (
        f'<p class="small">At the same loss a model at {tpp:.3g} tokens per parameter has '
        f"{size:.2g} times the parameters of the compute-optimal one (20 TPP) and takes "
        f"{compute:.3g} times its compute. Below {trade.wall:.3f} times the parameters no amount "
        "of data reaches the loss. Exponents 0.35 for N and D (Bergsma et al. 2025, eqs. 17 to "
        "23).</p>"
    )


def notes_html(plan: Plan) -> str:
    """Return what to know before trusting the numbers."""
    if not plan.notes:
        return '<div class="group">To know</div><p class="muted">Nothing out of the ordinary.</p>'
    items = "".join(f"<li>{escape(note)}</li>" for note in plan.notes)
    return f'<div class="group">To know</div><ul>{items}</ul>'


def wrong_html(message: str) -> str:
    """Return the card that stands in place of a recipe that cannot be."""
    return (
        '<div class="state" role="alert"><span class="tag no">No recipe</span>'
        f"<h2>These settings do not go together</h2><p>{escape(message)}</p></div>"
    )

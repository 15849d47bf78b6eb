# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Do these runs collapse onto one curve?
#
# **Question.** Once each loss curve is divided by its own end, do the sizes of this family differ
# by more than the seeds of one size, and from where in training on do they not?

# %%
from __future__ import annotations

from workbench.collapse import (
    TRAIN_SMOOTHING,
    CollapseReport,
    Offset,
    collapse_report,
    comparison_sentence,
    two_normalisations,
)
from workbench.curves import XAxis, default_loss, on_progress, smooth
from workbench.errors import DataError
from workbench.laws import at_horizon
from workbench.reports import figures, provenance, tables
from workbench.reports.companions import companions, known_floor
from workbench.reports.figures import show
from workbench.schema import LossName, select_runs
from workbench.store import open_store
from workbench.views import element_style, elements

# papermill reads annotations of one word only.
MaybeLoss = LossName | None
MaybeShare = float | None
warned = provenance.note_warnings()

# %% tags=["parameters"]
store: str = "runs"  # folder of the store, or its URL without a password
where: list[str] = []  # filters NAME OP VALUE, all of which must hold
loss: MaybeLoss = None  # by default the held-out loss where every run has it
offset: Offset = "fit"  # "zero", "fit" or a number in nats/token
x: XAxis = "progress"  # horizontal axis of the normalised curves
points: int = 256  # points of progress
smoothing: MaybeShare = None  # share of the run; by default 0, or 0.05 for the training loss
start: float = 0.2  # means and residuals look only at progress from here on

# %%
opened = open_store(store)
revision = opened.revision()
runs = select_runs(opened.runs(), where)
loss = loss or default_loss(runs)
if smoothing is None:
    smoothing = TRAIN_SMOOTHING if loss == "train_loss" else 0.0
ended, _ = at_horizon(runs, loss=loss)  # as the report does
curves = smooth(on_progress(ended, loss=loss, points=points), width=smoothing)


# %%
def judge(at: Offset) -> CollapseReport:
    return collapse_report(
        runs, offset=at, loss=loss, x=x, points=points, smoothing=smoothing, start=start
    )


report = judge(offset)
both = companions(report, judge)
show(figures.bokeh_runtime(), tables.verdict_card(report))

# %% [markdown]
# ## The numbers
#
# Δ is the standard deviation over all compared runs of the normalised loss, divided by its mean;
# σ the same over the seeds of one setting, averaged over settings. Both use the population
# standard deviation. Below σ the sizes cannot be told from seeds.

# %%
show(tables.numbers_table(report))
show(tables.answers_table(report))

# %% [markdown]
# ## The curves
#
# One colour per model size. Point at a curve to read its run; drag a box to enlarge.

# %%
raw_axis: XAxis = x
if x == "progress" and bool(curves["compute_total"].notnull().all()):
    raw_axis = "compute"
span = element_style.size_span(curves)
early = "The first 4 % of training may leave the frame."
show(
    figures.figure(
        elements.raw_curves(curves, x=raw_axis),
        title="As logged",
        caption=f"{figures.drawn(curves)} Nothing is subtracted or divided. {early}",
    )
)

# %%
panels = [
    figures.figure(
        elements.normalised_curves(seen, span=span),
        title=title,
        caption=f"{figures.half_way(seen)} {early}",
    )
    for title, seen in both.titled()
]
show(figures.side_by_side(*panels))
if both.why_not:
    show(tables.paragraph(f"No panel with a fitted L0: {both.why_not}"))

# %%
offset_said = f"Offset {report.offset.value:.4f} nats/token."
show(
    figures.figure(
        elements.residual_curves(report, span=span),
        title="Residual of each size",
        caption=f"{offset_said} Mean over seeds of ℓ / ⟨ℓ⟩ − 1, over a grey band of ± σ where "
        "seeds are there.",
    ),
    figures.figure(
        elements.deviation_panel(report),
        title="Δ against σ",
        caption=figures.against_noise(report),
    ),
)

# %%
if both.fitted is not None:
    show(
        figures.figure(
            elements.power_law_fit(both.fitted, curves),
            title="Final losses and the power law",
            caption="Dotted: the fitted L0, with its interval as a band. The fit uses the means "
            "over seeds of the filled points.",
        )
    )

# %%
floor = known_floor(runs)
excess = None
if floor is not None:
    try:
        excess = judge(floor)
    except DataError as error:
        show(tables.heading("Excess loss"), tables.paragraph(str(error)))

# %%
pair = two_normalisations(curves)
if excess is not None and pair is not None:
    said = comparison_sentence(pair)
    panels = [
        figures.figure(
            elements.normalised_curves(seen, span=span), title=title, caption=figures.half_way(seen)
        )
        for title, seen in (("Loss, L / L(1)", both.zero), ("Excess loss above H", excess))
    ]
    show(tables.heading("Excess loss"), tables.paragraph(said), figures.side_by_side(*panels))

# %% [markdown]
# ## The runs

# %%
show(tables.runs_table(report, curves))

# %% [markdown]
# ## Left out

# %%
show(tables.left_out_table(report))

# %% [markdown]
# ## How this was made

# %%
parameters = {"store": store, "where": where, "loss": loss, "offset": offset, "x": x}
parameters |= {"points": points, "smoothing": smoothing, "start": start}
hashes = provenance.run_hashes(runs)
data = {"store": store, "revision": revision, "sha256": provenance.family_hash(hashes)}
versions = provenance.versions()
history = str(report.curves.attrs.get("history", ""))
show(tables.parameters_table(parameters))
show(tables.facts({k: str(v) for k, v in data.items()}, label="Data"), tables.hashes_table(hashes))
show(tables.facts(versions, label="Versions"), tables.lines(history))
if warned:
    show(tables.heading("Warnings"), tables.lines("\n".join(warned)))

# %% [markdown]
# ## Answer

# %%
result = {
    "verdict": str(report.verdict),
    "numbers": report.to_dict(),
    "parameters": parameters,
    "data": {**data, "runs": hashes, "history": history.splitlines()},
    "versions": versions,
    "hardware": provenance.hardware(),
    "seeds": provenance.seeds(),
    "warnings": warned,
}
show(tables.paragraph(str(report.verdict)))
provenance.hand_back(result)

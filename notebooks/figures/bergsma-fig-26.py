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
# # Figure 26: Predicted curves from 10 to 10 000 tokens per parameter
#
# **Question.** Does only the optimal τ keep a late drop when training goes on for long?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.trade_off import figure_26

# %% tags=["parameters"]
tau_at_20: float = 0.22  # Timescale τ at 20 tokens per parameter, and the one that is kept
warmup_fraction: float = 0.1  # Share of the run that warms up; then the rate falls linearly to zero
points: int = 400  # Points of a curve

# %%
figure = figure_26(tau_at_20=tau_at_20, warmup_fraction=warmup_fraction, points=points)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

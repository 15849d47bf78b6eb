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
# # Figure 11: Sum of power laws, regression task
#
# **Question.** Does a sum of power laws describe the curves at a constant rate?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.horizons import figure_11
from workbench.reports.papers.notebook import answer, load_curves, present

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_mlp_const.nc
start: float = 0.02  # Share of a run before which its curve is not used
draws: int = 50  # Draws of the intervals

# %%
qiu_mlp_const = load_curves(data, "qiu_mlp_const")
figure = figure_11(qiu_mlp_const, start=start, draws=draws)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

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
# # Figure 12: Predicting other schedules, regression task
#
# **Question.** Does gradient noise explain what a schedule changes in the loss?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, load_curves, present
from workbench.reports.papers.schedules import figure_12

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_mlp_schedules.nc
alpha: float = 0.26  # Coefficient of Eq. 16; the one the authors chose by hand

# %%
qiu_mlp_schedules = load_curves(data, "qiu_mlp_schedules")
figure = figure_12(qiu_mlp_schedules, alpha=alpha)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

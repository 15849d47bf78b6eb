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
# # Figure 1e, 6: Predicting other schedules, CIFAR-5M
#
# **Question.** Does gradient noise explain what a schedule changes in the loss?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, load_curves, present
from workbench.reports.papers.schedules import figure_6

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_c5m_schedules.nc
alpha: float = 0.21  # Coefficient of Eq. 16; the one the authors chose by hand

# %%
qiu_c5m_schedules = load_curves(data, "qiu_c5m_schedules")
figure = figure_6(qiu_c5m_schedules, alpha=alpha)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

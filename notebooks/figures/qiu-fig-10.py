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
# # Figure 10: Compute-optimal horizon
#
# **Question.** Which horizon is best for each size?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.horizons import figure_10
from workbench.reports.papers.notebook import answer, load_curves, present

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_mlp_const.nc
points: int = 1000  # Log-spaced computes that are looked at

# %%
qiu_mlp_const = load_curves(data, "qiu_mlp_const")
figure = figure_10(qiu_mlp_const, points=points)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

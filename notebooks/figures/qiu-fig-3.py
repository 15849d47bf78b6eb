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
# # Figure 3: A constant learning rate
#
# **Question.** Is there collapse without decay, and is it supercollapse?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, load_curves, present
from workbench.reports.papers.offsets import figure_3

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_mlp_const.nc and qiu_mlp.nc
offset: float = 0.0  # Irreducible losses as the authors stored them
linear_offset: float = 0.0013265  # Irreducible losses as the authors stored them
points: int = 1000  # Points of progress

# %%
qiu_mlp_const = load_curves(data, "qiu_mlp_const")
qiu_mlp = load_curves(data, "qiu_mlp")
figure = figure_3(qiu_mlp_const, qiu_mlp, offset=offset, linear_offset=linear_offset, points=points)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

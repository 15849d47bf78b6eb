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
# # Figure 1f, 8: How the spread closes
#
# **Question.** Does the spread fall as √(η(1 − τ̂))?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.ladders import figure_8
from workbench.reports.papers.notebook import answer, load_curves, present

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_c5m.nc and qiu_mlp.nc
offset: float = 3.132387  # Irreducible losses as the authors stored them
mlp_offset: float = 0.0013265  # Irreducible losses as the authors stored them
points: int = 1000  # Points of progress

# %%
qiu_c5m = load_curves(data, "qiu_c5m")
qiu_mlp = load_curves(data, "qiu_mlp")
figure = figure_8(qiu_c5m, qiu_mlp, offset=offset, mlp_offset=mlp_offset, points=points)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

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
# # Figure 1c: Spread of the collapse against the noise of seeds
#
# **Question.** Do sizes differ by less than seeds do, and from where in training on?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.ladders import figure_1c
from workbench.reports.papers.notebook import answer, load_curves, present

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_c5m.nc
offset: float = 3.132387  # Irreducible loss [nats/token] as the authors stored it
points: int = 1000  # Points of progress

# %%
qiu_c5m = load_curves(data, "qiu_c5m")
figure = figure_1c(qiu_c5m, offset=offset, points=points)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

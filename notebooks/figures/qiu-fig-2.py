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
# # Figure 2: Collapse against the offset
#
# **Question.** Is the collapse best at the irreducible loss of the power law?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, load_curves, present
from workbench.reports.papers.offsets import figure_2

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_c5m.nc
offset: float = 3.132387  # Irreducible loss [nats/token] as the authors stored it
points: int = 1000  # Points of progress

# %%
qiu_c5m = load_curves(data, "qiu_c5m")
figure = figure_2(qiu_c5m, offset=offset, points=points)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

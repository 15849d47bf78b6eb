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
# # Figure 1ab: Scaling law and collapse, CIFAR-5M, linear decay
#
# **Question.** Do eight sizes collapse onto one curve once the irreducible loss is subtracted?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.ladders import figure_1ab
from workbench.reports.papers.notebook import answer, load_curves, present

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_c5m.nc
offset: float = 3.132387  # Irreducible loss [nats/token] as the authors stored it
points: int = 1000  # Points of progress

# %%
qiu_c5m = load_curves(data, "qiu_c5m")
figure = figure_1ab(qiu_c5m, offset=offset, points=points)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

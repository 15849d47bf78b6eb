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
# # Figure 7, 14: Gradient noise over reducible loss
#
# **Question.** Is the ratio of gradient noise to reducible loss the same for all sizes?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, load_curves, present
from workbench.reports.papers.schedules import figure_7

# %% tags=["parameters"]
data: str = "curves"  # folder with qiu_c5m_schedules.nc
offset: float = 3.132387  # Irreducible loss [nats/token] as the authors stored it
schedule: str = "constant"  # Schedule whose runs are compared

# %%
qiu_c5m_schedules = load_curves(data, "qiu_c5m_schedules")
figure = figure_7(qiu_c5m_schedules, offset=offset, schedule=schedule)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

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
# # Figure 15: Loss against compute of three parameterisations
#
# **Question.** Is CompleteP steeper than μP?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.accuracy import figure_15
from workbench.reports.papers.notebook import answer, present

# %% tags=["parameters"]
at: float = 1e21  # Where the laws are compared [FLOP]

# %%
figure = figure_15(at=at)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

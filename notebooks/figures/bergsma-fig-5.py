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
# # Figure 5: Compute against compression
#
# **Question.** How much smaller does a model get for how much more compute at the same loss?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.trade_off import figure_5

# %% tags=["parameters"]
exponent: float = 0.35  # Exponent of the loss law, the same in N and in D
tpp_optimal: float = 20.0  # Tokens per parameter of the compute-optimal model

# %%
figure = figure_5(exponent=exponent, tpp_optimal=tpp_optimal)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

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
# # Figure 18: Accuracy against tokens, beside distilled families
#
# **Question.** How many tokens does accuracy cost without a teacher?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.accuracy import figure_18
from workbench.reports.papers.notebook import answer, present

# %% tags=["parameters"]
within: float = 1.1  # How near to the law the three largest models should lie [points]

# %%
figure = figure_18(within=within)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

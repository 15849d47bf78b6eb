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
# # Figure 20: Accuracy against parameters, five families
#
# **Question.** Which family gains most from size?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.accuracy import figure_20
from workbench.reports.papers.notebook import answer, present

# %% tags=["parameters"]
smallest: float = 135000000.0  # Ends of the axis [parameters]
largest: float = 9000000000.0  # Ends of the axis [parameters]

# %%
figure = figure_20(smallest=smallest, largest=largest)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

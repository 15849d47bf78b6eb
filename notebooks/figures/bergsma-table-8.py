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
# # Table 8: Tokens of Celerity
#
# **Question.** Do the printed tokens fit the labels in tokens per parameter?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.sizes import table_8

# %% tags=["parameters"]
tolerance: float = 0.007  # Largest relative difference of tokens over parameters from the label

# %%
figure = table_8(tolerance=tolerance)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

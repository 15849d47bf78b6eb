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
# # Table 4: Inventory of the original family
#
# **Question.** How many curves are there, and of how many tokens?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.sizes import table_4

# %% tags=["parameters"]
tolerance: float = 0.01  # Largest relative difference of the count from the about 600 of the text

# %%
figure = table_4(tolerance=tolerance)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

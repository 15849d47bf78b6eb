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
# # Table 10: Evaluations
#
# **Question.** Do the printed means agree with the printed laws?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.accuracy import table_10
from workbench.reports.papers.notebook import answer, present

# %% tags=["parameters"]
within: float = 1.1  # How near to a law the three largest models should lie [points]

# %%
figure = table_10(within=within)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

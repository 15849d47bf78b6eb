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
# # Table 9: Terms of the training compute
#
# **Question.** Does the formula give the printed compute?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.sizes import table_9

# %% tags=["parameters"]
tolerance: float = 0.005  # Largest relative difference from the printed FLOP

# %%
figure = table_9(tolerance=tolerance)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

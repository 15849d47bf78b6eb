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
# # Table 3: Architecture of the original family
#
# **Question.** Do the printed shapes give the sizes in the names?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.sizes import table_3

# %% tags=["parameters"]
tolerance: float = 0.02  # Largest relative difference from the size in a model's name

# %%
figure = table_3(tolerance=tolerance)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

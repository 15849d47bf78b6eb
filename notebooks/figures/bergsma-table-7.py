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
# # Table 7: The data mix against SlimPajama
#
# **Question.** What is the mix worth?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.settings import table_7

# %% tags=["parameters"]
compute_gain: float = 1.0  # Least factor of compute that the better mix should be worth

# %%
figure = table_7(compute_gain=compute_gain)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

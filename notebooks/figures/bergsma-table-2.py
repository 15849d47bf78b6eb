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
# # Table 2: Architecture of Celerity
#
# **Question.** Do the printed shapes give the printed parameters?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.sizes import table_2

# %% tags=["parameters"]
exponent: float = 0.5  # Exponent of the batch size in the training tokens that the paper states

# %%
figure = table_2(exponent=exponent)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

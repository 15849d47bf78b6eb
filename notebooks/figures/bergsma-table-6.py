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
# # Table 6: Data mix of Celerity
#
# **Question.** Do the shares add up?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.settings import table_6

# %% tags=["parameters"]
whole: float = 100.0  # What the shares should add up to [percent]

# %%
figure = table_6(whole=whole)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

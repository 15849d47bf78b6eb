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
# # Table 5: The tuned proxy
#
# **Question.** Do the tuned settings give the τ that the figures print?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.settings import table_5

# %% tags=["parameters"]
weight_decay: float = 0.1  # AdamW decay λ in the middle of the sweeps
tpp: float = 80.0  # Tokens per parameter of the sweeps

# %%
figure = table_5(weight_decay=weight_decay, tpp=tpp)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

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
# # Table 1: Symbols
#
# **Question.** What are the quantities of the paper called here?
#
# Of Bergsma et al. 2025, Scaling with Collapse, arXiv:2509.25087.

# %%
from __future__ import annotations

from workbench.reports.papers.notebook import answer, present
from workbench.reports.papers.settings import table_1

# %% tags=["parameters"]
peak_lr: float = 0.0003  # Learning rate η and decay λ of the worked example, Llama-2 7B
weight_decay: float = 0.1  # Learning rate η and decay λ of the worked example, Llama-2 7B

# %%
figure = table_1(peak_lr=peak_lr, weight_decay=weight_decay)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

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
# # Figure 5b: Exact sums of power laws
#
# **Question.** Does an exact power law collapse at the compute-optimal horizon, and only there?
#
# Of Qiu et al. 2025, Scaling Collapse Reveals Universal Dynamics, arXiv:2507.02119.

# %%
from __future__ import annotations

from workbench.reports.papers.exact_laws import figure_5b
from workbench.reports.papers.notebook import answer, present

# %% tags=["parameters"]
alpha: float = 0.6  # Exponents of the random-features model in its phase II (Paquette et al. 2024)
beta: float = 0.52  # Exponents of the random-features model in its phase II (Paquette et al. 2024)
mistuned: float = 0.1  # How far from the optimal one the data exponent γ of the outer panels is
points: int = 200  # Points of a curve

# %%
figure = figure_5b(alpha=alpha, beta=beta, mistuned=mistuned, points=points)
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)

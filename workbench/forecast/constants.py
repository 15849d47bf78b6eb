"""Constants of the surrogate that we fitted and publish, since the paper gives none."""

from __future__ import annotations

import io
from importlib import resources

import numpy as np

from workbench.forecast.surrogate import SurrogateFit
from workbench.laws import Estimate

_DRAWS = resources.files("workbench.forecast") / "slimpajama_llama_draws.csv"

SLIMPAJAMA_LLAMA = SurrogateFit(
    b_const=Estimate(0.0354, 0.0312, 0.0374),
    b_exp=Estimate(-0.400, -0.510, -0.344),
    q_const=Estimate(22.0, 13.7, 40.6),
    q_exp=Estimate(-1.174, -1.364, -1.034),
    m=0.05,
    mae=0.00325,
    n_runs=60,
    tau_range=(0.1, 4.0),
    tpp_range=(7.05, 41.4),
    centre=(-0.7343, 3.0652),
    level=0.9,
    warnings=(),
    draws=np.loadtxt(io.StringIO(_DRAWS.read_text("utf-8")), delimiter=","),
)
"""Held-out loss of Llama-like models of 33M to 124M parameters on SlimPajama.

Fitted by ``fit_surrogate`` (joint, 200 bootstrap draws, which are kept beside this module) to 26
cosine runs and 34 runs with a constant rate and a linear cooldown of 10 to 90 % of the run, all
trained from scratch: the public runs of fabian-sp/lr-scheduling (MIT licence). Mean error 0.31 %
over the cosine and 0.34 % over the cooldown runs; constants fitted to the cosine runs alone predict
the cooldown runs within 0.34 %, and those fitted below 124M the 124M cosine runs within 0.42 %
(0.78 % with τ 2 and 4, which the smaller sizes do not reach). Other data, tokenisers and losses
have other constants: fit your own where you have three finished runs.
"""

"""Numbers that Bergsma et al. 2025 (arXiv:2509.25087) prints in its tables and captions."""

from __future__ import annotations

# Table 2 and 8: parameters, and tokens [billion] at 20, 80 and 234 tokens per parameter.
CELERITY_PARAMETERS = {
    "300M": 2.71e8,
    "500M": 5.03e8,
    "900M": 9.06e8,
    "1.8B": 1.81e9,
    "3.9B": 3.88e9,
}
CELERITY_TOKENS = {
    "300M": (5.4, 21.7, 63.4),
    "500M": (10.1, 40.2, 117.8),
    "900M": (18.1, 72.5, 212.3),
    "1.8B": (36.2, 144.8, 424.0),
    "3.9B": (77.6, 310.4, 909.2),
}
CELERITY_BATCH = {"300M": 1.44, "500M": 1.97, "900M": 2.75, "1.8B": 3.80, "3.9B": 5.51}
"""Tokens of one step [million]."""
CELERITY_TAU = {20: 0.175, 80: 0.087, 234: 0.051}
CELERITY_FLOPS = {
    "300M": 1.47e20,
    "500M": 5.15e20,
    "900M": 1.68e21,
    "1.8B": 6.54e21,
    "3.9B": 2.89e22,
}
"""Table 9, at 234 tokens per parameter."""
CELERITY_ACCURACY = {"300M": 46.43, "500M": 51.40, "900M": 54.23, "1.8B": 61.00, "3.9B": 65.28}
"""Table 10: mean over seven tasks [percent], at 234 tokens per parameter."""

# Table 3: width, layers, feed-forward width, head width, and the size its name gives [parameters].
ORIGINAL_PARAMETERS = {"111M": 111e6, "266M": 266e6, "610M": 610e6, "1.7B": 1.7e9, "3.3B": 3.3e9}
# Table 4: number of curves by tokens per parameter.
INVENTORY = {
    "111M": {20: 74, 80: 50, 200: 28, 320: 40, 1280: 11},
    "266M": {20: 25, 80: 19, 320: 19, 1280: 3},
    "610M": {20: 205, 80: 53, 200: 14, 320: 5},
    "1.7B": {20: 31, 80: 11, 160: 1, 320: 1},
    "3.3B": {20: 2, 23: 1, 30: 5},
}
CURVES_IN_ALL = 600
"""About so many, the text says."""

# Table 5: what the proxy was tuned to.
PROXY = {
    "width": 256,
    "layers": 24,
    "head width": 64,
    "tokens": 800e6,
    "sequences a step": 256,
    "base learning rate": 1.62e-2,
    "base initial sd": 8.67e-2,
    "embedding multiplier": 9.17,
    "logit multiplier": 1.095,
}
PROXY_PARAMETERS = 39e6

# Figure 3, 610M at 80 tokens per parameter: τ as printed, from small to large.
SWEEP_TAU = (0.026, 0.053, 0.105, 0.210, 0.421)
SWEEP_SEQUENCES = (126, 252, 504, 1008, 2016)
SWEEP_BASE_LR = (6.48e-2, 3.24e-2, 1.62e-2, 8.1e-3, 4.05e-3)
SWEEP_WEIGHT_DECAY = (0.4, 0.2, 0.1, 0.05, 0.025)

# Table 6: data mix of Celerity [percent].
DATA_MIX = {
    "FineWeb-Edu": 64.75,
    "SlimPajama, subsets that are not web": 17.49,
    "StarCoder": 10.8,
    "Cosmopedia": 4.66,
    "OpenWebMath": 1.88,
    "UltraTextBooks-2.0": 0.42,
}
# Table 7: mean accuracy [percent] with SlimPajama in place of the mix.
SLIMPAJAMA_ACCURACY = {"300M": 45.51, "900M": 52.02}

# Tables 11 and 12: mean absolute error of the surrogate [percent of ℓ].
SURROGATE_ERROR = {"111M": 1.37, "266M": 0.75, "610M": 1.07, "1.7B": 0.66, "3.3B": 0.54}
SURROGATE_ABLATION = {
    "b and q constant": 3.03,
    "law of q only": 3.35,
    "law of b only": 2.08,
    "both laws": 1.07,
    "joint laws in τ and TPP": 1.07,
    "best b and q of each curve": 0.504,
}

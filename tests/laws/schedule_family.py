"""Synthetic runs of one model under several schedules, made from a known Multi-Power Law."""

from __future__ import annotations

import numpy as np
import xarray as xr

from workbench.laws.multi_power import published_multi_power
from workbench.schema import conform, make_runs

TRUTH = {
    "L0": 2.6,
    "A": 0.55,
    "alpha": 0.48,
    "B": 500.0,
    "C": 0.4,
    "beta": 0.3,
    "gamma": 0.8,
}
PEAK = 3e-4


def schedule(kind: str, total: int, warmup: int = 200) -> np.ndarray:
    step = np.arange(total)
    lr = PEAK * np.minimum(step / warmup, 1.0)
    left = np.clip((total - step) / (total - warmup), 0, 1)
    if kind == "cosine":
        return np.where(step < warmup, lr, PEAK * (0.55 - 0.45 * np.cos(np.pi * left)))
    if kind == "two-stage":
        return np.where(step >= total // 2, 0.3 * PEAK, lr)
    if kind == "wsd":
        return lr * np.clip(10 * (1 - step / total), 0.05, 1)
    assert kind == "constant"
    return lr


def family(
    kinds=("constant", "cosine", "two-stage", "wsd"), *, total=4000, every=25, noise=0.0, rng=0
) -> xr.Dataset:
    law = published_multi_power(**TRUTH)
    generator = np.random.default_rng(rng)
    step = np.arange(every, total, every)
    losses, rates = [], []
    for kind in kinds:
        lr = schedule(kind, total)
        losses.append(law.predict(lr, step) * np.exp(noise * generator.standard_normal(len(step))))
        rates.append(lr[step])
    n = len(kinds)
    return conform(
        make_runs(
            {
                "run_id": list(kinds),
                "model_size": np.full(n, 1e8),
                "schedule": list(kinds),
                "peak_lr": np.full(n, PEAK),
                "warmup_steps": np.full(n, 200.0),
                "total_steps": np.full(n, float(total)),
                "status": ["done"] * n,
            },
            {
                "step": np.tile(step, n),
                "train_loss": np.concatenate(losses),
                "learning_rate": np.concatenate(rates),
            },
            row_size=[len(step)] * n,
        )
    )

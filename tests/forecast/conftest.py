"""Synthetic ladders whose final losses follow a law the forecasts may find."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.schema import conform, make_runs


@pytest.fixture(scope="session")
def make_ladder():
    """Return a maker of ladders L = E + A·N^(−a)·(x^(−s) + d·(1 − x)), with seed noise."""

    def make(
        *,
        sizes=(1e6, 2e6, 4e6, 8e6),
        seeds=(0, 1, 2),
        noise=1e-3,
        record_noise=0.0,
        records=200,
        rng=0,
        loss="eval_loss",
        schedule="linear",
        until=1.0,
    ):
        generator = np.random.default_rng(rng)
        x = np.arange(1, records + 1) / records
        x = x[x <= until]
        rows, values = [], []
        for size in sizes:
            for seed in seeds:
                amplitude = 20 * size**-0.2
                curve = 1.5 + amplitude * (x**-0.25 + 0.5 * (1 - x))
                curve *= np.exp(noise * generator.standard_normal())
                curve *= np.exp(record_noise * generator.standard_normal(len(x)))
                rows.append((f"N{size:g}-s{seed}", size, seed))
                values.append(curve)
        n = len(rows)
        coords = {
            "run_id": [row[0] for row in rows],
            "model_size": [row[1] for row in rows],
            "seed": [row[2] for row in rows],
            "tpp": np.full(n, 20.0),
            "tau": np.full(n, 0.2),
            "schedule": [schedule] * n,
            "family": ["ladder"] * n,
            "warmup_fraction": np.full(n, 0.05),
            "total_steps": np.full(n, float(records)),
            "status": ["done" if until == 1 else "running"] * n,
        }
        step = np.tile(np.arange(1, len(x) + 1), n)
        return conform(
            make_runs(
                coords,
                {"step": step, loss: np.concatenate(values)},
                row_size=[len(x)] * n,
            )
        )

    return make

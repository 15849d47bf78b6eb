"""A simulated family and the reference of its smaller sizes, made once."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.watch import Monitor, Reference
from workbench.watch.simulate import Family, inject

SIZES = (1e7, 3e7, 1e8, 3e8)
WATCHED = 1e9
STEPS = 1200


@pytest.fixture(scope="session")
def family():
    """Return a family whose runs share their data, with a bad shard in it."""
    return Family(steps=STEPS, rng=7, shard=0.04)


@pytest.fixture(scope="session")
def family_runs(family):
    """Return finished runs of four sizes."""
    return family.runs(SIZES)


@pytest.fixture(scope="session")
def reference(family_runs):
    """Return the reference of the smaller sizes."""
    return Reference.from_runs(family_runs, name="simulated")


@pytest.fixture
def watched(family, reference):
    """Return a watcher of one simulated run of a larger size with a fault."""

    def watch(fault="healthy", *, at=0.6, size=0.005, rng=0, **options):
        generator = np.random.default_rng(rng)
        loss = inject(family.loss(WATCHED), fault, at=at, size=size, rng=generator)
        monitor = Monitor(
            reference,
            total_steps=STEPS,
            model_size=WATCHED,
            tau=0.2,
            schedule="linear",
            warmup_fraction=0.02,
            **options,
        )
        for step, value in enumerate(loss.tolist(), start=1):
            monitor.update(step, value)
        return monitor

    return watch

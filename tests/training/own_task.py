"""A user's task in a module of its own, as worker processes have to import it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np


def counting(rng, sequences):
    """Tokens that go up by one or two; which, only chance knows."""
    start = rng.integers(0, 16, (sequences, 1))
    steps = rng.integers(1, 3, (sequences, 8))
    tokens = np.concatenate([start, start + np.cumsum(steps, axis=1)], axis=1) % 16
    return tokens[:, :-1], tokens[:, 1:]


def deadly(rng, sequences):
    """Kill the process that trains on it, once it has said which device it may see."""
    if multiprocessing.parent_process() is not None:
        with Path(os.environ["SEEN"]).open("a") as seen:
            seen.write(f"{os.environ['CUDA_VISIBLE_DEVICES']}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return counting(rng, sequences)

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from workbench.schema import make_runs
from workbench.store import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(new_address):
    opened = open_store(new_address(), create=True)
    yield opened
    opened.close()


@pytest.fixture
def sql():
    """Return a runner of one statement on a store's registry, past everything that guards it."""

    def run(store, statement):
        with store._registry.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SET LOCAL search_path TO workbench"))
            result = connection.execute(sa.text(statement))
            return result.fetchall() if result.returns_rows else []

    return run


@pytest.fixture
def start_process():
    """Return a starter of processes.py: the popen, whose `communicate` gives its JSON."""

    def start(mode, path, *, rounds, seed=0):
        command = [sys.executable, str(Path(__file__).with_name("processes.py")), mode]
        return subprocess.Popen(
            [*command, os.fspath(path), str(rounds), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    return start


@pytest.fixture
def run_process(start_process):
    def run(mode, path, *, rounds, seed=0):
        with start_process(mode, path, rounds=rounds, seed=seed) as process:
            out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return json.loads(out)

    return run


@pytest.fixture
def few_runs():
    """Return a maker of `n` short runs with a text and a number coordinate of their own."""

    def make(n=3, *, records=5, prefix="r", **coords):
        steps = np.tile(np.arange(records) * 10, n)
        names = [f"{prefix}{i}" for i in range(n)]
        base = {"run_id": names, "model_size": 1e6 * (1 + np.arange(n)), "note": ["é"] * n}
        loss = np.concatenate([i + 1 / (1 + np.arange(records)) for i in range(n)])
        return make_runs(
            {**base, **coords}, {"step": steps, "train_loss": loss}, row_size=[records] * n
        )

    return make

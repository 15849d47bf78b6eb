"""Fixtures of the training tests."""

from __future__ import annotations

import pytest

from workbench.training import load_spec, train_family


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Train the smoke family with two processes; return store, result and events."""
    path = tmp_path_factory.mktemp("smoke") / "runs"
    events = []
    result = train_family(
        load_spec("smoke"), path, processes=2, progress=False, device="cpu", on_event=events.append
    )
    return path, result, events

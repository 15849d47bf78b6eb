"""What MLflow's run states, tags and parameters mean in the schema, whatever its store."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.io.trackers import TrackedRun, plain

# As stored in files by number, by name in a database.
_STATUSES = {
    "1": "running",
    "2": "planned",
    "3": "done",
    "4": "failed",
    "5": "stopped",
    "RUNNING": "running",
    "SCHEDULED": "planned",
    "FINISHED": "done",
    "FAILED": "failed",
    "KILLED": "stopped",
}
_OWN = "mlflow."
_SYSTEM = "system/"
SYSTEM_VALUE = "value of the machine's load, whose steps are no optimiser steps"


def describe(
    run: TrackedRun,
    *,
    status: str,
    lifecycle: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    """Fill in a run from what MLflow keeps beside its metrics.

    Parameters
    ----------
    run : TrackedRun
        Receives status, name, parent, config and more.
    status : str
        Number or name of its state.
    lifecycle : str
        "active" or "deleted".
    params, tags : mapping of str to str
        The user's tags count as parameters where no parameter has their name.
    """
    run.status = _STATUSES.get(status.upper(), "")
    if lifecycle == "deleted":
        run.refused = "deleted in MLflow"
    run.name = run.name or tags.get("mlflow.runName", "")
    run.parent = tags.get("mlflow.parentRunId", "")
    commit = tags.get("mlflow.source.git.commit", "")
    if commit:
        run.more["git_commit"] = commit
    own = {name: text for name, text in tags.items() if not name.startswith(_OWN)}
    run.config = {name: plain(text) for name, text in {**own, **params}.items()}


def log_value(run: TrackedRun, name: str, step: float, value: float, milliseconds: float) -> None:
    """Add one value of a metric; values of the machine's load are counted as left out."""
    if name.startswith(_SYSTEM):
        run.left_out[SYSTEM_VALUE] += 1
    else:
        run.log(name, step, value, milliseconds / 1000)

"""Which runs train together: rows of one batch, those of one checkpoint with one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from workbench.training.checkpoint import Checkpoint, family_checkpoints, fingerprint
from workbench.training.plan import CHUNK_TOKENS, RunPlan
from workbench.training.report import Device, Job
from workbench.training.spec import FamilySpec


def jobs_of(
    spec: FamilySpec,
    runs: Sequence[RunPlan],
    *,
    workers: int,
    checkpoints: Path,
    device: Device = "cpu",
) -> tuple[Job, ...]:
    """Group runs into jobs, costliest first.

    Parameters
    ----------
    spec : FamilySpec
        The family.
    runs : sequence of RunPlan
        Those of its runs that are to be trained.
    workers : int
        Jobs that train at once: a group is split further when there would be fewer.
    checkpoints : Path
        Where this family's lie: runs that can go on from one are grouped apart.
    device : {"cpu", "cuda"}
        On a CPU a job has as many rows as stay in the cache, on a device all there are.
    """
    found = family_checkpoints(checkpoints)
    groups: dict[tuple[tuple[object, ...], Path | None], list[RunPlan]] = {}
    for run in runs:
        source = _source(found, run, fingerprint(spec, run))
        groups.setdefault((run.batch_key, source), []).append(run)
    jobs: list[Job] = []
    for (_, source), members in groups.items():
        rows = math.ceil(len(members) / workers)
        if device == "cpu":
            rows = min(rows, max(1, CHUNK_TOKENS // members[0].batch_size))
        jobs += [Job(tuple(members[i : i + rows]), source) for i in range(0, len(members), rows)]
    return tuple(sorted(jobs, key=lambda job: -job.cost))


def _source(found: Sequence[Checkpoint], run: RunPlan, mark: str) -> Path | None:
    """Return the newest checkpoint that a run can go on from."""
    for checkpoint in found:
        row = checkpoint.rows.get(run.run_id)
        if row is not None and row.fingerprint == mark:
            return checkpoint.path
    return None

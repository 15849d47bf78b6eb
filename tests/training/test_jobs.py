from __future__ import annotations

import numpy as np
import pytest

from workbench.training import load_spec, parse_spec, plan_family
from workbench.training.checkpoint import JobCheckpoints, Row, fingerprint
from workbench.training.jobs import jobs_of

GROUP = {"width": 8, "tau": 0.2, "tpp": 20, "seed": [0, 1, 2, 3]}


@pytest.fixture(scope="module")
def plan():
    return plan_family(parse_spec({"family": "f", "group": [GROUP]}))


def test_jobs_hold_every_run_once_largest_first(tmp_path):
    plan = plan_family(load_spec("quickstart"))
    jobs = jobs_of(plan.spec, plan.runs, workers=2, checkpoints=tmp_path)
    ids = [run.run_id for job in jobs for run in job.runs]
    assert sorted(ids) == sorted(run.run_id for run in plan.runs)
    assert (np.diff([job.cost for job in jobs]) <= 0).all()
    for job in jobs:
        assert len({(run.shape, run.sequences) for run in job.runs}) == 1
        assert job.source is None


@pytest.mark.parametrize(("workers", "rows"), [(1, [4]), (2, [2, 2]), (9, [1, 1, 1, 1])])
def test_one_group_is_split_over_the_workers(plan, tmp_path, workers, rows):
    jobs = jobs_of(plan.spec, plan.runs, workers=workers, checkpoints=tmp_path)
    assert [len(job.runs) for job in jobs] == rows


def test_a_device_takes_more_rows_than_a_cache_holds(tmp_path):
    wide = GROUP | {"seed": list(range(40))}
    batch = {"rule": "fixed", "sequences": 8}
    plan = plan_family(parse_spec({"family": "f", "batch": batch, "group": [wide]}))
    on = {"workers": 1, "checkpoints": tmp_path}
    assert len(jobs_of(plan.spec, plan.runs, **on)) > 1
    assert len(jobs_of(plan.spec, plan.runs, device="cuda", **on)) == 1


def test_runs_of_one_checkpoint_go_on_together(plan, tmp_path):
    first, second, third, _ = plan.runs

    def save(job, step, runs):
        rows = {run.run_id: Row(fingerprint(plan.spec, run), 0) for run in runs}
        return JobCheckpoints(tmp_path / job).save({}, step=step, rows=rows)

    save("a", 10, [first, second])
    newer = save("b", 20, [first, third])
    jobs = jobs_of(plan.spec, plan.runs, workers=1, checkpoints=tmp_path)
    by_source = {job.source and job.source.parent.name: job.runs for job in jobs}
    assert by_source == {"b": (first, third), "a": (second,), None: (plan.runs[3],)}
    assert newer in {job.source for job in jobs}


def test_a_checkpoint_of_other_numbers_is_passed_over(plan, tmp_path):
    other = plan_family(parse_spec({"family": "f", "optimizer": {"beta1": 0.8}, "group": [GROUP]}))
    assert [run.run_id for run in other.runs] == [run.run_id for run in plan.runs]
    rows = {run.run_id: Row(fingerprint(other.spec, run), 0) for run in other.runs}
    JobCheckpoints(tmp_path / "a").save({}, step=5, rows=rows)
    (job,) = jobs_of(plan.spec, plan.runs, workers=1, checkpoints=tmp_path)
    assert job.source is None

from __future__ import annotations

import pickle

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.training import parse_spec, plan_family
from workbench.training.checkpoint import (
    KEPT,
    JobCheckpoints,
    Row,
    clear_finished,
    family_checkpoints,
    fingerprint,
    job_name,
    read_checkpoint,
)

ROWS = {"a": Row("x", 0), "b": Row("y", 7)}


def state(step):
    return {
        "weights": np.arange(6, dtype=np.float32).reshape(2, 3) + step,
        "mean": np.full((2, 3), np.nan, np.float32),
        "step": np.array(step),
        "run_id": np.array(["a", "längerer Name"]),
        "mode": np.array("adamw, float32"),
    }


@pytest.fixture
def job(tmp_path):
    return JobCheckpoints(tmp_path / "family" / "job")


def test_what_was_saved_is_loaded_bit_for_bit(job):
    path = job.save(state(12), step=12, rows=ROWS)
    found = read_checkpoint(path)
    assert (found.step, found.rows) == (12, ROWS)
    loaded = found.load()
    assert loaded.keys() == state(12).keys()
    for name, values in state(12).items():
        assert loaded[name].dtype == values.dtype
        assert loaded[name].shape == values.shape
        assert loaded[name].tobytes() == values.tobytes()


def test_the_mark_of_a_beginning_holds_no_numbers(job):
    found = read_checkpoint(job.save({}, step=0, rows=ROWS))
    assert found.step == 0
    assert found.load() == {}


def test_the_last_two_are_kept_newest_first(job):
    for step in (5, 100, 20):
        job.save(state(step), step=step, rows=ROWS)
    assert [found.step for found in job.newest()] == [100, 20]
    assert len(list(job.folder.iterdir())) == KEPT
    job.drop_after(20)
    assert [found.step for found in job.newest()] == [20]
    job.clear()
    assert not job.folder.exists()
    assert list(job.newest()) == []


@pytest.mark.parametrize("place", [8, 200, -1])
def test_one_changed_bit_is_found_out(job, place):
    path = job.save(state(3), step=3, rows=ROWS)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_checkpoint(path).load()


def test_a_file_cut_short_is_passed_over(job):
    job.save(state(3), step=3, rows=ROWS)
    path = job.save(state(4), step=4, rows=ROWS)
    path.write_bytes(path.read_bytes()[:100])
    assert [found.step for found in job.newest()] == [3]
    with pytest.raises(DataError, match="cannot be read"):
        read_checkpoint(path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_nothing_is_ever_unpickled(job):
    job.folder.mkdir(parents=True)
    path = job.folder / "step-0000000001-00000000000000000000000000000000.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    assert list(job.newest()) == []
    with pytest.raises(DataError, match="could not be written"):
        job.save({"weights": np.array([Bomb()], dtype=object)}, step=2, rows=ROWS)
    assert not [name for name in job.folder.iterdir() if name != path]


def test_other_safetensors_are_no_checkpoints(job):
    from safetensors.numpy import save_file

    job.folder.mkdir(parents=True)
    path = job.folder / "step-0000000001-0.safetensors"
    save_file({"weights": np.zeros(2)}, path)
    with pytest.raises(DataError, match="no checkpoint of this workbench: its format is None"):
        read_checkpoint(path)


def test_a_write_that_fails_leaves_nothing_behind(job):
    resource = pytest.importorskip("resource")
    job.save(state(1), step=1, rows=ROWS)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # as a full disk: a write fails
    try:
        with pytest.raises(DataError, match="A checkpoint could not be written to"):
            job.save(state(2), step=2, rows=ROWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [found.step for found in job.newest()] == [1]
    assert len(list(job.folder.iterdir())) == 1


def test_leftovers_of_killed_processes_go(job):
    job.save(state(1), step=1, rows=ROWS)
    (job.folder / "0123.partial").write_bytes(b"half")
    job.tidy()
    assert len(list(job.folder.iterdir())) == 1


def test_finished_jobs_are_cleared_others_stay(tmp_path):
    family = tmp_path / "checkpoints" / "family"
    for name, rows in (("one", {"a": ROWS["a"]}), ("two", ROWS)):
        JobCheckpoints(family / name).save(state(3), step=3, rows=rows)
    assert len(family_checkpoints(family)) == 2
    clear_finished(family, ["a"])
    assert [found.path.parent.name for found in family_checkpoints(family)] == ["two"]
    clear_finished(family, ["a", "b"])
    assert not family.parent.exists()
    clear_finished(family, [])  # nothing there


def spec(**changes):
    group = {"width": 8, "tau": 0.2, "tpp": 10, "seed": [0, 1]}
    return parse_spec({"family": "f", "group": [group]} | changes)


def test_a_fingerprint_tells_whatever_changes_the_numbers():
    marks = set()
    for changes in (
        {},
        {"optimizer": {"epsilon": 1e-8}},
        {"evaluation": {"points": 3}},
        {"task": {"vocab": 64}},
        {"compute": {"precision": "bfloat16"}},
    ):
        plan = plan_family(spec(**changes))
        marks |= {fingerprint(plan.spec, run) for run in plan.runs}
    assert len(marks) == 10


def test_a_fingerprint_does_not_mind_other_runs_of_the_family():
    plan = plan_family(spec())
    more = plan_family(spec(group=[{"width": [8, 16], "tau": 0.2, "tpp": 10, "seed": [0, 1, 2]}]))
    known = {run.run_id: fingerprint(more.spec, run) for run in more.runs}
    for run in plan.runs:
        assert known[run.run_id] == fingerprint(plan.spec, run)
    assert job_name(["a", "b"]) == job_name(["b", "a"]) != job_name(["a"])

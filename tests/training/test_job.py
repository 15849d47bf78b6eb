"""The job is idempotent: stopped anywhere, it leaves what an undisturbed one leaves."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from tests.training.kills import differences, values, written_more_than_once
from workbench.errors import CollapseWarning, DataError
from workbench.store import open_store
from workbench.training import job as job_module
from workbench.training import parse_spec, plan_family
from workbench.training.checkpoint import JobCheckpoints, family_checkpoints
from workbench.training.job import train_job
from workbench.training.report import Assignment, Job, Pace
from workbench.training.tasks import build_task

SPEC = parse_spec(
    {
        "family": "f",
        "task": {"vocab": 16},
        "model": {"context": 8},
        "batch": {"rule": "fixed", "sequences": 2},
        "evaluation": {"points": 4, "sequences": 8},
        "group": [{"width": 8, "tau": 0.3, "tpp": [0.1, 0.12, 0.15]}],
    }
)
PLANS = plan_family(SPEC).runs
TASK = build_task(SPEC)
SHORT, _, LONG = (plan.total_steps for plan in PLANS)
EVERY = Pace(seconds=None, steps=5)


class Killed(BaseException):
    """Ends a job as a signal would: nothing may catch it and tidy up."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    """Let jobs write their points, and look for decisions, after every step."""
    monkeypatch.setattr(job_module, "FLUSH_SECONDS", 0.0)


class Place:
    """A store, and jobs that train into it."""

    def __init__(self, path):
        self.path = path
        self.store = open_store(path, create=True)
        self.folder = path / "checkpoints" / "f"
        self.told = []

    def train(self, plans=PLANS, *, pace=EVERY, source=None, at=None):
        """Train; `at` maps a step to what is done then, and returns whether to halt."""
        steps = {plan.run_id: 0 for plan in plans}
        self.told = []

        def tell(report):
            self.told.append(report)
            steps[report.run_id] = report.steps

        def halted():
            return bool(at and at.get(max(steps.values()), lambda: False)())

        assignment = Assignment(SPEC, self.store.address, self.folder, pace)
        train_job(assignment, Job(tuple(plans), source), TASK, tell=tell, halted=halted)

    def kill(self, step, **options):
        def die():
            raise Killed

        with pytest.raises(Killed):
            self.train(at={step: die}, **options)

    @property
    def resumed(self):
        return {report.resumed for report in self.told if report.resumed is not None}

    @property
    def status(self):
        table = self.store.table()
        return dict(zip(table["run_id"], table["status"], strict=True))


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path / "runs")
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("peace") / "runs")
    made.train()
    found = values(made.path)
    made.store.close()
    for plan in PLANS:
        np.testing.assert_array_equal(
            found[plan.run_id]["step"], np.arange(1, plan.total_steps + 1)
        )
    return found


def check(place, expected, *, twice=0):
    assert set(place.status.values()) == {"done"}
    assert differences(values(place.path), expected) == []
    assert written_more_than_once(place.path)[0] == twice
    assert family_checkpoints(place.folder) == []


@pytest.mark.parametrize("step", [1, 8, SHORT + 2])
def test_killed_at_a_step(place, expected, step):
    place.kill(step)
    assert "running" in place.status.values()
    place.train()
    assert place.resumed >= {(step - 1) // 5 * 5}
    check(place, expected)


def test_killed_again_and_again(place, expected):
    for step in range(2, LONG, 3):
        place.kill(step)
    place.train()
    check(place, expected)


def test_halted_is_resumed_where_it_was(place, expected):
    place.train(at={7: lambda: True}, pace=Pace(seconds=None))
    assert set(place.status.values()) == {"stopped"}
    place.train()
    assert place.resumed == {7}
    check(place, expected)


def test_a_finished_job_is_told_again_and_changes_nothing(place, expected):
    place.train()
    revision = place.store.revision()
    place.train()
    assert [report.status for report in place.told] == ["done"] * len(PLANS)
    assert place.store.revision() == revision
    check(place, expected)


def test_rows_go_on_in_other_jobs(place, expected):
    place.kill(8)
    (source,) = [found.path for found in family_checkpoints(place.folder) if found.step == 5]
    for plans in (PLANS[:1], PLANS[1:]):
        place.train(plans, source=source)
        assert place.resumed == {5}
    shutil.rmtree(place.folder)  # of the first job; the launcher does it when all runs are done
    check(place, expected)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(place, expected):
    place.kill(11)
    newest = family_checkpoints(place.folder)[0]
    assert newest.step == 10
    content = bytearray(newest.path.read_bytes())
    content[-1] ^= 1
    newest.path.write_bytes(content)
    with pytest.warns(CollapseWarning, match="SHA-256 differs. An older one is used"):
        place.train()
    assert 5 in place.resumed
    check(place, expected)


def test_a_checkpoint_ahead_of_the_store_is_not_used(place, expected, tmp_path):
    other = Place(tmp_path / "other")
    other.kill(12)
    other.store.close()
    place.folder.parent.mkdir()
    shutil.copytree(other.folder, place.folder)  # as after a power cut: the points are lost
    place.train()
    assert place.resumed == {0}
    check(place, expected)


def test_another_machine_goes_on_and_says_so(place, expected, monkeypatch):
    here = job_module.this_machine("cpu")
    assert torch.__version__ in here
    monkeypatch.setattr(job_module, "this_machine", lambda _device: "torch 1.0 on cpu (VSX)")
    place.kill(6)
    monkeypatch.setattr(job_module, "this_machine", lambda _device: here)
    with pytest.warns(CollapseWarning, match=r"made by torch 1\.0 on cpu.*perhaps not bit for bit"):
        place.train()
    check(place, expected)


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(
    place, expected, monkeypatch
):
    def full(*_args, **_options):
        msg = "no room."
        raise DataError(msg)

    monkeypatch.setattr(JobCheckpoints, "save", full)
    with pytest.warns(CollapseWarning, match=r"no room\. Training goes on"):
        place.train()
    check(place, expected)


def give_up(place, steps):
    """Leave what an attempt with other numbers has left: it failed and has no checkpoint."""
    for plan in PLANS:
        writer = place.store.start_run(plan.run_id, family="f")
        writer.append(step=np.arange(1, steps + 1), train_loss=np.full(steps, 99.0))
        writer.finish("failed")


@pytest.mark.parametrize(("left", "step"), [(3, 7), (SHORT, SHORT + 1)])
def test_what_a_failed_attempt_left_is_replaced_even_if_killed_again(place, expected, left, step):
    give_up(place, left)
    place.kill(step)
    place.train()
    assert differences(values(place.path), expected) == []


def test_a_stopped_run_leaves_at_once_and_the_others_do_not_notice(place, expected):
    gone = PLANS[1].run_id

    def decide():
        place.store.stops.decide(gone, reason="falls behind")
        return False

    place.train(at={6: decide})
    table = place.store.table().set_index("run_id")
    assert table.loc[gone, "status"] == "stopped"
    assert table.loc[gone, "stop_reason"] == "falls behind"
    assert table.loc[gone, "last_step"] == 7  # looked at after every step here
    others = {name: run for name, run in values(place.path).items() if name != gone}
    assert differences(others, {n: run for n, run in expected.items() if n != gone}) == []
    assert set(table["status"].drop(gone)) == {"done"}
    (told,) = [report for report in place.told if report.status == "stopped"]
    assert told.run_id == gone


def test_a_run_stopped_before_it_began_is_never_trained(place):
    gone = PLANS[0].run_id
    place.store.plan_run(gone, family="f")
    place.store.stops.decide(gone, reason="not needed")
    place.train()
    table = place.store.table().set_index("run_id")
    assert table.loc[gone, ["status", "n_records", "stop_reason"]].tolist() == [
        "stopped",
        0,
        "not needed",
    ]


def test_a_withdrawn_decision_lets_the_run_end_as_if_nothing_had_been(place, expected):
    gone = PLANS[1].run_id

    def decide():
        place.store.stops.decide(gone, reason="a mistake")
        return False

    place.train(at={6: decide})
    place.store.stops.withdraw(gone)
    place.train()
    assert place.store.table().set_index("run_id").loc[gone, "stop_reason"] == (
        "withdrawn: a mistake"
    )
    assert set(place.status.values()) == {"done"}
    assert differences(values(place.path), expected) == []


def test_a_job_that_lost_its_runs_cannot_write_any_more(place, expected):
    taken = Place(place.path)

    def take_over():
        taken.train()
        return False

    place.train(at={9: take_over})
    assert {report.status for report in place.told} == {"running", "failed"}
    (error,) = {report.error.split(":")[0] for report in place.told if report.error}
    assert error == "DataError"
    check(place, expected)
    taken.store.close()

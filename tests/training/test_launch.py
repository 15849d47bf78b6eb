from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.kills import alive, workers_of
from workbench.errors import ArgumentError, DataError
from workbench.schema import iter_runs
from workbench.store import open_store
from workbench.training import load_spec, parse_spec, plan_family, train_family
from workbench.training.report import Assignment

ROOT = Path(__file__).resolve().parents[2]
LONG = {
    "family": "long",
    "batch": {"rule": "fixed", "sequences": 8},
    "group": [{"width": [16, 24], "tau": 0.2, "tpp": 2000}],
}


def train(store, spec=None, **options):
    return train_family(spec or load_spec("smoke"), store, progress=False, device="cpu", **options)


def test_every_run_is_done_with_every_step_in_the_store(smoke):
    path, result, _ = smoke
    plans = {run.run_id: run for run in plan_family(load_spec("smoke")).runs}
    assert {row["run_id"] for row in result.runs} == set(plans)
    assert {row["status"] for row in result.runs} == {"done"}
    assert result.run_steps_per_second > 0
    store = open_store(path)
    assert store.check() == ()
    for run_id, run in iter_runs(store.runs()):
        plan = plans[run_id]
        steps = np.arange(1, plan.total_steps + 1)
        np.testing.assert_array_equal(run["step"], steps)
        np.testing.assert_array_equal(run["tokens"], steps * plan.batch_size)
        np.testing.assert_allclose(run["learning_rate"], plan.peak_lr * plan.factors())
        assert np.isfinite(run["train_loss"]).all()
        assert np.isfinite(run["eval_loss"]).sum() == 5
        assert run["eval_loss"].to_numpy()[-1] > run["irreducible_loss"].item()


def test_final_loss_is_the_last_held_out_loss(smoke):
    path, result, _ = smoke
    table = open_store(path).table().set_index("run_id")
    for row in result.runs:
        assert row["final_loss"] == table.loc[row["run_id"], "final_eval_loss"]


def test_processes_do_not_change_a_bit(smoke, tmp_path):
    path, _, _ = smoke
    train(tmp_path / "alone", processes=1)
    for loss in ("train_loss", "eval_loss"):
        one = open_store(path).runs().sortby("run_id")[loss]
        other = open_store(tmp_path / "alone").runs().sortby("run_id")[loss]
        np.testing.assert_array_equal(one, other)


def test_events_tell_the_way_from_start_to_finish(smoke):
    _, _, events = smoke
    assert events[0].kind == "started"
    assert events[-1].kind == "finished"
    assert events[-1].share == 1.0
    assert events[-1].runs_done == events[-1].runs_total == 5
    assert sorted(e.run_id for e in events if e.kind == "run") == sorted(
        run.run_id for run in plan_family(load_spec("smoke")).runs
    )
    shares = [event.share for event in events]
    assert shares == sorted(shares)


def test_finished_runs_are_not_trained_again(smoke):
    path, first, _ = smoke
    revision = open_store(path).revision()
    again = train(path)
    assert again.runs == first.runs
    assert again.run_steps_per_second == 0
    assert open_store(path).revision() == revision


def test_resume_false_refuses_a_family_that_is_there(smoke):
    with pytest.raises(ArgumentError, match="already has 5 runs of family 'smoke'"):
        train(smoke[0], resume=False)


def test_other_settings_under_the_same_name_are_refused(smoke):
    content = load_spec("smoke").model_dump() | {"optimizer": {"peak_lr": 0.5}}
    with pytest.raises(DataError, match=r"peak_lr .* Choose another family name"):
        train(smoke[0], parse_spec(content))


def test_family_name_and_missing_runs(smoke, tmp_path):
    spec = parse_spec({"family": "a", "group": [{"width": 8, "tau": 0.2, "tpp": 1}]})
    result = train(tmp_path / "runs", spec, family="renamed")
    assert result.family == "renamed"
    assert result.runs[0]["run_id"].startswith("renamed-w8-")
    wider = parse_spec({"family": "a", "group": [{"width": [8, 16], "tau": 0.2, "tpp": 1}]})
    again = train(tmp_path / "runs", wider, family="renamed")
    assert [row["status"] for row in again.runs] == ["done", "done"]
    with pytest.raises(ArgumentError, match="family is wrong"):
        train(tmp_path / "runs", spec, family="bad name")


def test_a_run_that_diverges_is_failed_and_said(tmp_path):
    spec = parse_spec(
        {
            "family": "wild",
            "optimizer": {"peak_lr": 1e38},
            "group": [{"width": 8, "tau": 0.2, "tpp": 1}],
        }
    )
    with pytest.raises(DataError, match=r"1 runs failed.*the run diverged"):
        train(tmp_path / "runs", spec)
    assert set(open_store(tmp_path / "runs").table()["status"]) == {"failed"}


def test_a_listener_that_raises_leaves_no_process_behind(tmp_path):
    def listen(event) -> None:
        if event.kind == "progress":
            msg = "listener"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="listener"):
        train(tmp_path / "runs", parse_spec(LONG), processes=1, on_event=listen)
    until = time.monotonic() + 30
    while workers_of(os.getpid()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [child for child in workers_of(os.getpid()) if alive(child)]


def test_processes_below_one(tmp_path):
    with pytest.raises(ArgumentError, match="processes must be at least 1, found 0"):
        train(tmp_path / "runs", processes=0)


def wait_for_points(path, deadline=60):
    """Return once a run of the store has live points."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        try:
            if (open_store(path).table()["n_records"] > 0).any():
                return
        except ArgumentError:
            pass  # the store is not there yet
        time.sleep(0.1)
    pytest.fail("no point arrived in the store")


def test_stop_from_another_thread_marks_unfinished_runs_stopped(tmp_path):
    path, stop = tmp_path / "runs", threading.Event()

    def stop_when_running() -> None:
        wait_for_points(path)
        stop.set()

    helper = threading.Thread(target=stop_when_running)
    helper.start()
    result = train(path, parse_spec(LONG), processes=1, stop=stop)
    helper.join()
    # One run was in training, the other had not begun: both are said to be stopped.
    assert {row["status"] for row in result.runs} == {"stopped"}
    assert open_store(path).check() == ()


SCRIPT = """
import signal
import sys
from workbench.training import Pace, parse_spec, train_family
if __name__ == "__main__":
    # A shell's background job starts deaf to Ctrl-C, and so would this script.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pace = Pace(seconds=0.3)
    train_family(parse_spec({spec!r}), sys.argv[1], processes=2, device="cpu", pace=pace)
"""


def start_script(tmp_path, spec):
    script = tmp_path / "train_long.py"
    script.write_text(SCRIPT.format(spec=spec))
    path = tmp_path / "runs"
    process = subprocess.Popen(
        [sys.executable, str(script), str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_points(path)
    return process, path


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a process group")
def test_ctrl_c_stops_all_processes_and_marks_the_runs(tmp_path):
    process, path = start_script(tmp_path, LONG)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.count("Traceback") == 1
    assert "KeyboardInterrupt" in errors
    assert set(open_store(path).table()["status"]) == {"stopped"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the children under /proc")
def test_no_process_outlives_a_killed_launcher(tmp_path):
    process, path = start_script(tmp_path, LONG)
    children = workers_of(process.pid)
    assert len(children) == 2
    process.kill()
    process.communicate(timeout=60)
    until = time.monotonic() + 30
    while any(alive(child) for child in children) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(alive(child) for child in children)
    assert "running" not in set(open_store(path).table()["status"])


def test_a_family_trains_into_a_store_on_a_server(postgres, tmp_path):
    database = postgres.make_database()
    address = f"{postgres.url(database)}?curves={tmp_path / 'curves'}"
    result = train(address, processes=2)
    assert {row["status"] for row in result.runs} == {"done"}
    store = open_store(postgres.url(database))
    assert store.check() == ()
    assert store.runs().sizes["run"] == len(result.runs)
    assert "w@rd" not in repr(Assignment(load_spec("smoke"), store.address, tmp_path))
    store.close()
    postgres.drop_database(database)

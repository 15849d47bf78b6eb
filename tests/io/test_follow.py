"""Logs followed while they are written: every point once, whatever happens to either side."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from workbench.cli import run as run_cli
from workbench.errors import ArgumentError, DataError
from workbench.io import FORMATS, ColumnMapping, follow_sources, import_sources
from workbench.io.result import Format
from workbench.io.runlog import RunLog, parsed
from workbench.store import Recorder, open_store
from workbench.store.digest import digests

ROOT = Path(__file__).parents[2]


def value(step):
    return 10 / (1 + step)


def lines(steps, shift=0.0):
    return "".join(f"{step},{value(step) + shift!r}\n" for step in steps)


def append(path, text):
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class Following:
    """A follower in a thread of its own, and what it said."""

    def __init__(self, store, *sources, **options):
        self.events, self.result, self.error = [], None, None
        self._stop = threading.Event()
        options = {"interval": 0.01} | options

        def work():
            try:
                self.result = follow_sources(
                    store, sources, stop=self._stop, on_event=self.events.append, **options
                )
            except (ArgumentError, DataError) as error:
                self.error = error

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stop.set()
        self.join()

    def join(self):
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "store", create=True)
    yield opened
    opened.close()


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("step,loss\n" + lines(range(3)))
    return path


def steps_of(store, run_id="run"):
    table = store.table().set_index("run_id")
    if run_id not in table.index or not table.loc[run_id, "n_records"]:
        return []
    return store.runs(where=[f"run_id={run_id}"])["step"].to_numpy().tolist()


def row(store, run_id="run"):
    return store.table().set_index("run_id").loc[run_id]


def test_points_arrive_while_the_log_is_written(store, log):
    with Following(store, log, settings={"total_steps": "6"}) as following:
        wait_for(lambda: steps_of(store) == [0, 1, 2])
        assert row(store)["status"] == "running"
        assert row(store)["total_steps"] == 6
        append(log, "3,2.5\n4,2")
        wait_for(lambda: steps_of(store) == [0, 1, 2, 3])  # the torn line waits
        append(log, ".0\n")
        wait_for(lambda: steps_of(store) == [0, 1, 2, 3, 4])
    assert [event.kind for event in following.events] == ["points"] * 3
    assert following.events[-1].text == "run: 1 more, up to step 4"
    (state,) = following.result.runs
    assert state == {
        "run_id": "run",
        "status": "stopped",  # it was told to stop; the log may go on
        "records": 5,
        "last_step": 4,
        "attempts": 1,
    }
    assert row(store)["status"] == "stopped"
    assert store.check() == ()


def test_following_to_the_end_is_importing(store, log, tmp_path):
    with Following(store, log, until_idle=0.3, settings={"N": "5"}) as following:
        wait_for(lambda: len(steps_of(store)) == 3)
        append(log, lines(range(3, 9)))
        following.join()
    assert following.result.runs[0]["status"] == "done"
    once = open_store(tmp_path / "once", create=True)
    import_sources(once, [log], settings={"N": "5"})
    assert digests(store.runs()) == digests(once.runs())
    assert import_sources(store, [log], settings={"N": "5"}).imported == ()
    append(log, lines([9]))
    assert import_sources(store, [log]).imported[0]["records"] == 10


@pytest.mark.parametrize(("planned", "status"), [(10, "stopped"), (3, "done"), (4, "stopped")])
def test_a_log_that_falls_silent_before_its_planned_end_was_stopped(store, log, planned, status):
    settings = {"total_steps": str(planned)}
    result = follow_sources(store, [log], until_idle=0, settings=settings)
    assert result.runs[0]["status"] == status


def test_an_unchanged_log_is_not_read_again(store, log, monkeypatch):
    read, count = FORMATS["csv"].read, []

    def counted(source):
        count.append(source)
        return read(source)

    monkeypatch.setitem(FORMATS, "csv", Format("csv", FORMATS["csv"].sniff, counted))
    looks = threading.Semaphore(0)
    real = os.stat

    class Counting:
        def __call__(self, path, *args, **kwargs):
            if str(path) == str(log):
                looks.release()
            return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", Counting())
    with Following(store, log):
        for _ in range(60):
            assert looks.acquire(timeout=60)
    assert len(count) == 1


def test_a_restarted_training_begins_an_attempt_and_its_points_win(store, log):
    append(log, lines(range(3, 8)))
    with Following(store, log) as following:
        wait_for(lambda: len(steps_of(store)) == 8)
        append(log, lines(range(5, 7), shift=0.5))  # taken up again from a checkpoint
        wait_for(lambda: store.runs()["train_loss"].to_numpy()[5] == value(5) + 0.5)
        append(log, lines(range(7, 10), shift=0.5))
        wait_for(lambda: len(steps_of(store)) == 10)
    assert following.result.runs[0]["attempts"] >= 2
    expected = [value(step) + (0.5 if step >= 5 else 0) for step in range(10)]
    assert store.runs()["train_loss"].to_numpy().tolist() == expected


def test_a_rotated_or_truncated_log_loses_nothing(store, log, tmp_path):
    with Following(store, log) as following:
        wait_for(lambda: len(steps_of(store)) == 3)
        log.rename(tmp_path / "run.csv.1")
        log.write_text("step,loss\n" + lines(range(3, 5)))
        wait_for(lambda: len(steps_of(store)) == 5)
        log.write_text("")
        wait_for(lambda: following.events[-1].kind == "trouble")
        log.write_text("step,loss\n" + lines(range(5, 8)))
        wait_for(lambda: len(steps_of(store)) == 8)
        log.unlink()
        log.write_text("step,loss\n" + lines(range(8, 9)))
        wait_for(lambda: len(steps_of(store)) == 9)
    assert store.runs()["train_loss"].to_numpy().tolist() == [value(step) for step in range(9)]
    assert following.result.runs[0]["attempts"] == 1


def test_evaluations_that_come_later_fill_their_records(store, tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("step,loss,val_loss\n0,3,\n1,2,\n")
    with Following(store, path) as following:
        wait_for(lambda: len(steps_of(store)) == 2)
        path.write_text("step,loss,val_loss\n0,3,\n1,2,2.5\n")
        wait_for(lambda: "eval_loss" in store.runs() and store.runs()["eval_loss"][1] == 2.5)
    assert following.result.runs[0]["attempts"] == 1
    np.testing.assert_array_equal(store.runs()["train_loss"], [3, 2])


def test_new_logs_in_a_folder_are_taken_up(store, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.csv").write_text("step,loss\n" + lines(range(2)))
    with Following(store, folder, family="sweep") as following:
        wait_for(lambda: steps_of(store, "a") == [0, 1])
        (folder / "deep").mkdir()
        (folder / "deep" / "b.csv").write_text("")
        (folder / "notes.txt").write_text("nothing to read")
        append(folder / "deep" / "b.csv", "step,loss\n" + lines(range(4)))
        wait_for(lambda: steps_of(store, "deep/b") == [0, 1, 2, 3])
    assert {state["run_id"] for state in following.result.runs} == {"a", "deep/b"}
    assert set(store.table()["family"]) == {"sweep"}


def test_a_log_that_has_no_format_yet_is_waited_for(store, tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("")
    with Following(store, path):
        path.write_text("step,loss\n")
        append(path, lines(range(2)))
        wait_for(lambda: steps_of(store) == [0, 1])


def status_format():
    """Return a format whose logs say how they ended: lines of STEP LOSS, then ``end STATUS``."""

    def read(source):
        log = RunLog(source.name, source=str(source))
        log.settings["status"] = "running"
        for line in source.path.read_text().splitlines()[1:]:
            first, second = line.split()
            if first == "end":
                log.settings["status"] = second
            elif first == "lr":
                log.settings["peak_lr"] = float(second)
            else:
                log.add(int(first), {"loss": float(second)})
        return parsed([log])

    return Format("ends", lambda source: source.head.startswith(b"ends\n"), read)


def test_it_ends_with_a_log_that_says_so_and_hyperparameters_may_come_late(
    store, tmp_path, monkeypatch
):
    monkeypatch.setitem(FORMATS, "ends", status_format())
    path = tmp_path / "run.log"
    path.write_text("ends\n0 3.0\n")
    with Following(store, path, format="ends") as following:
        wait_for(lambda: steps_of(store) == [0])
        assert row(store)["status"] == "running"
        append(path, "lr 0.5\n")
        wait_for(lambda: row(store).get("peak_lr") == 0.5)
        append(path, "1 2.0\nend failed\n")
        following.join()  # by itself
    assert following.result.runs[0] == {
        "run_id": "run",
        "status": "failed",
        "records": 2,
        "last_step": 1,
        "attempts": 1,
    }
    assert following.events[-1].kind == "ended"


def test_a_follower_started_again_goes_on_where_the_log_is(store, log):
    with Following(store, log):
        wait_for(lambda: len(steps_of(store)) == 3)
    append(log, lines(range(3, 5)))
    with Following(store, log) as following:
        wait_for(lambda: len(steps_of(store)) == 5)
    assert [event.text for event in following.events] == ["run: 2 more, up to step 4"]
    store.consolidate()
    result = follow_sources(store, [log], until_idle=0)
    assert result.runs[0]["status"] == "done"
    append(log, lines(range(5, 7)))
    store.consolidate()
    again = follow_sources(store, [log], until_idle=0)  # its log turned out to go on
    assert (again.runs[0]["status"], again.runs[0]["records"]) == ("done", 7)
    assert store.runs()["train_loss"].to_numpy().tolist() == [value(step) for step in range(7)]
    assert store.check() == ()


def test_another_log_under_the_name_of_a_finished_run_is_refused(store, log):
    import_sources(store, [log])
    log.write_text("step,loss\n" + lines(range(9), shift=1.0))
    with pytest.raises(DataError, match="in the store already, with other records"):
        follow_sources(store, [log], until_idle=0)
    assert steps_of(store) == [0, 1, 2]
    assert row(store)["status"] == "done"


def test_a_run_that_another_process_records_is_left_alone(store, log):
    with Recorder(store, family="f", run_id="run") as rec:
        rec.log(0, train_loss=1.0)
        rec.flush()
        with pytest.raises(DataError, match="is being written by another process"):
            follow_sources(store, [log], until_idle=0)
        rec.log(1, train_loss=0.5)
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0, 0.5]


def test_of_two_followers_the_later_one_stays(store, log):
    with Following(store, log) as first:
        wait_for(lambda: len(steps_of(store)) == 3)
        with Following(store, log):
            append(log, lines(range(3, 5)))
            wait_for(lambda: len(steps_of(store)) == 5)
            for step in range(5, 2000):
                if first.error is not None:
                    break
                append(log, lines([step]))
                wait_for(lambda step=step: step in steps_of(store))
    assert first.error is None or "may not write any more" in str(first.error)
    assert store.check() == ()


def test_bad_arguments_change_nothing(tmp_path, log):
    target = tmp_path / "none"
    for options, said in (
        ({"sources": []}, "no SOURCE"),
        ({"sources": [tmp_path / "gone.csv"]}, "does not exist"),
        ({"sources": [log], "interval": -1}, "--interval"),
        ({"sources": [log], "until_idle": float("nan")}, "--until-idle"),
        ({"sources": [log], "settings": {"max_steps": "last"}}, "total_steps=last"),
        ({"sources": [log], "settings": {"tau": "x"}}, "is a number"),
        ({"sources": [log], "format": "xls"}, "is unknown"),
        (
            {"sources": [log], "mapping": ColumnMapping(some=(("*", {"total_steps": "last"}),))},
            "total_steps=last",
        ),
    ):
        with pytest.raises(ArgumentError, match=said):
            follow_sources(target, options.pop("sources"), **{"until_idle": 0} | options)
    (tmp_path / "text.txt").write_text("hello\n")
    with pytest.raises(DataError, match="no log in a known format"):
        follow_sources(target, [tmp_path / "text.txt"], until_idle=0)
    (tmp_path / "bad.csv").write_text("step,loss\n1,nan\n")
    with pytest.raises(DataError, match="Nothing could be read"):
        follow_sources(target, [tmp_path / "bad.csv"], until_idle=0)
    assert not target.exists()


def test_one_run_id_in_two_logs_is_an_error(store, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(DataError, match="run_id must be unique"):
        follow_sources(store, [tmp_path / "a" / "run.csv", tmp_path / "b" / "run.csv"])


# A background job of a shell is born deaf to Ctrl-C; so would be the command under test.
START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from workbench.cli import main; main()"
)
COMMAND = [sys.executable, "-c", START, "import"]


@pytest.fixture
def start_follower(log, store):
    """Return a starter of the command in a process of its own, killed at the latest here."""
    started = []

    def start(*more):
        command = [*COMMAND, str(log), "--store", str(store.root), "--follow", "--interval", "0.01"]
        started.append(
            subprocess.Popen(
                [*command, *more],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_ctrl_c_ends_the_command_with_its_report(store, start_follower):
    process = start_follower("--json")
    wait_for(lambda: len(steps_of(store)) == 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    data = json.loads(out)
    assert data["followed"][0]["records"] == 3
    assert data["imported"] == [{"run_id": "run", "records": 3, "format": "csv"}]
    assert "run: 3 more, up to step 2" in err
    assert row(store)["status"] == "stopped"


def test_a_killed_follower_started_again_has_every_point_once(store, log, start_follower):
    rng, step = random.Random(0), 3
    for _ in range(6):
        process = start_follower()
        reached = step + rng.randrange(1, 40)
        while step < reached:
            append(log, lines([step]))
            step += 1
            if rng.random() < 0.2:
                wait_for(lambda before=step: len(steps_of(store)) >= before - 30, seconds=120)
        wait_for(lambda: len(steps_of(store)) > 0)
        process.kill()
        process.communicate()
    assert store.check() == ()
    result = follow_sources(store, [log], until_idle=0)
    assert result.runs[0]["records"] == step
    assert steps_of(store) == list(range(step))
    assert store.runs()["train_loss"].to_numpy().tolist() == [value(s) for s in range(step)]
    assert row(store)["status"] == "done"
    assert store.check() == ()


def test_the_command_follows_to_the_end(log, tmp_path, capsys):
    path = str(tmp_path / "s")
    command = ["import", str(log), "--store", path, "--follow", "--until-idle", "0"]
    assert run_cli(command) == 0
    out = capsys.readouterr().out
    assert f"Followed 1 run into {path}.\nrun: done, 3 records\n" in out
    assert "Not known: tau of 1 run" in out


def test_event_files_of_a_summary_writer_are_followed(store, tmp_path):
    if "tensorboard" not in FORMATS:
        pytest.skip("no reader of TensorBoard event files is registered")
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    folder = tmp_path / "tb"
    writer = tensorboard.SummaryWriter(str(folder))
    with Following(store, folder):
        for step in range(50):
            writer.add_scalar("train/loss", value(step), step)
            if step % 10 == 9:
                writer.flush()
                wait_for(lambda step=step: store.runs().sizes["obs"] == step + 1)
        writer.close()
    np.testing.assert_allclose(store.runs()["train_loss"], [value(s) for s in range(50)], rtol=1e-6)

"""A run is watched while it is written: in a store, in a log; people and programs are told."""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from tests.watch.conftest import STEPS, WATCHED
from workbench.errors import ArgumentError, CollapseWarning, DataError
from workbench.store import Recorder, open_store
from workbench.watch import Alarm, Notifier
from workbench.watch.live import LogSource, StoreSource, watch_source
from workbench.watch.simulate import inject

ALARM = Alarm(700, 0.7, "jump", 9.0, 5.0, size=0.01)


@pytest.fixture
def bad_loss(family):
    generator = np.random.default_rng(0)
    return inject(family.loss(WATCHED), "jump", at=0.5, size=0.01, rng=generator)


def until(seen, enough, seconds=30.0):
    """Wait for a condition that another thread brings about."""
    deadline = time.monotonic() + seconds
    while not enough(seen):
        assert time.monotonic() < deadline, seen
        time.sleep(0.01)


def test_a_run_of_a_store_is_followed_until_it_ends(tmp_path, reference, bad_loss):
    seen: list[Alarm] = []
    options = {"total_steps": STEPS, "model_size": WATCHED, "tau": 0.2, "schedule": "linear"}
    with Recorder(tmp_path / "s", family="big", run_id="r", **options) as recorder:
        recorder.log(1, train_loss=float(bad_loss[0]))
        recorder.flush()
        source = StoreSource(open_store(tmp_path / "s"), "r")
        result = {}

        def follow():
            result["monitor"] = watch_source(
                source,
                reference,
                loss="train_loss",
                follow=True,
                interval=0.01,
                on_alarm=lambda alarm, run_id: seen.append(alarm),
            )

        thread = threading.Thread(target=follow)
        thread.start()
        for step in range(2, 701):
            recorder.log(step, train_loss=float(bad_loss[step - 1]))
        recorder.flush()
        until(seen, lambda alarms: any(a.fault for a in alarms))
        assert thread.is_alive()  # the run goes on, and so does the watch
    thread.join(30)
    assert not thread.is_alive()
    assert result["monitor"].report().faults[0].kind == "jump"


def test_a_log_another_tool_writes_is_followed(tmp_path, reference, bad_loss):
    log = tmp_path / "logs" / "big.csv"
    log.parent.mkdir()
    rows = [f"{step},{value:.6f}\n" for step, value in enumerate(bad_loss.tolist(), start=1)]
    log.write_text("step,train_loss\n" + "".join(rows[:300]))
    settings = {"total_steps": str(STEPS), "model_size": "1e9", "schedule": "linear"}
    source = LogSource(log.parent, None, settings=settings)
    stop, seen = threading.Event(), []

    def tell(alarm, run_id):
        seen.append((alarm, run_id))
        if alarm.fault:
            stop.set()

    def write():
        with log.open("a") as file:
            for first in range(300, 700, 100):
                file.writelines(rows[first : first + 100])
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    monitor = watch_source(
        source,
        reference,
        loss="train_loss",
        follow=True,
        interval=0.01,
        until_idle=20,
        stop=stop,
        on_alarm=tell,
    )
    writer.join()
    assert monitor.report().faults[0].kind == "jump"
    assert seen[0][1] == monitor.run_id == "big"


def test_what_is_not_there_is_said(tmp_path, reference):
    store = open_store(tmp_path / "s", create=True)
    with pytest.raises(ArgumentError, match="No run 'x' in the store"):
        watch_source(StoreSource(store, "x"), reference, loss="train_loss")
    store.plan_run("p", family="f", attributes={"total_steps": 10})
    with pytest.raises(DataError, match="no record of train_loss to watch yet"):
        watch_source(StoreSource(store, "p"), reference, loss="train_loss")
    two = tmp_path / "two"
    two.mkdir()
    for name in ("a", "b"):
        (two / f"{name}.csv").write_text("step,train_loss\n1,2.0\n2,1.9\n")
    settings = {"total_steps": "10"}
    with pytest.raises(ArgumentError, match="holds 2 runs, first 'a'"):
        watch_source(LogSource(two, None, settings=settings), reference, loss="train_loss")
    with pytest.raises(ArgumentError, match="No run 'c' in"):
        watch_source(LogSource(two, "c", settings=settings), reference, loss="train_loss")
    with pytest.raises(DataError, match="has no eval_loss"):
        watch_source(LogSource(two, "a", settings=settings), reference, loss="eval_loss")


@pytest.fixture
def webhook():
    """Return the address of a server on this machine, and what it was sent."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_webhook_command_and_terminal_are_told(webhook, tmp_path, capsys):
    address, got = webhook
    out = tmp_path / "said.json"
    program = tmp_path / "tell.py"
    program.write_text(f"import sys; open({str(out)!r}, 'w').write(sys.stdin.read())")
    notifier = Notifier([address, f"command:{sys.executable} {program}", "terminal"])
    notifier.send(ALARM, run_id="r")
    notifier.close()
    assert got == [json.loads(out.read_text())]
    assert got[0]["kind"] == "jump"
    assert got[0]["text"].startswith("r: jump at step 700")
    assert got[0]["text"] in capsys.readouterr().err


def test_a_target_that_cannot_be_told_is_warned_of_and_no_more(tmp_path):
    notifier = Notifier(["http://user:secret@127.0.0.1:9/hook"])

    def tell():
        notifier.send(ALARM, run_id="r")
        notifier.close()

    with pytest.warns(CollapseWarning, match=r"user:\*\*\*@127.0.0.1:9/hook could not be told"):
        tell()
    with pytest.raises(ArgumentError, match="--notify takes"):
        Notifier(["mail:me"])

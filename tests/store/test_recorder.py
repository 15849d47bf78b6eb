from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import ArgumentError, CollapseWarning, DataError
from workbench.store import Recorder, open_store, recorder

ROOT = Path(__file__).parents[2]


def wait_for(condition, seconds=60):
    """Wait until `condition()` holds; a machine may be slow, but not that slow."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def run_python(code, *arguments, **environment):
    """Run a program of its own against this tree; return what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.01)


def status_of(store, run_id):
    return store.table().set_index("run_id").loc[run_id, "status"]


def test_three_lines_record_a_run(new_address):
    address = new_address()
    with Recorder(address, family="mine", model_size=1e6, total_steps=3) as rec:
        for step in range(3):
            rec.log(step, train_loss=3.0 - step, tokens=step * 64)
        rec.log(2, eval_loss=1.25)
    runs = open_store(address).runs()
    assert runs["train_loss"].to_numpy().tolist() == [3.0, 2.0, 1.0]
    assert runs["eval_loss"].to_numpy()[2] == 1.25
    assert runs["status"].item() == "done"
    assert runs["run_id"].item() == rec.run_id
    assert rec.run_id.startswith("mine-")


def test_flush_acknowledges(store):
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(0, train_loss=1.0)
        rec.flush()
        assert store.runs().sizes["obs"] == 1
        assert status_of(store, "a") == "running"


def test_points_reach_the_store_without_another_call(store, quick):
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(0, train_loss=1.0)
        wait_for(lambda: store.runs().sizes["obs"] == 1)


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError, "failed"), (KeyboardInterrupt, "stopped")]
)
def test_an_exception_ends_the_run_and_keeps_its_points(store, error, status):
    def train():
        with Recorder(store, family="f", run_id="a") as rec:
            rec.log(0, train_loss=1.0)
            raise error

    with pytest.raises(error):
        train()
    assert status_of(store, "a") == status
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0]
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(1, train_loss=0.5)
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0, 0.5]
    assert status_of(store, "a") == "done"


def test_bad_values_fail_at_the_call_and_the_rest_is_kept(store):
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(0, train_loss=1.0)
        for step, values in (
            (1, {"train_loss": "x"}),
            (1, {"train_loss": None}),
            (1, {"train_loss": 10**400}),
            (1, {"train_loss": [1.0, 2.0]}),
            (1, {"loss": 1.0, "train_loss": 1.0}),
            (1, {"seed": 1.0}),
            (-1, {"loss": 1.0}),
            (1.5, {"loss": 1.0}),
            (2**63, {"loss": 1.0}),
            (float("nan"), {"loss": 1.0}),
            ("one", {"loss": 1.0}),
        ):
            with pytest.raises(ArgumentError):
                rec.log(step, **values)
        rec.log(1, train_loss=0.5)
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0, 0.5]


def test_a_recorder_that_was_taken_over_says_so(store):
    first = Recorder(store, family="f", run_id="a")
    first.log(0, train_loss=1.0)
    first.flush()
    with Recorder(store, family="f", run_id="a") as second:
        first.log(1, train_loss=9.0)
        with pytest.raises(DataError, match="may not write any more"):
            first.flush()
        with pytest.raises(DataError, match="may not write any more"):
            first.close()
        with pytest.warns(CollapseWarning, match="may not write any more"):
            first.log(2, train_loss=9.0)  # its training goes on
        second.log(1, train_loss=0.5)
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0, 0.5]


def test_logging_costs_microseconds(store):
    times = []
    with Recorder(store, family="f", run_id="a") as rec:
        for step in range(2000):
            start = time.perf_counter()
            rec.log(step, train_loss=1.0, tokens=step)
            times.append(time.perf_counter() - start)
    assert np.median(times) < 1e-4
    assert store.runs().sizes["obs"] == 2000


def test_closing_twice_is_harmless(store):
    rec = Recorder(store, family="f", run_id="a")
    rec.log(0, train_loss=1.0)
    rec.close()
    rec.close()
    assert status_of(store, "a") == "done"


def test_aliases_logged_by_different_calls_are_one_column(store):
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(0, loss=3.0)
        rec.log(1, train_loss=2.0)
        rec.log(2, **{"train/loss": 1.0})
    assert store.runs()["train_loss"].to_numpy().tolist() == [3.0, 2.0, 1.0]


def test_a_resumed_run_says_where_to_go_on_and_its_points_win(store):
    def train(steps, sign, error):
        with Recorder(store, family="f", run_id="a") as rec:
            found.append(rec.last_step)
            for step in steps:
                rec.log(step, train_loss=sign * (10.0 - step))
            raise error

    found = []
    with pytest.raises(OSError, match="node"):
        train(range(8), 1, OSError("the node went down"))
    store.consolidate()  # where the points are makes no difference
    with pytest.raises(KeyboardInterrupt):
        train([5, 9], -1, KeyboardInterrupt())
    with Recorder(store, family="f", run_id="a") as rec:
        found.append(rec.last_step)
    assert found == [None, 7, 9]
    assert store.runs()["step"].to_numpy().tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 9]
    assert store.runs()["train_loss"].to_numpy().tolist() == [10, 9, 8, 7, 6, -5, 4, 3, -1]


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"])
def test_other_ranks_do_nothing(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "3")
    with Recorder(tmp_path / "s", family="f", run_id="a", model_size=1.0) as rec:
        rec.log(0, train_loss=1.0)
        rec.log("no step at all", train_loss="never looked at")
        rec.flush()
        assert not rec.recording
        assert (rec.run_id, rec.last_step) == ("a", None)
    assert not (tmp_path / "s").exists()
    with Recorder(tmp_path / "s", family="f", run_id="a", rank=0) as rec:
        rec.log(0, train_loss=1.0)
        assert rec.recording
    monkeypatch.setenv(variable, "0")
    with Recorder(tmp_path / "s", family="f", run_id="b") as rec:
        assert rec.recording
    with Recorder(tmp_path / "s", family="f", run_id="c", rank=1) as rec:
        assert not rec.recording
    assert set(open_store(tmp_path / "s").table()["run_id"]) == {"a", "b"}


def test_an_initialised_torch_distributed_knows_better_than_the_environment(monkeypatch):
    class Distributed:
        rank = 0

        def is_available(self):
            return True

        def is_initialized(self):
            return self.rank is not None

        def get_rank(self):
            return self.rank

    fake = Distributed()
    monkeypatch.setitem(sys.modules, "torch.distributed", fake)
    monkeypatch.setenv("RANK", "2")
    for rank, expected in ((0, 0), (5, 5), (None, 2)):
        fake.rank = rank
        assert recorder.process_rank() == expected


def test_recording_imports_no_torch():
    code = (
        "import sys, workbench as wb\n"
        "with wb.Recorder(sys.argv[1], family='f') as rec: rec.log(0, train_loss=1.0)\n"
        "print('torch' in sys.modules)"
    )
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        assert run_python(code, Path(folder) / "s").stdout.strip() == "False"


def test_a_store_that_goes_away_and_comes_back_costs_nothing(local_store, quick, tmp_path):
    store = local_store
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(0, train_loss=9.0)
        rec.flush()
        store.root.rename(tmp_path / "away")
        rec.log(1, train_loss=8.0)
        wait_for(lambda: rec._trouble is not None)
        with pytest.warns(CollapseWarning, match="cannot be written at the moment"):
            rec.log(2, train_loss=7.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rec.log(3, train_loss=6.0)  # said once, not at every step
        with pytest.raises(DataError, match="not there any more"):
            rec.flush()
        with pytest.raises(DataError, match="not there any more"):
            rec.close()
        (tmp_path / "away").rename(store.root)
        assert rec.recording
        rec.log(4, train_loss=5.0)
    assert store.runs()["train_loss"].to_numpy().tolist() == [9, 8, 7, 6, 5]
    assert status_of(store, "a") == "done"
    assert rec.lost == 0


def test_a_deleted_store_is_noticed(local_store):
    store = local_store
    import shutil

    rec = Recorder(store, family="f", run_id="a")
    rec.log(0, train_loss=9.0)
    rec.flush()
    shutil.rmtree(store.root)
    rec.log(1, train_loss=8.0)
    with pytest.raises(DataError, match="not there any more"):
        rec.flush()
    again = open_store(store.root, create=True)
    with pytest.raises(DataError, match="was replaced"):
        rec.flush()
    with pytest.raises(DataError, match="the run is gone"):
        rec.close()
    recorder.atexit.unregister(rec._at_exit)
    assert len(again.table()) == 0


def test_beyond_the_buffer_points_are_dropped_and_counted(local_store, monkeypatch, tmp_path):
    store = local_store
    monkeypatch.setattr(recorder, "BUFFER_POINTS", 10)
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 3600)
    rec = Recorder(store, family="f", run_id="a")
    for step in range(25):  # the store is fine: a full buffer is written, nothing is dropped
        rec.log(step, train_loss=1.0)
    rec.flush()
    assert store.last_step("a") == 24
    store.root.rename(tmp_path / "away")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step in range(25, 60):
            rec.log(step, train_loss=2.0)
    assert len(said) == 1
    assert "is full: 10 points wait" in str(said[0].message)
    (tmp_path / "away").rename(store.root)
    with pytest.raises(DataError, match=f"is closed as 'done', but {rec.lost} points"):
        rec.close()
    assert store.runs().sizes["obs"] == 60 - rec.lost
    assert 10 <= rec.lost < 35
    assert status_of(store, "a") == "done"


FULL_DISK = """
import resource, signal, sys, warnings
from workbench.store import Recorder, open_store
warnings.simplefilter("ignore")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
rec = Recorder(sys.argv[1], family="f", run_id="a")
rec.log(0, train_loss=0.0)
rec.flush()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
for step in range(1, 2000):
    rec.log(step, train_loss=float(step))
try:
    rec.flush()
except ValueError as error:
    print(type(error).__name__)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
rec.close()
runs = open_store(sys.argv[1]).runs()
print(runs.sizes["obs"], runs["status"].item())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits file sizes as Linux does")
def test_a_full_disk_does_not_end_the_training(tmp_path):
    done = run_python(FULL_DISK, tmp_path / "s")
    assert done.stdout.splitlines() == ["DataError", "2000 done"], done.stderr


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("pass", "stopped"),
        ("raise SystemExit(0)", "stopped"),
        ("raise RuntimeError('out of memory')", "failed"),
        ("raise KeyboardInterrupt", "stopped"),
        ("rec.close()", "done"),
        ("rec.close('failed')", "failed"),
    ],
)
def test_a_program_that_just_ends_loses_nothing(local_store, ending, status):
    store = local_store
    code = (
        "import sys\nfrom workbench.store import Recorder\n"
        "rec = Recorder(sys.argv[1], family='f', run_id='a')\n"
        f"for step in range(100): rec.log(step, train_loss=1.0)\n{ending}\n"
    )
    done = run_python(code, store.root)
    assert store.runs().sizes["obs"] == 100
    assert status_of(store, "a") == status
    assert "CollapseWarning" not in done.stderr


FORK = """
import os, sys, warnings
from workbench.store import Recorder, open_store
rec = Recorder(sys.argv[1], family="f", run_id="a")
for round in range(20):
    rec.log(2 * round, train_loss=1.0)
    if round % 2:
        rec.flush()
    child = os.fork()
    if child == 0:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            rec.log(1000, train_loss=9.0)
            rec.log(1001, train_loss=9.0)
            rec.flush()
            rec.close()
        sys.exit(0 if [w.category.__name__ for w in said] == ["CollapseWarning"] else 1)
    rec.log(2 * round + 1, train_loss=1.0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    rec.flush()
rec.close()
runs = open_store(sys.argv[1]).runs()
print(runs["step"].to_numpy().tolist() == list(range(40)), runs["status"].item())
print(open_store(sys.argv[1]).check())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_neither_write_nor_end_the_run(tmp_path):
    done = run_python(FORK, tmp_path / "s")
    assert done.stdout.splitlines() == ["True done", "()"], done.stderr


LOADER = """
import sys
import torch
from workbench.store import Recorder, open_store

class Lines(torch.utils.data.Dataset):
    def __init__(self, rec):
        self.rec = rec
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return torch.tensor([i, int(self.rec.recording)])

if __name__ == "__main__":
    with Recorder(sys.argv[1], family="f", run_id="a") as rec:
        loader = torch.utils.data.DataLoader(
            Lines(rec), num_workers=2, multiprocessing_context=sys.argv[2]
        )
        for step, batch in enumerate(loader):
            assert batch[0, 1] == 0
            rec.log(step, train_loss=float(batch[0, 0]))
    print(open_store(sys.argv[1]).runs()["train_loss"].to_numpy().tolist())
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader_may_carry_the_recorder(tmp_path, method):
    pytest.importorskip("torch")
    program = tmp_path / "loader.py"
    program.write_text(LOADER)
    done = subprocess.run(
        [sys.executable, program, str(tmp_path / "s"), method],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == str([float(i) for i in range(8)]), done.stderr


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_copy_does_nothing(store, copied):
    with Recorder(store, family="f", run_id="a") as rec:
        other = copied(rec)
        other.log(0, train_loss=9.0)
        other.close("failed")
        assert (other.run_id, other.recording) == ("a", False)
        rec.log(1, train_loss=1.0)
    assert store.runs()["step"].to_numpy().tolist() == [1]
    assert status_of(store, "a") == "done"


def test_threads_may_log_together(store, quick):
    with Recorder(store, family="f", run_id="a") as rec:

        def work(first):
            for step in range(first, 4000, 4):
                rec.log(step, train_loss=float(step))
                if step % 500 == 0:
                    rec.flush()

        threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    runs = store.runs()
    assert runs["step"].to_numpy().tolist() == list(range(4000))
    assert runs["train_loss"].to_numpy().tolist() == list(range(4000))


def test_logging_after_the_end_is_an_error(store):
    rec = Recorder(store, family="f", run_id="a")
    rec.log(0, train_loss=1.0)
    rec.close()
    with pytest.raises(DataError, match="was closed as 'done'"):
        rec.log(1, train_loss=1.0)


def test_a_batch_whose_answer_got_lost_is_written_again_as_it_was(store, monkeypatch):
    rec = Recorder(store, family="f", run_id="a")
    given, append = [], rec._writer.append

    def lose_the_answer(**columns):
        given.append(columns["step"].tolist())
        if len(given) < 3:
            msg = "the connection broke"
            raise DataError(msg)
        append(**columns)

    monkeypatch.setattr(rec._writer, "append", lose_the_answer)
    for step in range(3):
        rec.log(step, train_loss=1.0)
        if step < 2:
            with pytest.raises(DataError, match="connection broke"):
                rec.flush()
            rec._unsaid = None
    rec.close()
    assert given == [[0], [0], [0], [1, 2]]
    assert store.runs()["step"].to_numpy().tolist() == [0, 1, 2]

"""The verbs train and stop: options, exit codes, one-paragraph errors."""

from __future__ import annotations

import json

import pytest

from workbench.cli import run
from workbench.store import open_store
from workbench.training import Pace, TrainResult


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Return a caller of the command line in this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKBENCH_STORE", raising=False)

    def invoke(*tokens: str):
        code = run(list(tokens))
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


@pytest.fixture
def asked(monkeypatch):
    """Return what `train_family` was called with; it trains nothing."""
    calls = []

    def train_family(spec, path, **options):
        calls.append((spec.family, path, options))
        return TrainResult(spec.family, (), 0.0, 0.1)

    monkeypatch.setattr("workbench.training.train_family", train_family)
    return calls


def test_train_passes_on_how_it_is_launched(call, asked, tmp_path):
    code, out, _ = call(
        *("train", "smoke", "--launcher", "dask", "--scheduler", "tcp://h:8786", "--json"),
        *("--device", "cpu", "--checkpoints", "kept", "--checkpoint-seconds", "5"),
        *("--checkpoint-steps", "100", "--no-resume", "--family", "mine"),
    )
    assert code == 0
    assert json.loads(out)["family"] == "smoke"
    ((_, path, options),) = asked
    assert path == "runs"
    assert options["launcher"] == "dask"
    assert options["scheduler"] == "tcp://h:8786"
    assert options["device"] == "cpu"
    assert str(options["checkpoints"]) == "kept"
    assert options["pace"] == Pace(5.0, 100)
    assert options["resume"] is False
    assert options["family"] == "mine"


def test_train_by_itself_uses_this_machine(call, asked):
    assert call("train", "smoke")[0] == 0
    ((_, _, options),) = asked
    assert (options["launcher"], options["scheduler"]) == ("local", None)
    assert options["pace"] == Pace()
    assert options["resume"] is True


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("--launcher", "ray"), "ray"),
        (("--scheduler", "tcp://h:1"), "scheduler 'tcp://h:1' is for --launcher dask"),
        (("--processes", "0"), "processes must be at least 1"),
        (("--checkpoint-steps", "0"), "checkpoint steps must be at least 1, found 0"),
        (("--checkpoint-seconds", "-1"), "checkpoint seconds must not be negative, found -1.0"),
    ],
)
def test_what_train_cannot_do_ends_with_2(call, tokens, said):
    code, out, err = call("train", "smoke", *tokens)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.fixture
def planned(call, tmp_path):
    store = open_store(tmp_path / "runs", create=True)
    store.plan_run("a", family="f")
    store.start_run("b", family="f")
    yield store
    store.close()


def test_stop_decides_and_withdraws(call, planned):
    code, out, _ = call("stop", "a", "b", "--reason", "falls behind", "--json")
    assert code == 0
    assert json.loads(out) == {
        "decided": [
            {"run_id": "a", "status": "planned", "reason": "falls behind"},
            {"run_id": "b", "status": "running", "reason": "falls behind"},
        ]
    }
    assert planned.stops.reasons() == {"a": "falls behind", "b": "falls behind"}
    code, out, _ = call("stop", "b", "--withdraw", "--json")
    assert (code, json.loads(out)) == (0, {"withdrawn": ["b"]})
    assert planned.stops.reasons() == {"a": "falls behind"}
    _, out, _ = call("stop", "a")
    assert out == "a (planned) is to stop: stopped by hand.\n"
    _, out, _ = call("stop", "a", "b", "--withdraw")
    assert out == "a: may be trained on.\nb: was not to be stopped.\n"


def test_what_stop_cannot_do(call, planned):
    assert call("stop")[0] == 2
    code, _, err = call("stop", "c")
    assert code == 1
    assert err == "There is no run 'c' in this store. See: workbench runs\n"
    planned.start_run("a", family="f").finish()
    assert call("stop", "a")[0] == 1

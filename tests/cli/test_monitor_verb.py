"""workbench monitor as scripts use it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.cli import run
from workbench.watch.simulate import Family, inject

STEPS = 800


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a store of a simulated family, one run of which has a fault."""
    folder = tmp_path_factory.mktemp("monitor")
    family = Family(steps=STEPS, rng=3)
    sizes = [1e7, 3e7, 1e8, 3e8, 1e9, 1e9]
    losses = [family.loss(size) for size in sizes]
    generator = np.random.default_rng(0)
    losses[-1] = inject(losses[-1], "ramp", at=0.6, size=0.005, rng=generator)
    names = [f"N{size:g}" for size in sizes[:-1]] + ["faulty"]
    family.dataset(losses, names, sizes).to_netcdf(folder / "family.nc", engine="netcdf4")
    rows = [f"{k},{v:.6f}\n" for k, v in enumerate(losses[-1].tolist(), start=1)]
    (folder / "log.csv").write_text("step,train_loss\n" + "".join(rows))
    store = str(folder / "s")
    assert run(["import", str(folder / "family.nc"), "--store", store, "--family", "f"]) == 0
    return folder


@pytest.fixture
def call(capsys, place):
    """Return a caller of the verb on that store."""

    def invoke(*tokens: str):
        store = () if "--store" in tokens else ("--store", str(place / "s"))
        code = run(["monitor", *store, *tokens])
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


def test_json_has_the_agreed_keys(call, place):
    saved = str(place / "reference.nc")
    tokens = ("--reference", "run_id!=N1e+09", "--save-reference", saved, "--json")
    code, out, err = call("--run", "faulty", "--false-alarm", "0.01", *tokens)
    assert code == 0, err
    data = json.loads(out)
    assert {"run_id", "false_alarm", "alarms", "onset", "raw_loss_alarm", "verdict"} <= set(data)
    assert data["run_id"] == "faulty"
    assert data["alarms"][0]["kind"] == "drift"
    assert data["alarms"][0]["progress"] <= 0.75
    assert abs(data["onset"]["progress"] - 0.6) < 0.05
    assert data["raw_loss_alarm"] is None or set(data["raw_loss_alarm"]) == {"step"}
    code, out, _ = call("--run", "N1e+09", "--reference", saved, "--json")
    assert code == 0
    assert json.loads(out)["alarms"] == []


def test_a_log_is_watched_with_a_saved_reference(call, place):
    saved = str(place / "reference.zarr")
    assert (
        call("--run", "N1e+09", "--reference", "run_id!=faulty", "--save-reference", saved)[0] == 0
    )
    log = ("--source", str(place / "log.csv"), "--set", f"total_steps={STEPS}")
    known = ("--set", "model_size=1e9", "--set", "schedule=linear", "--set", "tau=0.2")
    code, out, err = call(*log, *known, "--reference", saved, "--follow", "--until-idle", "0")
    assert code == 0, err
    assert out.startswith("log is fault: drift")
    assert "log: drift at step" in err


def test_text_says_what_it_compared_with_and_what_it_cannot_see(call):
    code, out, _ = call("--run", "N1e+09", "--reference", "model_size<1e9")
    assert code == 0
    assert out.startswith("N1e+09 follows its family")
    assert "Not seen: faults that began before 10 % of training" in out
    assert "against reference" in out


def test_without_a_finished_run_the_rules_that_need_none_still_hold(call, place, tmp_path):
    lonely = str(tmp_path / "lonely")
    log = str(place / "log.csv")
    told = ("--set", "total_steps=8000", "--family", "g")
    assert run(["import", log, "--store", lonely, *told]) == 0
    code, out, err = call("--run", "log", "--store", lonely)
    assert code == 0, err
    assert "rules that need no reference" in out


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ((), "monitor needs --run"),
        (("--run", "none"), "No run 'none' in the store"),
        (("--run", "faulty", "--reference", "model_size"), "NAME OP VALUE"),
        (("--run", "faulty", "--false-alarm", "2"), "chance per run"),
        (("--run", "faulty", "--notify", "mail"), "--notify takes"),
        (("--source", "nowhere.csv"), "does not exist"),
        (("--run", "faulty", "--reference", "none.nc"), "There is no reference"),
    ],
)
def test_bad_arguments_are_one_paragraph(call, tokens, text):
    code, out, err = call(*tokens)
    assert (code, out) == (2, "")
    assert text in err
    assert "Traceback" not in err

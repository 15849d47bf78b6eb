from __future__ import annotations

import json

import pytest

from tests.laws.schedule_family import family
from workbench.cli import run

SCORE = {
    "run_id",
    "r2",
    "mae",
    "rmse",
    "mean_relative",
    "worst_relative",
    "final_error",
    "n_records",
    "fitted",
    "final_loss",
    "coverage",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schedules")
    family(total=2000, noise=5e-4, every=40).to_netcdf(folder / "f.nc", engine="netcdf4")
    assert run(["import", str(folder / "f.nc"), "--store", str(folder / "s")]) == 0
    return str(folder / "s")


@pytest.fixture
def call(capsys, store):
    def invoke(*tokens: str):
        capsys.readouterr()
        code = run(["schedule", "--store", store, *tokens])
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


FIT = ("--fit", "schedule=constant,cosine", "--predict", "schedule=two-stage,wsd")


def test_json_has_the_keys_scripts_read(call):
    code, out, _ = call(*FIT, "--json")
    data = json.loads(out)
    assert code == 0
    assert data["law"] == "multi-power"
    assert set(data["params"]) == {"L0", "A", "alpha", "B", "kappa", "C", "beta", "gamma"}
    assert set(data["params"]["L0"]) == {"estimate", "lower", "upper"}
    assert [row["run_id"] for row in data["scores"]] == ["two-stage", "wsd"]
    assert set(data["scores"][0]) == SCORE
    assert data["fit_runs"] == ["constant", "cosine"]
    assert data["scores"][1]["mae"] < 0.02
    end = data["scores"][1]["final_loss"]
    assert end["lower"] < end["estimate"] < end["upper"]
    assert end["level"] == 0.95
    curve = data["predictions"][1]
    assert set(curve) == {"run_id", "step", "loss", "lower", "upper"}
    assert curve["upper"][-1] == end["upper"]
    assert "Student t" in data["prediction_interval"]
    assert set(data["profile"]) == {"kappa", "C", "beta", "gamma"}


def test_other_laws_profile_and_design(call):
    code, out, _ = call(*FIT, "--law", "annealing", "--json")
    assert code == 0
    assert set(json.loads(out)["params"]) == {"L0", "A", "alpha", "C", "lambda"}
    assert "profile" not in json.loads(out)
    code, out, _ = call(*FIT, "--no-profile", "--design", "2000", "--json")
    data = json.loads(out)
    assert code == 0
    assert "profile" not in data
    assert data["design"]["final_loss"] <= min(data["design"]["usual"].values())
    code, out, _ = call("--fit", "schedule!=wsd", "--predict", "schedule=wsd", "--law", "auto")
    assert code == 0
    assert "runs left out" in out
    assert "wsd: mae" in out
    code, out, _ = call(*FIT)
    assert code == 0
    assert "profile of the objective over gamma: 0.4 → " in out
    assert "of records inside" in out


def test_a_design_is_held_to_what_is_asked(call):
    asked = ("--no-profile", "--design", "1500", "--peak-lr", "2e-4", "--end-lr", "5e-5")
    code, out, _ = call(*FIT, *asked, "--warmup-steps", "100", "--json")
    found = json.loads(out)["design"]
    assert code == 0
    assert found["learning_rate"][-1] == pytest.approx(5e-5)
    assert max(found["learning_rate"]) == pytest.approx(2e-4)
    assert found["constraints"]["warmup_steps"] == 100
    assert found["gain"]["lower"] < found["gain"]["estimate"] < found["gain"]["upper"]
    assert found["lower"] < found["final_loss"] < found["upper"]
    code, out, _ = call(*FIT, *asked[:-2], "--form", "cosine")
    assert code == 0
    assert "form cosine" in out


def test_the_shape_of_other_runs(call):
    code, out, _ = call(*FIT, "--shape", "schedule=constant,cosine,two-stage", "--json")
    assert code == 0
    assert "taken from 3 other runs" in json.loads(out)["warnings"][0]


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("--fit", "schedule=cosine"), "needs --predict"),
        ((*FIT, "--law", "annealing", "--shape", "schedule=wsd"), "no shape"),
        ((*FIT, "--law", "annealing", "--profile"), "--law multi-power"),
        ((*FIT, "--fit", "schedule"), "NAME OP VALUE"),
    ],
)
def test_bad_arguments_exit_2(call, tokens, said):
    code, out, err = call(*tokens)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_noise_law_without_traces_exits_1(call):
    code, _, err = call(*FIT, "--law", "noise")
    assert code == 1
    assert "noise_trace" in err
    assert "Traceback" not in err

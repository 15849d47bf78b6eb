"""workbench predict as scripts use it."""

from __future__ import annotations

import json

import pytest

from workbench.cli import run


@pytest.fixture
def call(capsys, monkeypatch, tmp_path, make_family):
    """Return a caller of the command line on a store with one family."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKBENCH_STORE", raising=False)
    make_family(noise=2e-3).to_netcdf("family.nc", engine="netcdf4")
    assert run(["import", "family.nc", "--store", "s", "--family", "made"]) == 0
    capsys.readouterr()

    def invoke(*tokens: str):
        code = run(["predict", "--store", "s", *tokens])
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


def test_json_has_the_agreed_keys(call):
    code, out, err = call(
        "--run", "N8e+06-s1", "--at", "0.3", "--reference", "model_size<8e6", "--json"
    )
    assert code == 0, err
    data = json.loads(out)
    assert {"run_id", "at", "method", "reference", "final_loss", "actual", "curve"} <= set(data)
    final = data["final_loss"]
    assert final["lower"] < final["estimate"] < final["upper"]
    assert final["level"] == 0.9
    assert data["actual"] == pytest.approx(final["estimate"], rel=5e-3)
    assert len(data["reference"]) == 9
    assert data["at"] == data["curve"]["progress"][0] == 0.3
    assert data["curve"]["loss"][-1] == pytest.approx(final["estimate"])


@pytest.mark.parametrize("method", ["align", "surrogate", "schedule"])
def test_text_names_the_method(call, method):
    code, out, err = call("--run", "N4e+06-s0", "--at", "0.5", "--method", method)
    assert code == 0, err
    assert out.startswith("N4e+06-s0 will end at eval_loss")
    assert f"method {method}" in out


def test_by_default_every_other_run_of_the_family_is_a_reference(call):
    _, out, _ = call("--run", "N4e+06-s0", "--at", "0.3", "--json")
    names = json.loads(out)["reference"]
    assert len(names) == 11
    assert "N4e+06-s0" not in names


def test_without_a_finished_run_the_own_power_law_answers_and_says_so(
    capsys, monkeypatch, tmp_path, make_family
):
    monkeypatch.chdir(tmp_path)
    make_family(sizes=(1e6,), seeds=(0,)).to_netcdf("one.nc", engine="netcdf4")
    assert run(["import", "one.nc", "--store", "s"]) == 0
    capsys.readouterr()
    assert run(["predict", "--store", "s", "--run", "N1e+06-s0", "--at", "0.3", "--json"]) == 0
    data = json.loads(capsys.readouterr()[0])
    assert (data["method"], data["reference"]) == ("own", [])
    assert "No finished run is used" in data["notes"][0]
    assert data["final_loss"]["lower"] <= data["actual"] <= data["final_loss"]["upper"]


def test_own_method_uses_no_other_run(call):
    _, out, _ = call("--run", "N4e+06-s0", "--at", "0.3", "--method", "own", "--json")
    assert json.loads(out)["reference"] == []


@pytest.mark.parametrize(
    ("tokens", "code", "says"),
    [
        (("--run", "nobody", "--at", "0.3"), 2, "No run 'nobody'"),
        (("--run", "N4e+06-s0", "--at", "30"), 2, "0.3 means 30 %"),
        (("--run", "N4e+06-s0"), 2, "--at"),
        (("--run", "N4e+06-s0", "--at", "0.3", "--reference", "colour=red"), 2, "colour"),
        (
            ("--run", "N4e+06-s0", "--at", "0.3", "--reference", "model_size>1e9"),
            1,
            "No run matches",
        ),
        (("--run", "N4e+06-s0", "--at", "0.3", "--method", "guess"), 2, "guess"),
        (("--run", "N4e+06-s0", "--at", "0.3", "--loss", "train_loss"), 1, "no finite train_loss"),
    ],
)
def test_failures_are_one_paragraph(call, tokens, code, says):
    found, out, err = call(*tokens)
    assert (found, out) == (code, "")
    assert says in err
    assert err.count("\n") == 1

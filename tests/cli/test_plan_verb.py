"""The plan verb as scripts use it."""

from __future__ import annotations

import json

import pytest

from workbench.cli import run
from workbench.recipes import parse_count

KEYS = (
    "tau tokens_total batch_size total_steps peak_lr weight_decay warmup_steps flops "
    "predicted_loss notes"
)


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKBENCH_STORE", raising=False)

    def invoke(*tokens: str):
        code = run(list(tokens))
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


@pytest.mark.parametrize("recipe", ["celerity", "power-lines"])
def test_the_contract_keys(call, recipe):
    code, out, err = call(
        "plan", "--model-size", "1e8", "--tpp", "20", "--recipe", recipe, "--json"
    )
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert set(KEYS.split()) <= set(data)
    assert data["predicted_loss"] is None
    assert data["peak_lr"] * data["weight_decay"] * data["tau"] * data["total_steps"] == (
        pytest.approx(1, rel=1e-12)
    )
    assert data["tokens_total"] == data["batch_size"] * data["total_steps"]
    assert data["flops"] == 6 * 1e8 * data["tokens_total"]
    code, text, _ = call("plan", "--model-size", "100M", "--tpp", "20", "--recipe", recipe)
    assert code == 0
    assert f"{data['tau']:.4g} of the run" in text
    assert all(note in text for note in data["notes"])


def test_options_reach_the_plan(call):
    tokens = (
        "plan --model-size 271M --tpp 20 --width 640 --depth 13 --vocab 128256 --base-width 128 "
        "--base-depth 4 --base-lr 0.1 --batch-size 2M --warmup-fraction 0.05 --schedule wsd "
        "--decay-fraction 0.2 --flops-count table9 --json"
    )
    code, out, _ = call(*tokens.split())
    data = json.loads(out)
    assert code == 0
    assert data["peak_lr"] == pytest.approx(0.02)
    assert data["batch_size"] == 244 * 8192
    assert data["flops_count"] == "table9"
    assert data["schedule"] == "wsd"
    assert data["warmup_fraction"] == pytest.approx(0.05, abs=1e-3)
    assert data["groups"]["hidden"]["weight_decay"] == pytest.approx(data["weight_decay"])


def test_a_ladder_of_sizes(call):
    code, out, _ = call(
        "plan", "--model-size", "300M", "--model-size", "3.9B", "--tpp", "20", "--json"
    )
    data = json.loads(out)
    assert code == 0
    assert [plan["model_size"] for plan in data["plans"]] == [3e8, 3.9e9]
    assert "stand apart early" in data["notes"][0]


def test_a_loss_predicted_from_runs_at_the_same_horizon(call, make_family, tmp_path):
    family = make_family(sizes=(1e6, 2e6, 4e6, 8e6, 1.6e7), noise=1e-3)
    family.to_netcdf(tmp_path / "family.nc", engine="netcdf4")
    assert call("import", str(tmp_path / "family.nc"), "--store", "s")[0] == 0
    args = ["plan", "--model-size", "6.4e7", "--tpp", "20", "--context", "128"]
    code, out, err = call(*args, "--store", "s", "--json")
    assert code == 0, err
    data = json.loads(out)
    truth = 1.7 + 20 * 6.4e7**-0.2
    assert data["predicted_loss"] == pytest.approx(truth, rel=0.02)
    interval = data["predicted_loss_interval"]
    assert interval["lower"] <= data["predicted_loss"] <= interval["upper"]
    assert any("16 times their largest compute" in note for note in data["notes"])
    code, text, _ = call(*args, "--store", "s")
    assert code == 0
    assert f"final loss     {data['predicted_loss']:.4f}" in text
    args[4] = "80"
    code, _, err = call(*args, "--store", "s")
    assert code == 1
    assert "tpp from 20 to 20" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ("--model-size 0 --tpp 20", "--model-size takes a positive count"),
        ("--model-size 1.2.3M --tpp 20", "--model-size takes a positive count"),
        ("--model-size 1e9 --tpp -1", "tpp must be positive"),
        ("--model-size 1e9 --tpp 20 --recipe folklore", "celerity"),
        ("--model-size 1e9 --tpp 20 --vocab 100", "also needs --width and --depth"),
        ("--model-size 1e9 --tpp 20 --schedule exponential", "never reaches zero"),
        ("--model-size 1e9 --tpp 20 --batch-size 1T", "not one whole step"),
        ("--model-size 1e9 --tpp 20 --flops-count matmul", "needs the shape"),
        ("--model-size 1e9 --tpp nan", "tpp must be positive"),
        ("--model-size 1e9 --tpp inf", "tpp must be positive and finite"),
        ("--model-size 1e300 --tpp 1e300", "tokens_total must be positive and finite"),
        ("--model-size 1e9 --tpp 20 --base-lr 0", "base_lr must be positive"),
        ("--model-size 1e9 --tpp 20 --context 0", "context must be positive"),
        ("--model-size 1e9 --tpp 20 --warmup-fraction 0.9999999", "leaves no step"),
        ("--tpp 20", "model-size"),
    ],
)
def test_bad_arguments_exit_2(call, tokens, message):
    code, out, err = call("plan", *tokens.split())
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e9", 1e9), ("300M", 3e8), ("1.8b", 1.8e9), ("2 T", 2e12), ("64k", 64e3), ("7", 7.0)],
)
def test_counts(text, value):
    assert parse_count(text, name="--model-size") == value

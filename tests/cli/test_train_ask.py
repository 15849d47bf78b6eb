from __future__ import annotations

import json
import tomllib

import pytest

from workbench.cli import run
from workbench.training import parse_spec, plan_family, preset_names


def answer(capsys, *tokens):
    code = run(["train", *tokens])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_dry_run_prints_the_plan_and_makes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = answer(capsys, "quickstart", "--dry-run")
    assert (code, err) == (0, "")
    assert out.count("quickstart-w") == 17
    assert "Family quickstart: 17 runs, 10.2k to 67.6k parameters" in out
    assert "Time on" in out
    assert list(tmp_path.iterdir()) == []


def test_the_plan_as_json(capsys, tmp_path):
    store = str(tmp_path / "runs")
    options = ("--store", store, "--price", "2", "--processes", "3", "--json")
    code, out, _ = answer(capsys, "fault", "--dry-run", *options)
    found = json.loads(out)
    assert code == 0
    assert {"family", "flops", "seconds", "cost", "memory", "disk", "notes"} <= set(found)
    assert found["workers"] == 3
    assert found["n_runs"] == len(found["runs"]) == 16
    assert found["cost"] == pytest.approx(2 * 3 * found["seconds"] / 3600)
    assert {"run_id", "batch_size", "peak_lr", "weight_decay", "flops"} <= set(found["runs"][0])
    assert sum(row.get("fault") == "nan" for row in found["runs"]) == 1


def test_presets_are_listed_with_what_they_are_for(capsys):
    code, out, _ = answer(capsys, "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(preset_names())
    _, out, _ = answer(capsys, "--list", "--json")
    rows = json.loads(out)
    assert {row["name"] for row in rows} == set(preset_names())
    assert all(len(row["about"]) > 20 for row in rows)


def test_the_schema_is_json_and_knows_every_section(capsys):
    code, out, _ = answer(capsys, "--schema")
    schema = json.loads(out)
    assert code == 0
    assert {"family", "model", "task", "optimizer", "batch", "horizon", "group", "fault"} <= set(
        schema["properties"]
    )
    assert schema["required"] == ["family", "group"]
    assert schema["additionalProperties"] is False


def test_a_preset_can_be_taken_as_a_start(capsys, tmp_path):
    code, out, _ = answer(capsys, "tau", "--toml")
    assert code == 0
    assert len(plan_family(parse_spec(tomllib.loads(out))).runs) == 20


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((), "train needs the name of a preset or a TOML file"),
        (("mine", "--toml"), "--toml prints a preset, found 'mine'"),
        (("quickstart", "--dry-run", "--price", "-1"), "price must be positive"),
        (("quickstart", "--dry-run", "--processes", "0"), "workers must be at least 1"),
        (("nothing", "--dry-run"), "There is no family spec 'nothing'"),
    ],
)
def test_what_cannot_be_told(capsys, tokens, message):
    code, out, err = answer(capsys, *tokens)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


BAD = {
    "unknown key": ({"groups": []}, "unknown key groups"),
    "no tokens": ({"group": [{"width": 8, "tau": 0.2, "tpp": 0}]}, "tpp number 1 is wrong"),
    "tokens below one step": (
        {"group": [{"width": 8, "tau": 0.2, "tpp": 0.001}]},
        "the run may see only",
    ),
    "batch beyond the run": (
        {"batch": {"rule": "fixed", "sequences": 100_000}},
        "Lower batch_size or raise tokens_total",
    ),
    "heads": ({"group": [{"width": 20, "tau": 0.2, "tpp": 20}]}, "not a multiple of head_size 8"),
    "two decays": (
        {"group": [{"width": 8, "tau": 0.2, "weight_decay": 0.1, "tpp": 20}]},
        "number 1 has both of tau and weight_decay",
    ),
    "wrong model": ({"task": {"name": "fourier"}}, "cannot learn task 'fourier'"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_bad_specs_fail_before_any_training(capsys, tmp_path, name, flags):
    content, message = BAD[name]
    good = {"family": "f", "group": [{"width": 8, "tau": 0.2, "tpp": 20}]}
    path = tmp_path / "mine.toml"
    path.write_text(_toml(good | content))
    code, out, err = answer(capsys, str(path), "--store", str(tmp_path / "runs"), *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(found.name for found in tmp_path.iterdir()) == ["mine.toml"]


def _toml(content):
    """Write nested dicts as inline TOML."""

    def value(item):
        match item:
            case dict():
                return "{" + ", ".join(f"{k} = {value(v)}" for k, v in item.items()) + "}"
            case list():
                return "[" + ", ".join(map(value, item)) + "]"
        return json.dumps(item)

    return "".join(f"{key} = {value(item)}\n" for key, item in content.items())


def test_a_disk_or_a_device_that_is_not_there_is_told_before(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.training.preflight.find_gpus", lambda: ())
    options = ("quickstart", "--store", str(tmp_path / "runs"))
    code, _, err = answer(capsys, *options, "--device", "cuda", "--dry-run")
    assert (code, err.count("\n")) == (2, 1)
    assert "device 'cuda' is not there" in err
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    for flags in ((), ("--dry-run",)):
        code, _, err = answer(capsys, *options, *flags)
        assert (code, err.count("\n")) == (2, 1)
        assert "1 kB are free" in err

"""A mapping file says what columns mean and what logs do not record; errors name key and file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.cli import run
from workbench.errors import ArgumentError
from workbench.io import ColumnMapping, import_sources, load_mapping, read
from workbench.io.result import MappingReport
from workbench.schema import run_names
from workbench.store import open_store


@pytest.fixture
def write(tmp_path):
    def to(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return to


@pytest.fixture
def logs(write):
    for size in ("25M", "100M"):
        for seed in (0, 1):
            write(f"logs/{size}/s{seed}.csv", "it,ce/nats,held out\n0,3.5,\n10,2.5,2.75\n")
    return write("logs/100M/s1.csv", "it,ce/nats,held out\n0,4.5,\n10,3.5,3.75\n").parents[1]


FULL = """
[columns]
it = "step"
"ce/nats" = "train_loss"
"held out" = "val_loss"     # an alias will do

[set]
weight_decay = 0.1
lr = 1e-3
schedule = "cosine"
total_steps = "last"
run_id = "sweep/{name}"

[[runs]]
match = "sweep/25M/*"
model_size = 25e6
origin = "node 7"

[[runs]]
match = "sweep/*/s1"
seed = 1
schedule = "linear"
"""


def test_columns_and_coordinates_of_all_and_of_some_runs(logs, write):
    result = read(logs, mapping=write("map.toml", FULL))
    runs = result.runs
    assert run_names(runs) == ["sweep/100M/s0", "sweep/100M/s1", "sweep/25M/s0", "sweep/25M/s1"]
    assert runs["train_loss"].to_numpy().tolist() == [3.5, 2.5, 4.5, 3.5, 3.5, 2.5, 3.5, 2.5]
    assert runs["eval_loss"].to_numpy()[1::2].tolist() == [2.75, 3.75, 2.75, 2.75]
    assert runs["weight_decay"].to_numpy().tolist() == [0.1] * 4
    assert runs["peak_lr"].to_numpy().tolist() == [1e-3] * 4
    assert runs["total_steps"].to_numpy().tolist() == [10] * 4
    assert runs["tau"].to_numpy().tolist() == [1 / (1e-3 * 0.1) / 10] * 4
    np.testing.assert_array_equal(runs["model_size"], [np.nan, np.nan, 25e6, 25e6])
    np.testing.assert_array_equal(runs["seed"], [np.nan, 1, np.nan, 1])
    assert runs["schedule"].to_numpy().tolist() == ["cosine", "linear"] * 2
    assert runs["origin"].to_numpy().tolist() == ["", "", "node 7", "node 7"]
    assert result.report.notes == ()


def test_what_the_command_line_sets_wins(logs, write):
    path = write("map.toml", FULL)
    result = read(logs, mapping=path, settings={"schedule": "wsd", "run_id": "25M/{name}"})
    assert set(result.runs["schedule"].to_numpy()) == {"wsd"}
    assert run_names(result.runs)[0] == "25M/100M/s0"
    said = " ".join(result.report.notes)
    assert "[[runs]] number 1: no run matches 'sweep/25M/*'" in said
    assert str(path) in said


def test_what_a_log_records_stays_where_nothing_is_set_for_a_run(write):
    log = write("a.csv", "run_id,step,loss,seed,who\na,1,2,4,x\nb,1,2,5,y\n")
    mapping = ColumnMapping(some=(("b", {"seed": "9", "who": "me"}),))
    runs = read(log, mapping=mapping).runs
    assert runs["seed"].to_numpy().tolist() == [4, 9]
    assert runs["who"].to_numpy().tolist() == ["x", "me"]


def test_a_stated_column_wins_over_one_that_had_the_name(write):
    log = write("a.csv", "step,loss,smooth loss,train_loss\n1,2.0,3.0,4.0\n2,1.0,2.0,3.0\n")
    mapping = write("m.toml", '[columns]\n"smooth loss" = "train_loss"\nloss = "eval_loss"\n')
    runs = read(log, mapping=mapping).runs
    assert runs["train_loss"].to_numpy().tolist() == [3, 2]
    assert runs["eval_loss"].to_numpy().tolist() == [2, 1]
    assert runs["train_loss_"].to_numpy().tolist() == [4, 3]


def test_columns_of_a_reader_that_knows_no_mapping_are_renamed_afterwards(make_family, tmp_path):
    family = make_family(records=5).drop_vars(["model_size"])
    odd = family.rename(eval_loss="train_ce").assign_coords(width=("run", np.full(12, 8.0)))
    odd["loss"] = ("obs", np.ones(odd.sizes["obs"]))
    odd.to_netcdf(tmp_path / "f.nc", engine="netcdf4")
    columns = {"train/ce": "train_loss", "width": "model_size"}
    result = read(tmp_path / "f.nc", mapping=ColumnMapping(columns=columns, source="m.toml"))
    assert result.runs["model_size"].to_numpy().tolist() == [8.0] * 12
    np.testing.assert_array_equal(result.runs["train_loss"], family["eval_loss"])
    swapped = {"loss": "eval_loss", "train/ce": "train_loss"}
    result = read(tmp_path / "f.nc", mapping=ColumnMapping(columns=swapped, source="m.toml"))
    assert result.runs["eval_loss"].to_numpy().tolist() == [1.0] * 60
    note = read(tmp_path / "f.nc", mapping=ColumnMapping({"train/ec": "eval_loss"}, source="m"))
    assert "m, [columns]: no source has 'train/ec'" in note.report.notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[columns\n", "is not valid TOML"),
        ('[columns]\nce = "train_los"\n', "[columns], key 'ce': 'train_los' has no meaning"),
        ("[columns]\nce = 3\n", "[columns], key 'ce': 3 has no meaning"),
        ("[set]\nlr = true\n", "[set], key 'lr': a coordinate is a number or a text, found True"),
        ("[set]\nlr = [1, 2]\n", "[set], key 'lr': a coordinate"),
        ('[set]\nlr = ""\n', "[set], key 'lr': a coordinate"),
        ("[sets]\nlr = 1\n", "table 'sets': there is no such table"),
        ("[[runs]]\nlr = 1\n", "[[runs]] number 1, key 'match': it is needed"),
        ("[[runs]]\nmatch = 'a'\n[[runs]]\nmatch = 'a'\nlr = []\n", "[[runs]] number 2, key 'lr'"),
        ("[[runs]]\nmatch = 'a'\nname = 'b'\n", "run_id cannot be set for some runs"),
        ("runs = 3\n", "table 'runs'"),
        ("columns = 3\n", "table 'columns'"),
    ],
)
def test_errors_name_the_file_and_the_key(write, text, said):
    path = write("map.toml", text)
    with pytest.raises(ArgumentError) as error:
        load_mapping(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[set]\ntau = "small"\n', "[set]: tau = 'small': 'tau' is a number"),
        ("[set]\nstep = 1\n", "[set]: step = '1': 'step' is logged at every step"),
        ("[[runs]]\nmatch = '*'\nstatus = 'over'\n", "[[runs]] number 1 (match = '*'): status"),
    ],
)
def test_values_that_cannot_be_name_the_file_and_the_key(write, text, said):
    log, path = write("a.csv", "step,loss\n1,2\n"), write("map.toml", text)
    with pytest.raises(ArgumentError) as error:
        read(log, mapping=path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_file_is_a_bad_argument(tmp_path):
    with pytest.raises(ArgumentError, match="cannot be read"):
        load_mapping(tmp_path / "none.toml")


def test_the_report_lists_what_is_missing(write, tmp_path):
    write("logs/a.csv", "step,loss\n1,2\n")
    write("logs/b.csv", "step,loss\n1,2\n")
    write("logs/c.csv", "step,loss\n1,2\n")
    mapping = ColumnMapping(
        settings={"lr": "0.1", "total_steps": "4"},
        some=(("c", {"wd": "0.1", "model_size": "10"}), ("b", {"total_steps": "5"})),
    )
    report = import_sources(tmp_path / "s", [tmp_path / "logs"], mapping=mapping)
    assert report.missing == (
        {"name": "tau", "runs": ("a", "b"), "unknown": ("weight_decay",)},
        {"name": "tpp", "runs": ("a", "b"), "unknown": ("model_size", "tokens_total")},
        {"name": "tpp", "runs": ("c",), "unknown": ("tokens_total",)},
    )
    bare = read(tmp_path / "logs" / "a.csv").report.missing
    assert bare[0]["unknown"] == ("peak_lr", "weight_decay", "total_steps")
    assert bare[2] == {"name": "progress", "runs": ("a",), "unknown": ("total_steps",)}
    assert MappingReport(missing=bare).plus(MappingReport(missing=bare)).missing[2]["runs"] == (
        "a",
        "a",
    )


def test_a_mapping_over_several_sources_is_checked_over_all_of_them(write, tmp_path):
    mapping = write("m.toml", "[columns]\nce = 'loss'\n[[runs]]\nmatch = 'b'\nseed = 1\n")
    a, b = write("a.csv", "step,loss\n1,2\n"), write("b.csv", "step,ce\n1,2\n")
    report = import_sources(tmp_path / "s", [a, b], mapping=mapping)
    assert not [note for note in report.notes if "m.toml" in note]
    seeds = open_store(tmp_path / "s").table().set_index("run_id")["seed"]
    assert seeds["b"] == 1
    assert np.isnan(seeds["a"])


def test_the_command_line_takes_a_mapping_and_says_what_is_missing(write, capsys, tmp_path):
    log = write("a.csv", "it,ce\n1,2\n")
    path = write("m.toml", "[columns]\nit = 'step'\nce = 'loss'\n[set]\nlr = 0.1\n")
    command = ["import", str(log), "--map", str(path), "--store", str(tmp_path / "s")]
    assert run([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["missing"][0] == {
        "name": "tau",
        "runs": ["a"],
        "unknown": ["weight_decay", "total_steps"],
    }
    assert run(command) == 0
    out = capsys.readouterr().out
    assert "Not known: tau of 1 run: weight_decay and total_steps are not known." in out
    path.write_text("[column]\n")
    assert run(command) == 2
    assert "there is no such table" in capsys.readouterr().err

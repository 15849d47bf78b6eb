"""The command line as scripts use it: one JSON document, exit codes, one-paragraph errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from workbench.cli import run
from workbench.store import open_store

WORKBENCH = [sys.executable, "-c", "from workbench.cli import main; main()"]


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
def family_file(make_family, tmp_path):
    path = tmp_path / "family.nc"
    make_family(noise=5e-3).to_netcdf(path, engine="netcdf4")
    return str(path)


@pytest.fixture
def store(call, family_file, new_address):
    path = new_address("s")
    code, _, err = call("import", family_file, "--store", path, "--family", "made")
    assert code == 0, err
    return path


def one_paragraph(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text


def test_import_then_runs(call, family_file, new_address):
    path = new_address("s")
    code, out, _ = call("import", family_file, "--store", path, "--json")
    data = json.loads(out)
    assert code == 0
    assert len(data["imported"]) == 12
    assert {"run_id", "records", "format"} <= set(data["imported"][0])
    code, out, _ = call("runs", "--store", path, "--json", "--where", "seed=1")
    rows = json.loads(out)
    assert [row["seed"] for row in rows] == [1, 1, 1, 1]
    keys = "run_id family status model_size tau tpp schedule seed n_records last_step final_loss"
    assert set(keys.split()) <= set(rows[0])
    code, out, _ = call("runs", "--store", path)
    assert "12 runs" in out
    assert "lost" not in out


def test_long_constant_runs_collapse_at_their_horizon(call, shared_curves_path, tmp_path):
    path = str(tmp_path / "s")
    code, _, err = call("import", str(shared_curves_path("qiu_mlp_const")), "--store", path)
    assert code == 0, err
    code, out, err = call("collapse", "--store", path, "--json", "--points", "200")
    assert code == 0, err
    data = json.loads(out)
    assert data["deviation"][99] == pytest.approx(4.553e-3, rel=5e-3)
    assert len(data["horizon"]["compute_pflop"]) == 8
    assert "Runs cut at their recorded horizons" in data["verdict"]
    code, _, err = call("collapse", "--store", path, "--horizon", "end")
    assert code == 1
    assert one_paragraph(err)
    assert "--horizon optimal" in err


def test_importing_twice_adds_nothing(call, store, family_file):
    call("import", family_file, "--store", store, "--family", "made")
    _, out, _ = call("runs", "--store", store, "--json")
    assert len(json.loads(out)) == 12


def test_collapse_as_json_and_as_text(call, store):
    code, out, _ = call("collapse", "--store", store, "--offset", "1.7", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["supercollapse"]["holds"] is True
    assert data["offset"]["value"] == 1.7
    assert len(data["progress"]) == len(data["deviation"]) == len(data["noise_floor"])
    code, text, _ = call("collapse", "--store", store, "--offset", "1.7")
    assert data["verdict"] in text


def test_filters_combine(call, store):
    _, out, _ = call(
        "collapse",
        "--store",
        store,
        "--offset",
        "zero",
        "--json",
        "--where",
        "model_size<=2000000",
        "--where",
        "seed=0,1",
    )
    data = json.loads(out)
    assert data["n_runs"] == 4
    assert data["model_sizes"] == [1e6, 2e6]


def test_fit_power(call, store):
    code, out, _ = call("fit", "power", "--store", store, "--json")
    data = json.loads(out)
    assert code == 0
    assert data["params"]["L0"]["lower"] <= 1.7 <= data["params"]["L0"]["upper"]
    assert {"law", "formula", "params", "objective", "n_points", "warnings"} <= set(data)


def test_store_from_the_environment(call, store, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", store)
    code, out, _ = call("runs", "--json")
    assert code == 0
    assert len(json.loads(out)) == 12


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".csv"])
def test_export_round_trips(call, store, suffix, tmp_path):
    target = str(tmp_path / f"out{suffix}" if suffix != ".csv" else tmp_path / "out")
    code, out, err = call("export", target, "--store", store, "--where", "seed=0", "--json")
    assert code == 0, err
    assert json.loads(out)["runs"] == 4
    code, out, err = call("import", target, "--store", "again", "--json")
    assert code == 0, err
    _, out, _ = call("collapse", "--store", "again", "--offset", "zero", "--json")
    _, before, _ = call(
        "collapse", "--store", store, "--offset", "zero", "--json", "--where", "seed=0"
    )
    np.testing.assert_allclose(
        np.array(json.loads(out)["deviation"], float),
        np.array(json.loads(before)["deviation"], float),
        rtol=1e-6,
    )


def test_check_says_ok(call, store):
    code, out, _ = call("check", "--store", store, "--json")
    assert (code, json.loads(out)) == (0, {"ok": True, "problems": []})


def test_check_repairs_when_asked(call, store):
    root = open_store(store).root
    (root / "CURRENT").write_text("curves-0.zarr\n")
    assert json.loads(call("check", "--store", store, "--json")[1])["ok"] is True  # just published
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("workbench.store.folder.UNDERWAY_SECONDS", -1.0)
        code, out, _ = call("check", "--store", store, "--json")
        said = "CURRENT does not name generation 1, which is the newest."
        assert (code, json.loads(out)) == (1, {"ok": False, "problems": [said]})
        code, out, _ = call("check", "--repair", "--store", store)
        assert (code, out) == (0, "Repaired: CURRENT names generation 1.\nNo problem found.\n")
        code, out, _ = call("check", "--repair", "--store", store, "--json")
        assert (code, json.loads(out)) == (0, {"ok": True, "problems": [], "repaired": []})


def test_a_lost_run_is_listed_as_lost(call, store, monkeypatch):
    open_store(store).start_run("gone", family="made")
    monkeypatch.setattr("workbench.store.snapshot.LEASE_SECONDS", -1.0)
    _, out, _ = call("runs", "--store", store)
    assert "lost" in out
    assert out.endswith("13 runs; 1 lost: not heard of for 120 s\n")
    _, out, _ = call("runs", "--store", store, "--json", "--where", "lost=1")
    assert [(row["run_id"], row["status"]) for row in json.loads(out)] == [("gone", "running")]


def test_no_verb_tells_the_password(call, postgres, family_file, tmp_path):
    database = postgres.make_database()
    url = f"{postgres.url(database)}?curves={tmp_path / 'c'}"
    told = [
        call("import", family_file, "--store", url),
        call("import", url, "--store", "s"),
        call("runs", "--store", url),
        call("check", "--repair", "--store", url),
        call("export", "out", "--store", url),
        call("collapse", "--store", url.replace("curves=", "curves=/other"), "--json"),
        call("runs", "--store", url.replace(database, "missing")),
        call("runs", "--store", url.replace("tester:", "nobody:")),
        call("runs", f"--stor={url}"),
        call("runs", url),
        call("train", "no-such-preset", "--store", url),
        call("serve", "--store", url, "--address", "0.0.0.0"),
    ]
    assert [code for code, _, _ in told] == [0, 2, 0, 0, 0, 2, 1, 1, 2, 0, 2, 2]
    for _, out, err in told:
        assert "w%40rd" not in out + err
        assert "w@rd" not in out + err
    postgres.drop_database(database)


@pytest.mark.parametrize(
    ("tokens", "code", "message"),
    [
        (["collapse", "--store", "s", "--where", "taus=1"], 2, "Did you mean 'tau'"),
        (["collapse", "--store", "s", "--where", "tpp"], 2, "NAME OP VALUE"),
        (["collapse", "--store", "s", "--where", "tpp>99"], 1, "No run matches tpp>99"),
        (["collapse", "--store", "s", "--offset", "best"], 2, "--offset takes"),
        (["collapse", "--store", "s", "--loss", "train_loss"], 1, "no finite train_loss"),
        (["collapse", "--store", "s", "--x", "epoch"], 2, "epoch"),
        (["collapse", "--store", "nowhere"], 2, "nowhere"),
        (["import", "missing.csv", "--store", "s"], 2, "missing.csv"),
        (["import", "--store", "s"], 2, "SOURCE"),
        (["fit", "cubic", "--store", "s"], 2, "cubic"),
        (["runs", "--store", "s", "--wher", "x=1"], 2, "--wher"),
        (["nothing"], 2, "nothing"),
        (["report", "collapse", "--store", "nowhere", "--out", "r"], 2, "nowhere"),
        (["train", "no-such-preset", "--store", "t"], 2, "no-such-preset"),
        (["serve", "--store", "nowhere"], 2, "nowhere"),
        (["serve", "--store", "s", "--address", "0.0.0.0"], 2, "insecure"),
    ],
)
def test_bad_requests_fail_with_one_paragraph(call, store, tokens, code, message):
    got, out, err = call(*(store if token == "s" else token for token in tokens))
    assert (got, out) == (code, "")
    assert message in err
    assert "w%40rd" not in err
    assert one_paragraph(err), err


def test_nan_only_curve_is_refused_and_nothing_is_stored(call, make_family, tmp_path):
    runs = make_family(sizes=(1e6,), seeds=(0,))
    blank = runs.assign(eval_loss=("obs", np.full(runs.sizes["obs"], np.nan)))
    blank.to_netcdf(tmp_path / "blank.nc", engine="netcdf4")
    code, _, err = call("import", str(tmp_path / "blank.nc"), "--store", "n")
    assert code == 1
    assert "no finite loss" in err
    assert not (tmp_path / "n").exists()


def test_two_runs_in_one_cell_are_named(call, make_family, tmp_path):
    import workbench as wb

    runs = make_family(sizes=(1e6,), seeds=(0, 0))
    runs.to_netcdf(tmp_path / "twice.nc", engine="netcdf4")
    call("import", str(tmp_path / "twice.nc"), "--store", "d")
    tree = wb.open(str(tmp_path / "d"))
    assert "share the cell" in tree["cube"].attrs["why_empty"]
    with pytest.raises(wb.DataError, match="'N1e\\+06-s0' and 'N1e\\+06-s0-1'"):
        wb.to_cube(tree["runs"].to_dataset())


def test_a_newer_file_is_left_alone(call, make_family, tmp_path):
    make_family().assign_attrs(schema="collapse-runs/99").to_netcdf(tmp_path / "new.nc")
    code, _, err = call("import", str(tmp_path / "new.nc"), "--store", "n")
    assert code == 1
    assert "newer" in err


def test_debug_shows_the_traceback(call):
    with pytest.raises(Exception, match="nowhere"):
        call("collapse", "--store", "nowhere", "--debug")


def test_console_script_keeps_stdout_clean(family_file, tmp_path):
    environment = os.environ | {"WORKBENCH_STORE": str(tmp_path / "s")}
    subprocess.run([*WORKBENCH, "import", family_file], check=True, env=environment)
    done = subprocess.run(
        [*WORKBENCH, "collapse", "--offset", "zero", "--json"],
        check=True,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["n_runs"] == 12


def test_public_ladder_end_to_end(call, shared_curves_path):
    path = shared_curves_path("qiu_c5m")
    code, _, err = call("import", str(path), "--store", "c")
    assert code == 0, err
    _, out, _ = call("collapse", "--store", "c", "--loss", "eval_loss", "--offset", "fit", "--json")
    data = json.loads(out)
    assert data["power_law"]["b"]["estimate"] == pytest.approx(0.197, abs=0.002)
    assert data["power_law"]["L0"]["estimate"] == pytest.approx(3.1334, abs=0.001)
    assert data["power_law"]["objective"] <= 1.70e-9
    assert 0.1 < data["supercollapse"]["beyond"] < 0.2
    with xr.open_dataset(path) as ds:
        assert data["n_runs"] == ds.sizes["run"]


def test_an_earlier_state_is_listed_and_exported(call, store, family_file, make_family, tmp_path):
    make_family(sizes=(16e6,)).to_netcdf(tmp_path / "more.nc", engine="netcdf4")
    assert call("import", "more.nc", "--store", store)[0] == 0
    counts = {}
    for at in ("1", "2"):
        code, out, err = call("runs", "--store", store, "--at", at, "--json")
        assert code == 0, err
        counts[at] = len(json.loads(out))
    assert counts == {"1": 12, "2": 15}
    assert call("export", "old.nc", "--store", store, "--at", "1")[0] == 0
    with xr.open_dataset("old.nc", engine="netcdf4") as old:
        assert old.sizes["run"] == 12
    code, out, err = call("collapse", "--store", store, "--at", "1", "--json")
    assert (code, json.loads(out)["n_runs"]) == (0, 12), err
    code, _, err = call("runs", "--store", store, "--at", "9")
    assert code == 1
    assert "generation 1 to 2" in err
    code, _, err = call("import", family_file, "--store", "t", "--curves", "file:///tmp/x")
    assert code == 2
    assert "lost up to 18 %" in err


def test_fit_reads_a_table_of_finished_runs(call, tmp_path):
    n, d = (g.ravel() for g in np.meshgrid(np.geomspace(1e8, 1e10, 6), np.geomspace(1e9, 1e11, 5)))
    lines = ["n_params,tokens,loss,late,corpus"]
    for i, (size, tokens) in enumerate(zip(n, d, strict=True)):
        loss = 1.8 + 480 * size**-0.35 + 2000 * tokens**-0.37
        lines.append(f"{size},{tokens},{loss},{loss + 1},{'ab'[i % 2]}")
    (tmp_path / "ends.csv").write_text("\n".join(lines) + "\n")
    code, out, err = call("fit", "chinchilla", "--table", "ends.csv", "--json")
    data = json.loads(out)
    assert code == 0, err
    assert data["law"] == "chinchilla"
    assert data["n_points"] == 30
    assert data["params"]["E"]["estimate"] == pytest.approx(1.8, abs=0.01)
    _, out, _ = call(
        "fit", "chinchilla", "--table", "ends.csv", "--column", "loss=late", "--json",
        "--where", "corpus=a",
    )  # fmt: skip
    assert json.loads(out)["params"]["E"]["estimate"] == pytest.approx(2.8, abs=0.01)
    assert json.loads(out)["n_points"] == 15


@pytest.mark.parametrize(
    ("tokens", "code", "message"),
    [
        (["--table", "gone.csv"], 2, "not a file"),
        (["--table", "bare.csv"], 1, "has no loss"),
        (["--table", "bare.csv", "--column", "loss=x"], 2, "no column 'x'"),
        (["--table", "bare.csv", "--column", "loss"], 2, "NAME=COLUMN"),
        (["--column", "loss=x"], 2, "no --table"),
        (["--table", "bare.csv", "--outliers", "some"], 2, "--outliers takes"),
    ],
)
def test_bad_tables_are_one_paragraph(call, tmp_path, tokens, code, message):
    (tmp_path / "bare.csv").write_text("n_params,tokens\n1,2\n")
    got, out, err = call("fit", "chinchilla", *tokens)
    assert (got, out) == (code, "")
    assert message in err
    assert one_paragraph(err)


def test_public_long_runs_end_to_end(call, shared_curves_path):
    call("import", str(shared_curves_path("qiu_mlp_const")), "--store", "c")
    _, out, _ = call("fit", "frontier", "--store", "c", "--json")
    params = json.loads(out)["params"]
    assert params["scale"]["estimate"] == pytest.approx(1346251.6, abs=0.1)
    assert params["exponent"]["estimate"] == pytest.approx(2.040882, abs=1e-6)
    _, out, _ = call("fit", "power", "--store", "c", "--json")
    data = json.loads(out)
    assert data["params"]["b"]["estimate"] == pytest.approx(0.15271, abs=1e-5)
    assert data["params"]["L0"]["estimate"] == pytest.approx(0, abs=1e-6)
    assert data["objective"] <= 7.566e-7


@pytest.mark.parametrize(
    ("law", "name", "where", "expected"),
    [
        ("surrogate", "wsd_cosine", ["schedule=cosine"], {"b_exp": (-0.6, -0.1)}),
        ("multi-power", "mpl", ["model_size=25000000", "role=fit"], {"alpha": (0.4, 0.6)}),
        ("annealing", "mpl", ["model_size=25000000", "role=fit"], {"L0": (2.9, 3.1)}),
        ("noise", "qiu_c5m_schedules", [], {"alpha": (0.209, 0.214)}),
    ],
)
def test_curve_laws_are_fitted_by_name(call, shared_curves_path, law, name, where, expected):
    assert call("import", str(shared_curves_path(name)), "--store", "laws")[0] == 0
    filters = [token for text in where for token in ("--where", text)]
    code, out, err = call("fit", law, "--store", "laws", *filters, "--json")
    assert code == 0, err
    data = json.loads(out)
    assert {"law", "formula", "params", "objective", "n_points", "warnings"} <= data.keys()
    assert data["law"] == law
    for parameter, (low, high) in expected.items():
        found = data["params"][parameter]
        assert low < found["estimate"] < high
        assert found["lower"] < found["estimate"] < found["upper"]

from __future__ import annotations

import pickle
import pickletools
import struct
import time

import numpy as np
import pandas as pd
import pytest

from workbench.errors import DataError
from workbench.io import read
from workbench.io.pickled_tables import MAKERS
from workbench.schema import run_names


def history(seed=0, records=5, dtype="f8"):
    steps = np.arange(records)
    loss = (3 / (1 + steps) + seed).astype(dtype)
    return pd.DataFrame(
        {"step": steps.astype("f8"), "test_loss": loss, "lr": 0.5, "tau": steps / 2}
    )


def table(rows):
    frame = pd.DataFrame(
        {
            "D": [8 * (i + 1) for i in range(len(rows))],
            "num_params": [100 * (i + 1) for i in range(len(rows))],
            "P": -1,
            "B": 4,
            "L": 2,
            "lr": 0.5,
            "seed": [i % 2 for i in range(len(rows))],
        }
    )
    frame["schedule"] = pd.Series(["const"] * len(rows), dtype=object)
    frame["history"] = pd.Series(rows, dtype=object)
    frame.columns = frame.columns.astype(object)
    for row in rows:
        row.columns = row.columns.astype(object)
    return frame


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_runs_come_out_of_a_table_of_tables(tmp_path, protocol):
    path = tmp_path / "mlp.pkl"
    path.write_bytes(pickle.dumps(table([history(0), history(1, 3, "f4")]), protocol=protocol))
    result = read(path)
    runs = result.runs
    assert {row["format"] for row in result.report.imported} == {"supercollapse"}
    assert run_names(runs) == ["mlp-D8-const-seed0", "mlp-D16-const-seed1"]
    assert runs["row_size"].to_numpy().tolist() == [5, 3]
    want = np.concatenate([history(0)["test_loss"], history(1, 3, "f4")["test_loss"]])
    assert runs["eval_loss"].to_numpy().tolist() == want.tolist()
    assert runs["model_size"].to_numpy().tolist() == [100, 200]
    assert runs["batch_size"].to_numpy().tolist() == [8, 8]
    assert runs["schedule"].to_numpy().tolist() == ["constant"] * 2
    assert np.isnan(runs["tau"].to_numpy()).all()
    assert runs["learning_rate_sum"].to_numpy()[:3].tolist() == [0, 0.5, 1]


def test_the_batch_size_follows_the_compute_where_its_column_is_wrong(tmp_path):
    rows = [history(0), history(1)]
    for row, size in zip(rows, (100, 200), strict=True):
        row["compute"] = 6 * size * row["step"] * 8 / 1e15
    rows[1]["compute"] /= 8
    path = tmp_path / "mlp.pkl"
    path.write_bytes(pickle.dumps(table(rows)))
    result = read(path)
    assert result.runs["batch_size"].to_numpy().tolist() == [8, 1]
    (note,) = [note for note in result.report.notes if "batch size" in note]
    assert "batch size 1 taken from the compute" in note
    assert "say 8" in note


def test_rows_that_repeat_a_run_byte_for_byte_are_merged_and_said(tmp_path):
    frame = table([history(0), history(1)])
    path = tmp_path / "mlp.pkl"
    path.write_bytes(pickle.dumps(pd.concat([frame, frame.iloc[1:], table([history(2)])])))
    result = read(path)
    assert result.runs.sizes["run"] == 3
    assert len(set(run_names(result.runs))) == 3
    assert any("1 of 4 rows repeat a run byte for byte" in note for note in result.report.notes)


def test_the_real_pickle_matches_the_curated_curves(shared_logs, shared_curves):
    (path,) = (shared_logs / "supercollapse_pickles").iterdir()
    ours, theirs = read(path).runs, shared_curves("qiu_mlp_const")
    assert (
        ours["row_size"].to_numpy().tolist() == theirs["row_size"].to_numpy().tolist() == [906] * 8
    )
    for name in ("model_size", "width", "depth", "batch_size", "peak_lr", "seed", "schedule"):
        assert ours[name].to_numpy().tolist() == theirs[name].to_numpy().tolist(), name
    assert ours["step"].to_numpy().tolist() == theirs["step"].to_numpy().tolist()
    for name in ("eval_loss", "learning_rate", "compute_pflop"):
        got = ours[name].to_numpy().astype(np.float32)
        assert got.tolist() == theirs[name].to_numpy().astype(np.float32).tolist(), name
    assert "1 run" not in str(read(path).report.notes)


# Pickles that want something done. The marker file shows whether it was.


class Call:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


def attacks(marker):
    import os
    import shutil

    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    return {
        "system": Call(os.system, command),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "getattr": Call(getattr, Call(__import__, "os"), "system"),
        "import": Call(__import__, "os"),
        "rmtree": Call(shutil.rmtree, str(marker)),
        "read_pickle": Call(pd.read_pickle, str(marker)),
        "pandas eval": Call(pd.eval, code),
        "numpy load": Call(np.load, str(marker)),
        "numpy memmap": Call(np.memmap, str(marker), "u1", "w+"),
        "numpy fromfile": Call(np.fromfile, str(marker)),
        "loads": Call(pickle.loads, pickle.dumps(Call(os.system, command))),
        "partial": Call(__import__("functools").partial, os.system, command),
    }


def wrapped(content, where):
    frame = table([history()])
    if where == "cell":
        frame["history"] = pd.Series([content], dtype=object)
    elif where == "attrs":
        frame.attrs["x"] = content
    return pickle.dumps(content if where == "alone" else frame)


@pytest.mark.parametrize("where", ["alone", "cell", "attrs"])
@pytest.mark.parametrize("name", list(attacks("x")))
def test_nothing_is_ever_run(tmp_path, name, where):
    marker = tmp_path / "done"
    path = tmp_path / "x.pkl"
    path.write_bytes(wrapped(attacks(marker)[name], where))
    with pytest.raises(DataError, match="is refused") as caught:
        read(path, format="supercollapse")
    assert not marker.exists()
    assert "\n" not in str(caught.value)


def text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def named(module, name):
    return text(module) + text(name) + b"\x93"


ARRAY = named("numpy._core.multiarray", "_reconstruct")
EMPTY = ARRAY + named("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
F8 = (
    named("numpy", "dtype")
    + text("f8")
    + b"\x89\x88\x87R(K\x03"
    + text("<")
    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def array_of(shape, data):
    return EMPTY + b"(K\x01" + shape + F8 + b"\x89" + data + b"tb"


HUGE = b"\x8a\x08" + struct.pack("<q", 2**62)
BODIES = {
    "names within names": named("pandas", "io.common.os.system"),
    "dunder": named("numpy", "ndarray.__class__"),
    "builtins": named("builtins", "eval") + text("1") + b"\x85R",
    "global of protocol 0": b"cposix\nsystem\n" + text("true") + b"\x85R",
    "inst": b"(" + text("true") + b"iposix\nsystem\n",
    "obj": b"(" + named("numpy", "dtype") + text("f8") + b"o",
    "newobj_ex": named("numpy", "dtype") + b")}\x92",
    "persistent": b"Pid\n",
    "persistent object": text("x") + b"Q",
    "extension": b"\x82\x01",
    "call of a class only named": named("numpy", "ndarray") + HUGE + b"\x85\x85R",
    "call of a result": EMPTY + b")R",
    "build on a name": named("numpy", "dtype") + b"}b",
    "build on text": text("x") + b"}b",
    "build on a mapping": b"}" + text("__class__") + named("numpy", "dtype") + b"sb",
    "set on a name": named("numpy", "dtype") + text("a") + text("b") + b"s",
    "huge shape": array_of(HUGE + b"\x85", b"C\x00"),
    "huge product": array_of(HUGE + HUGE + b"\x86", b"C\x00"),
    "negative shape": array_of(b"J\xff\xff\xff\xff\x85", b"C\x00"),
    "short content": array_of(b"K\x02\x85", b"C\x08" + b"\0" * 8),
    "content of another type": array_of(b"K\x01\x85", text("12345678")),
    "record type": named("numpy", "dtype") + text("V8") + b"\x89\x88\x87R",
    "object type with bytes": named("numpy", "dtype") + text("O8") + b"\x89\x88\x87R",
    "huge slice": named("builtins", "slice") + b"K\x00" + HUGE + b"K\x01\x87R",
    "slice of text": named("builtins", "slice") + text("a") + b"NN\x87R",
    "keys of tuples": b"}" + b"K\x01\x85" + b"\x86".join([b"2"] * 3) + b"K\x01s",
    "tuple as a key": b"}K\x01\x85K\x01s",
    "huge memo": text("a") + b"r\xff\xff\xff\x7f",
    "huge length of bytes": b"\x8e" + struct.pack("<Q", 2**40) + b"x",
    "huge length of text": b"\x8d" + struct.pack("<Q", 2**40) + b"x",
    "huge bytearray": b"\x96" + struct.pack("<Q", 2**40) + b"x",
    "huge frame": b"\x95" + struct.pack("<Q", 2**60) + b"N",
    "unknown memo": b"h\x05",
    "no values": b"\x87",
    "below a mark": b"N(\x85",
    "no mark": b"t",
    "odd items": b"}(" + text("a") + b"u",
    "append to text": text("a") + b"Na",
    "buffer": b"\x97",
    "protocol 255": b"\x80\xff",
    "unknown type": named("pandas", "StringDtype") + b")R",
    "no table": b"N",
    "a number": b"K\x01",
}


@pytest.mark.parametrize("name", list(BODIES))
def test_what_no_table_needs_is_refused(tmp_path, name):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + BODIES[name] + b".")
    with pytest.raises(DataError) as caught:
        read(path, format="supercollapse")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_list_of_names_is_whole_and_none_stands_for_the_library_itself():
    assert len(MAKERS) == 21
    for (module, name), maker in MAKERS.items():
        assert module.partition(".")[0] in ("numpy", "pandas", "builtins", "__builtin__", "_codecs")
        assert maker.__module__ == "workbench.io.pickled_tables", name


def test_too_large_a_pickle_and_too_many_instructions(tmp_path, monkeypatch):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + b"N" * 100 + b".")
    monkeypatch.setattr("workbench.io.pickled._MOST_INSTRUCTIONS", 50)
    with pytest.raises(DataError, match="over 50 instructions"):
        read(path, format="supercollapse")
    monkeypatch.setattr("workbench.io.pickled.LARGEST_FILE", 50)
    monkeypatch.setattr("workbench.io.readers.pickles.LARGEST_FILE", 50)
    with pytest.raises(DataError, match="up to 50"):
        read(path, format="supercollapse")


def test_rows_that_share_a_large_history_do_not_unfold(tmp_path):
    shared = history(records=2000)
    frame = table([shared] * 200)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(frame))
    with pytest.raises(DataError, match="unfolds to 1600000 values"):
        read(path)


def test_text_columns_of_arrow_are_refused_with_the_way_round(tmp_path):
    frame = table([history()])
    frame["schedule"] = pd.Series(["const"], dtype="str")
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(frame))
    names = {arg for _, arg, _ in pickletools.genops(path.read_bytes()) if isinstance(arg, str)}
    if not any("StringArray" in name for name in names):
        pytest.skip("this pandas keeps text as objects")
    with pytest.raises(DataError, match="save it as Parquet or CSV"):
        read(path)


# A tuple of itself twice, sixty times over: 2^60 leaves in a few bytes, remembered as number 65536.
DOUBLED = b"K\x01r\x00\x00\x01\x00" + b"j\x00\x00\x01\x00\x86r\x00\x00\x01\x00" * 60


@pytest.mark.parametrize("where", ["setting", "name", "name of a history", "type"])
def test_tuples_that_unfold_without_end_are_refused_or_left_out(tmp_path, where):
    frame = table([history(0), history(1)])
    placeholder = b"X\x04\x00\x00\x00BOMB"
    match where:
        case "setting":
            frame["mine"] = pd.Series(["BOMB", "other"], dtype=object)
        case "name":
            frame.columns = pd.Index(["BOMB", *frame.columns[1:]], dtype=object)
        case "name of a history":
            own = frame["history"].iloc[0]
            own.columns = pd.Index(["BOMB", *own.columns[1:]], dtype=object)
        case "type":
            placeholder = b"X\x02\x00\x00\x00O8"
    content = pickle.dumps(frame, protocol=2)
    assert placeholder in content
    path = tmp_path / "x.pkl"
    path.write_bytes(content.replace(placeholder, DOUBLED, 1))
    started = time.monotonic()
    if where == "setting":
        assert read(path).runs.sizes["run"] == 2
    else:
        with pytest.raises(DataError, match="is refused"):
            read(path)
    assert time.monotonic() - started < 10


def test_other_tables_are_refused(tmp_path):
    frame = pd.DataFrame({"a": [1.0]})
    frame.columns = frame.columns.astype(object)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(frame))
    with pytest.raises(DataError, match="not of runs as the supercollapse repository"):
        read(path)

"""Every reader meets damaged files: what comes out is a result or a clean error, soon."""

from __future__ import annotations

import json
import pickle
import resource
import time

import numpy as np
import pytest

from tests.io.readers.test_hf_trainer import HISTORY, state
from tests.io.readers.test_lightning_csv import HPARAMS, METRICS
from tests.io.readers.test_pickles import history, table
from tests.io.readers.test_wandb_json import CONFIG, GROUPS, ROWS
from workbench.errors import WorkbenchError
from workbench.io import FORMATS, read
from workbench.io.formats import format_of
from workbench.io.result import Source
from workbench.store import open_store

MUTANTS = 400
OURS = [
    "hf-trainer",
    "jsonl",
    "lightning-csv",
    "neptune",
    "parquet",
    "supercollapse",
    "wandb-csv",
    "wandb-json",
]
WORDS = [
    b"nan",
    b"NaN",
    b"-1",
    b"1e999",
    b"9" * 30,
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"\\ud800",
    b"\0",
    b"\xff\xfe",
    b"\n",
    b",",
    b"[" * 300,
    b"0.5",
    b"-0",
    b"true",
    b"1" * 4400,
    b"\xff\xff\xff\x7f",
]
JSONL = [
    {"config": {"lr": 0.1, "betas": [0.9, 0.95]}},
    {"run_id": "a", "step": 1, "loss": 3.5, "grad": {"norm": 1}},
    {"run_id": "b", "split": "val", "step": 2, "loss": "NaN"},
    {"run_id": "b", "step": 3, "loss": "2.5"},
    {"run_id": "a", "step": 2, "loss": 3.25, "final-val/loss": 3},
]
EXPORT = (
    '"Step","a - loss","a - loss__MIN","a - loss__MAX","b - c - val/loss"\n'
    '"1","2","1","3",""\n"2","","","","5"'
)


def tabular(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "run": ["a", "a", "b"],
        "step": [1, 2, 1],
        "loss": [3.0, None, 2.0],
        "tau": [1, 1, 2],
    }
    pq.write_table(pa.table(columns), folder / "table.parquet")
    (folder / "a.csv").write_text("run,step,loss,mine\na,1,3,x\na,2,2.5,x\nb,1,2,\n")
    store = open_store(folder / "store", create=True)
    store.add_runs(read(folder / "a.csv").runs)
    store.export(folder / "export.parquet")
    store.close()
    return (folder / "table.parquet").read_bytes(), (folder / "export.parquet").read_bytes()


def neptune(folder):
    from tests.io.readers.test_neptune import PARAMETERS, SERIES, write

    return write(folder / "RUN-1_part_0.parquet", PARAMETERS + SERIES).read_bytes()


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("samples")
    parquet, export = tabular(folder)
    run = {"name": "r", "config": CONFIG, "summary": {"parameters": 1e6}, "history": GROUPS}
    rows = [history(0), history(1, 3, "f4")]
    return {
        "hf-trainer": [json.dumps(state(HISTORY, train_batch_size=2), indent=1).encode()],
        "lightning-csv": [METRICS.encode()],
        "jsonl": ["".join(json.dumps(row) + "\n" for row in JSONL).encode()],
        "parquet": [parquet, export],
        "neptune": [neptune(folder)],
        "supercollapse": [pickle.dumps(table(rows), protocol=p) for p in (2, 4, 5)],
        "wandb-csv": [EXPORT.encode()],
        "wandb-json": [json.dumps(run).encode(), json.dumps(ROWS).encode()],
    }


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage some bytes: change, cut out, double, put something in, or break off."""
    out = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, len(out) + 1))
        end = min(len(out), at + int(rng.integers(1, 40)))
        match int(rng.integers(0, 6)):
            case 0:
                out[at : at + 1] = bytes([int(rng.integers(0, 256))])
            case 1:
                del out[at:end]
            case 2:
                out[at:at] = out[at:end]
            case 3:
                out[at : at + int(rng.integers(0, 3))] = WORDS[int(rng.integers(0, len(WORDS)))]
            case 4 if at < len(out):
                out[at] ^= 1 << int(rng.integers(0, 8))
            case _:
                if rng.random() < 0.2:
                    del out[at:]
    return bytes(out)


def meets(path, format):
    """Read a file in both ways; say whether a run came out."""
    format_of(Source(path, "x"))
    try:
        return read(path, format=format).runs.sizes["run"] > 0
    except WorkbenchError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 2000
    return False


@pytest.mark.parametrize("format", OURS)
def test_damaged_files_end_in_a_result_or_a_clean_error(tmp_path, samples, format):
    rng = np.random.default_rng(17)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_well = 0
    for content in samples[format]:
        path = tmp_path / "sample"
        path.write_bytes(content)
        assert format_of(Source(path, "x")) is FORMATS[format]
        assert meets(path, format)
        for _ in range(MUTANTS // len(samples[format])):
            path.write_bytes(mutated(content, rng))
            started = time.monotonic()
            read_well += meets(path, format)
            assert time.monotonic() - started < 10
    assert read_well < MUTANTS  # the damage is felt
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert grown < 1 << 20


def test_damaged_hyper_parameters_leave_the_curve(tmp_path):
    rng = np.random.default_rng(3)
    (tmp_path / "metrics.csv").write_text(METRICS)
    for _ in range(MUTANTS):
        (tmp_path / "hparams.yaml").write_bytes(mutated(HPARAMS.encode(), rng))
        assert read(tmp_path / "metrics.csv").report.imported[0]["records"] == 2


def test_any_bytes_are_no_trouble_to_any_reader(tmp_path):
    rng = np.random.default_rng(5)
    path = tmp_path / "x"
    starts = [b"", b"{", b"[{", b"PAR1", b"\x80\x04", b"step,epoch,loss\n", b'"Step","a - b"\n']
    for start in starts:
        for length in (0, 1, 10, 1000):
            path.write_bytes(start + rng.bytes(length))
            for format in FORMATS:
                if format not in ("netcdf", "store", "zarr"):
                    meets(path, format)

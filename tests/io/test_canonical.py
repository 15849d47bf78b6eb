from __future__ import annotations

import gc
import json

import numpy as np
import pytest
import zarr

from workbench.errors import DataError
from workbench.io import read
from workbench.schema import conform, make_runs
from workbench.store import open_store


@pytest.fixture
def group(tmp_path):
    """Return a Zarr group of one run with a good many arrays."""
    runs = make_runs(
        {"run_id": ["a"], "note": ["é"], "total_steps": [2.0], "model_size": [1e6], "seed": [1]},
        {"step": [0, 1, 2], "train_loss": [3.0, 2.5, 2.0], "learning_rate": [0.1, 0.1, 0.1]},
        row_size=[3],
    )
    store = open_store(tmp_path / "store", create=True)
    store.add_runs(runs)
    store.export(tmp_path / "a.zarr")
    store.close()
    return tmp_path / "a.zarr"


DAMAGE = [b"{", b"\xff\xfe\0", b'{"zarr_format": 3}', b'{"zarr_format": 3, "node_type": 1}', b"[]"]


@pytest.mark.parametrize("content", DAMAGE)
def test_damage_in_several_arrays_is_one_error_and_nothing_is_printed(group, content, caplog):
    assert read(group).runs.sizes["obs"] == 3
    for path in group.glob("*/zarr.json"):
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zarr cannot be read"):
        read(group)
    gc.collect()
    assert [record.message for record in caplog.records] == []


def test_an_array_without_its_metadata_is_missed(group):
    (group / "learning_rate" / "zarr.json").unlink()
    with pytest.raises(DataError, match=r"learning_rate has lost its zarr\.json"):
        read(group)


def test_a_group_within_the_group_is_no_matter(group):
    zarr.create_group(group / "more")
    assert read(group).runs.sizes["obs"] == 3


@pytest.mark.parametrize("name", ["train_loss", "note"])
def test_an_array_that_claims_more_than_its_files_can_hold_is_refused(group, name):
    path = group / name / "zarr.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"shape": [4_227_858_435]}))
    with pytest.raises(DataError, match=r"claims 42278\d+ values in \d+ bytes"):
        read(group)


def test_a_large_group_that_packs_well_is_read(tmp_path):
    count = 3_000_000
    names = [f"empty{i}" for i in range(15)]
    missing = np.full(count, np.nan)
    loss = np.full(count, 2.5)
    records = {"step": np.arange(count), "train_loss": loss} | dict.fromkeys(names, missing)
    runs = make_runs({"run_id": ["a"]}, records, row_size=[count])
    store = open_store(tmp_path / "store", create=True)
    store.add_runs(conform(runs))
    store.export(tmp_path / "a.zarr")
    store.close()
    assert read(tmp_path / "a.zarr").runs.sizes["obs"] == count

"""Consolidated curves in a folder: what is damaged on disk is never read as data."""

from __future__ import annotations

import random

import numpy as np
import pytest
import xarray as xr

from workbench.errors import DataError
from workbench.store import generation
from workbench.store.digest import digests
from workbench.store.folder import FolderTier


@pytest.fixture
def held(folder_store, few_runs, monkeypatch):
    """Return a store of runs in several shards, of which one column was hardly ever logged."""
    monkeypatch.setattr(generation, "CHUNK", 16)
    monkeypatch.setattr(generation, "SHARD", 64)
    runs = few_runs(12, records=37)
    rare = np.where(np.arange(runs.sizes["obs"]) == 3, 1.5, np.nan)
    folder_store.add_runs(runs.assign(grad_norm=("obs", rare)))
    return folder_store


def test_no_flipped_bit_changes_a_number(held):
    written = digests(held.runs())
    files = sorted(p for p in (held.root / "curves-1.zarr").rglob("*") if p.is_file())
    draw = random.Random(0)
    refused = 0
    for path in files * 6:
        content = path.read_bytes()
        place = draw.randrange(len(content))
        flipped = bytes([content[place] ^ 1 << draw.randrange(8)])
        path.write_bytes(content[:place] + flipped + content[place + 1 :])
        try:
            assert digests(held.runs()) == written, f"{path}, byte {place}"
        except DataError:
            refused += 1
        path.write_bytes(content)
    assert refused > 0.8 * 6 * sum(path.name != "zarr.json" for path in files)
    assert digests(held.runs()) == written


def test_no_file_that_is_gone_is_read_as_fill_values(held):
    files = sorted(p for p in (held.root / "curves-1.zarr").rglob("*") if p.is_file())
    written = digests(held.runs())
    harmless = set()
    for path in files:
        content = path.read_bytes()
        path.unlink()
        try:
            assert digests(held.runs()) == written, path
            harmless.add(path.relative_to(held.root / "curves-1.zarr").parts[0])
        except DataError:
            pass
        path.write_bytes(content)
    coords = held.runs().coords
    nothing = {n for n, v in coords.items() if set(v.to_numpy().astype(str)) <= {"nan", "", "0"}}
    assert harmless <= nothing  # coordinates nobody gave are what fill values are
    assert len(files) > 20
    assert held.check() == ()


def test_a_generation_from_before_there_were_checksums_is_read(held):
    written = digests(held.runs())
    path = held.root / "curves-1.zarr"
    plain = xr.open_zarr(path, consolidated=False, chunks=None).load()
    del plain.attrs["head_sha256"]
    plain.drop_encoding().to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    assert digests(held.runs()) == written
    assert "head_sha256" not in FolderTier(held.root).open(1).attrs

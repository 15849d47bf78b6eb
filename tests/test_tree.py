from __future__ import annotations

import pytest

import workbench as wb
from workbench.errors import ArgumentError
from workbench.store import open_store


def test_a_store_opens_as_runs_cube_and_fits(tmp_path, make_family):
    open_store(tmp_path / "s", create=True).add_runs(make_family(records=20))
    tree = wb.open(tmp_path / "s")
    assert set(tree.children) == {"runs", "cube", "fits"}
    assert tree["runs"].sizes["run"] == 12
    assert tree["cube"].sizes["model_size"] == 4
    assert not tree["fits"].variables


def test_a_store_anywhere_opens_under_its_name(new_address, make_family):
    address = new_address("mine")
    store = open_store(address, create=True)
    store.add_runs(make_family(records=20))
    tree = wb.open(address)
    assert tree.name == store.name
    assert tree["runs"].sizes["run"] == 12
    store.close()


def test_a_cube_that_cannot_be_built_says_why(tmp_path, make_family):
    family = make_family(records=20)
    family["seed"][:] = 0
    store = open_store(tmp_path / "s", create=True)
    assert "no run" in wb.open(tmp_path / "s")["cube"].attrs["why_empty"]
    store.add_runs(family)
    tree = wb.open(tmp_path / "s")
    assert "share the cell" in tree["cube"].attrs["why_empty"]
    assert not tree["cube"].variables
    assert tree["runs"].sizes["run"] == 12


def test_opening_nothing_is_an_argument_error(tmp_path):
    with pytest.raises(ArgumentError, match="There is no store"):
        wb.open(tmp_path / "none")


def test_a_store_opens_as_it_was(tmp_path, make_family):
    store = open_store(tmp_path / "s", create=True)
    store.add_runs(make_family(records=20, sizes=(1e6, 2e6)))
    store.add_runs(make_family(records=20))
    before = wb.open(tmp_path / "s", at=1)
    assert before["runs"].sizes["run"] == 6
    assert before["cube"].sizes["model_size"] == 2
    assert wb.open(tmp_path / "s")["runs"].sizes["run"] == 12

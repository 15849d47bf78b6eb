"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import settings

from tests.chromium import ARGUMENTS, find_chromium
from tests.postgres import PostgresServer, find_postgres
from workbench.schema import conform, make_runs

settings.register_profile("shared-machine", deadline=None)  # times say little on a loaded machine
settings.load_profile("shared-machine")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def chromium():
    """Return one Chromium for all tests of a process; Playwright allows no second one."""
    pytest.importorskip("playwright")
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine; see tests/chromium.py")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def postgres():
    """Return one PostgreSQL server for all tests of a process."""
    pytest.importorskip("psycopg")
    programs = find_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine; see tests/postgres.py")
    server = PostgresServer(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def addresses_on_server(request):
    """Return what makes a maker of addresses of new stores on PostgreSQL, with curves elsewhere."""
    made = []

    def maker(curves):
        server = request.getfixturevalue("postgres")

        def make(name="runs"):
            made.append((server, server.make_database()))
            return f"{server.url(made[-1][1])}?{urlencode({'curves': curves(name)})}"

        return make

    yield maker
    for server, database in made:
        server.drop_database(database)


@pytest.fixture(params=["sqlite", "postgres"])
def new_address(request, tmp_path, addresses_on_server):
    """Return a maker of addresses of stores that do not exist yet, one kind after the other."""
    if request.param == "sqlite":
        return lambda name="runs": str(tmp_path / name)
    return addresses_on_server(lambda name: tmp_path / name)


@pytest.fixture(scope="session")
def shared_curves_path():
    """Return a finder of files of public curves; skips where they are not on this machine."""

    def find(name: str) -> Path:
        path = SHARED / "curves" / f"{name}.nc"
        if not path.exists():
            pytest.skip(f"public curves are not here: {path.name}")
        return path

    return find


@pytest.fixture(scope="session")
def shared_curves(shared_curves_path):
    """Return a loader of the public curves as runs."""

    def load(name: str) -> xr.Dataset:
        path = shared_curves_path(name)
        with xr.open_dataset(path, engine="netcdf4") as ds:
            return conform(ds.load(), source=path.name)

    return load


@pytest.fixture(scope="session")
def shared_table():
    """Return a loader of public tables of final losses; skips where they are not here."""

    def load(name: str) -> pd.DataFrame:
        path = SHARED / "tables" / f"{name}.csv"
        if not path.exists():
            pytest.skip(f"public tables are not here: {path.name}")
        return pd.read_csv(path)

    return load


@pytest.fixture(scope="session")
def shared_logs() -> Path:
    """Return the folder of untouched public logs; skips where it is not on this machine."""
    path = SHARED / "logs"
    if not path.exists():
        pytest.skip("public logs are not here")
    return path


def _unique(size: float, seed: int, rows: list[dict[str, object]]) -> str:
    name = f"N{size:g}-s{seed}"
    again = sum(str(row["run_id"]).startswith(name) for row in rows)
    return f"{name}-{again}" if again else name


@pytest.fixture
def make_family():
    """Return a maker of synthetic families that collapse exactly at offset `floor`.

    L(x) = floor + A(N) * x**-0.3, A falling with N, plus optional seed noise and a run that
    stands off.
    """

    def make(
        *,
        sizes=(1e6, 2e6, 4e6, 8e6),
        seeds=(0, 1, 2),
        floor=1.7,
        noise=0.0,
        records=200,
        odd=None,
        rng=0,
        **coords,
    ) -> xr.Dataset:
        generator = np.random.default_rng(rng)
        rows, records_of = [], []
        for size in sizes:
            for seed in seeds:
                x = np.arange(1, records + 1) / records
                amplitude = 20 * size**-0.2 * np.exp(noise * generator.standard_normal())
                loss = floor + amplitude * x**-0.3
                if odd == (size, seed):
                    loss += 0.2 * amplitude * np.sin(np.pi * x)
                rows.append({"run_id": _unique(size, seed, rows), "model_size": size, "seed": seed})
                records_of.append(loss)
        n = len(rows)
        base = {key: [row[key] for row in rows] for key in rows[0]}
        extra = {
            "tpp": np.full(n, 20.0),
            "tau": np.full(n, 0.2),
            "schedule": ["linear"] * n,
            "total_steps": np.full(n, float(records)),
            "status": ["done"] * n,
            **{name: np.broadcast_to(value, n) for name, value in coords.items()},
        }
        ds = make_runs(
            {**base, **extra},
            {
                "step": np.tile(np.arange(1, records + 1), n),
                "eval_loss": np.concatenate(records_of),
            },
            row_size=[records] * n,
        )
        return conform(ds)

    return make

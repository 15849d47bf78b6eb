"""Describe the machine a benchmark ran on, without naming it, and keep its figures."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"


def describe(*libraries: str) -> dict[str, Any]:
    """Return cores, load, Python and library versions."""
    return {
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in libraries},
    }


def keep(name: str, figures: dict[str, Any], *libraries: str) -> Path:
    """Write figures with the machine's description to results/NAME.json and return the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps({"machine": describe(*libraries), **figures}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


@contextmanager
def postgres_server(**settings: str) -> Iterator[Any]:
    """Start the tests' PostgreSQL server with other settings; give None where there is none."""
    sys.path.insert(0, str(ROOT))
    from tests.postgres import PostgresServer, find_postgres

    programs = find_postgres()
    if programs is None:
        yield None
        return
    server = PostgresServer(programs, **settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()

"""Kill -9 at random moments over recorder, importer and consolidator, with readers running.

python benchmarks/durability.py [ROUNDS [ROUNDS_ON_POSTGRESQL [SEED]]]

After each kill the store is opened, checked and, where the check finds something, repaired; what
was acknowledged is looked up, each time. Two other processes read the whole store all the while
and look at every value. A killed process shows what a crash, an out-of-memory kill or a preemption
does; it does not show what a power cut does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import ROOT, keep, postgres_server

PROCESSES = ROOT / "tests" / "store" / "processes.py"


def kill(address: str, rounds: int, seed: int) -> dict[str, Any]:
    """Run the kills on a store at `address` and return the counts."""
    command = [sys.executable, str(PROCESSES), "kill_at_random", address, str(rounds), str(seed)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    counts: dict[str, Any] = json.loads(done.stdout)
    killed = sum(count for name, count in counts.items() if name.startswith("killed_"))
    return {"kills": killed, **counts, "seconds": round(time.perf_counter() - began, 1)}


def said(name: str, result: dict[str, Any]) -> str:
    """Put the counts of one database in a line."""
    kinds = ("recorders", "importers", "consolidators")
    parts = ", ".join(f"{result[f'killed_{kind}']} {kind}" for kind in kinds)
    return (
        f"{name}: {result['kills']} killed ({parts}; {result['survived']} were done before), "
        f"{result['acknowledged_points']} points acknowledged, {len(result['lost'])} lost, "
        f"{len(result['reading_failed'])} of {result['reads']} reads failed, "
        f"{result['repaired']} repairs, {len(result['unrepairable'])} problems left"
    )


def main() -> int:
    """Kill, print the counts and keep them; 1 when anything was lost, torn or not repaired."""
    given = dict(enumerate(sys.argv[1:]))
    rounds, on_server, seed = (int(given.get(i, n)) for i, n in enumerate((230, 45, 0)))
    with tempfile.TemporaryDirectory() as folder:
        found = {"sqlite": kill(str(Path(folder) / "store"), rounds, seed)}
        print(said("SQLite", found["sqlite"]))
        with postgres_server(fsync="on", full_page_writes="on") as server:
            if server is None:
                print("PostgreSQL: no server on this machine, see tests/postgres.py")
            else:
                url = f"{server.url(server.make_database())}?curves={Path(folder) / 'curves'}"
                found["postgresql"] = kill(url, on_server, seed)
                print(said("PostgreSQL", found["postgresql"]))
    total = sum(result["kills"] for result in found.values())
    bad = sum(
        len(result[name])
        for result in found.values()
        for name in ("lost", "reading_failed", "unrepairable")
    )
    print(f"{total} kills, {bad} losses, torn reads or problems left")
    path = keep("durability", {"kills": total, "bad": bad, **found}, "sqlalchemy", "zarr")
    print(f"figures: {path.name}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())

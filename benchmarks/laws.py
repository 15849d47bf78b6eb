"""Every fitted law against the published or usual way: time and objective, one run, one table.

python benchmarks/laws.py [FOLDER]

FOLDER holds ``curves`` and ``tables`` of public data; by default ../shared/data beside the
checkout. Without it the fits run on simulated data of the same shape, where there are any. The
usual ways are described in ``laws_points``, ``laws_curves`` and ``laws_schedules``. Times are
processor time of one thread, so that other work on the machine counts little; our times hold the
intervals.
"""

from __future__ import annotations

import sys
from pathlib import Path

import laws_curves as curves
import laws_points as points
import laws_schedules as schedules
from comparison import table
from machine import ROOT, keep


def main() -> None:
    """Run every comparison, print the table and keep the figures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    rows = [
        *points.power(folder),
        points.chinchilla(folder),
        *curves.frontier(folder),
        points.isoflop(),
        *points.overtraining(folder),
        curves.power_sum(folder),
        *points.optimum(folder),
        *curves.surrogate(),
        *schedules.schedule_laws(folder),
        *schedules.noise(folder),
        *curves.recipes(),
    ]
    print(f"\n{table(rows)}")
    print(keep("laws", {"public_data": folder.is_dir(), "rows": rows}, "numpy", "scipy"))


if __name__ == "__main__":
    main()

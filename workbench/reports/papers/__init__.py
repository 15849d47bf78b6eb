"""The figures and tables of the two papers on loss-curve collapse, remade and judged.

One function a figure: data in, charts, tables and claims out. The registry lists every box of both
papers, with the reason where one is not remade. Importing this is cheap; what draws loads when a
figure is drawn.

Bergsma et al. 2025, arXiv:2509.25087, "Scaling with Collapse"; Qiu et al. 2025, arXiv:2507.02119,
"Scaling Collapse Reveals Universal Dynamics in Compute-Optimally Trained Neural Networks".
"""

from __future__ import annotations

from workbench.reports.papers.entry import PAPERS, Entry, Scale
from workbench.reports.papers.registry import ENTRIES, find_entry

__all__ = ["ENTRIES", "PAPERS", "Entry", "Scale", "find_entry"]

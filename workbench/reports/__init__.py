"""Reports: a shipped notebook run on a store, as one HTML page with a manifest.

Importing this is cheap; papermill, nbconvert and HoloViews load when a report is built.
"""

from __future__ import annotations

from workbench.reports.build import REPORTS, ReportName, ReportResult, build_report

__all__ = ["REPORTS", "ReportName", "ReportResult", "build_report"]

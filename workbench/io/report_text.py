"""What an import says when it is done."""

from __future__ import annotations

from workbench.io.missing import describe_missing
from workbench.io.result import MappingReport


def report_lines(report: MappingReport) -> list[str]:
    """Return an import's report as lines of text, without what was imported."""
    lines = [f"Skipped {row['source']}: {row['reason']}" for row in report.skipped]
    lines += [f"Kept under its own name: {', '.join(report.unmapped)}"] if report.unmapped else []
    lines += [f"Not known: {describe_missing(gap)}" for gap in report.missing]
    return [*lines, *report.notes]

"""Command line of the workbench."""

from __future__ import annotations

from workbench.cli import data_verbs, schedule_verb, science_verbs, serving_verbs
from workbench.cli.app import app, main, run

__all__ = ["app", "data_verbs", "main", "run", "schedule_verb", "science_verbs", "serving_verbs"]

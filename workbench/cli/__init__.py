"""Command line of the workbench."""

from __future__ import annotations

from workbench.cli import data_verbs, fit_verb, science_verbs, serving_verbs
from workbench.cli.app import app, main, run

__all__ = ["app", "data_verbs", "fit_verb", "main", "run", "science_verbs", "serving_verbs"]

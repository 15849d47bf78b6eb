"""Command line of the workbench."""

from __future__ import annotations

from workbench.cli import (
    data_verbs,
    fit_verb,
    monitor_verb,
    plan_verb,
    predict_verb,
    report_verb,
    schedule_verb,
    science_verbs,
    serving_verbs,
    stop_verb,
    train_verb,
)
from workbench.cli.app import app, main, run

__all__ = [
    "app",
    "data_verbs",
    "fit_verb",
    "main",
    "monitor_verb",
    "plan_verb",
    "predict_verb",
    "report_verb",
    "run",
    "schedule_verb",
    "science_verbs",
    "serving_verbs",
    "stop_verb",
    "train_verb",
]

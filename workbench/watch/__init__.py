"""Runs in progress: a family's reference curve, and an alarm when a run leaves it."""

from __future__ import annotations

from workbench.watch.alarms import Alarm, Annotation, MonitorReport, Onset
from workbench.watch.baselines import Baselines
from workbench.watch.monitor import Monitor
from workbench.watch.notify import Notifier
from workbench.watch.reference import Reference
from workbench.watch.replay import Feed, monitor_for, monitor_run
from workbench.watch.thresholds import Thresholds

__all__ = [
    "Alarm",
    "Annotation",
    "Baselines",
    "Feed",
    "Monitor",
    "MonitorReport",
    "Notifier",
    "Onset",
    "Reference",
    "Thresholds",
    "monitor_for",
    "monitor_run",
]

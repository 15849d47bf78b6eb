"""Do the curves of a family collapse? Normalisation, statistics, the verdict."""

from __future__ import annotations

from workbench.collapse.causes import Cause, Diagnosis
from workbench.collapse.diagnose import CurveModel, diagnose
from workbench.collapse.excess import Normalisation, comparison_sentence, two_normalisations
from workbench.collapse.groups import control_labels, largest_matched, replicate_cells, seed_cells
from workbench.collapse.normalize import normalize, normalize_as
from workbench.collapse.offset import Offset, OffsetEstimate, fit_offset, resolve_offset
from workbench.collapse.offset_scan import scan_offset
from workbench.collapse.quality import CollapseQuality, collapse_quality
from workbench.collapse.report import (
    TRAIN_SMOOTHING,
    WINDOW_START,
    CollapseReport,
    collapse_report,
)
from workbench.collapse.statistics import (
    crossing,
    deviation,
    excess_spread,
    noise_floor,
    residual,
    spread,
)
from workbench.collapse.verdict import Verdict

__all__ = [
    "TRAIN_SMOOTHING",
    "WINDOW_START",
    "Cause",
    "CollapseQuality",
    "CollapseReport",
    "CurveModel",
    "Diagnosis",
    "Normalisation",
    "Offset",
    "OffsetEstimate",
    "Verdict",
    "collapse_quality",
    "collapse_report",
    "comparison_sentence",
    "control_labels",
    "crossing",
    "deviation",
    "diagnose",
    "excess_spread",
    "fit_offset",
    "largest_matched",
    "noise_floor",
    "normalize",
    "normalize_as",
    "replicate_cells",
    "residual",
    "resolve_offset",
    "scan_offset",
    "seed_cells",
    "spread",
    "two_normalisations",
]

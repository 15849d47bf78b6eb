"""What a family of runs is: names, units, the ragged layout, validation, filters."""

from __future__ import annotations

from workbench.schema.check import check_version, conform, derive, validate
from workbench.schema.fields import (
    LOSSES,
    OPEN_STATUSES,
    RECORD_FIELDS,
    RUN_FIELDS,
    SCHEMA,
    STATUSES,
    VERSION,
    Field,
    LossName,
    canonical_record_name,
    canonical_run_name,
    field_attrs,
)
from workbench.schema.runs import (
    add_history,
    any_in_run,
    concat_runs,
    coordinate_names,
    iter_runs,
    make_runs,
    record_names,
    row_bounds,
    run_blocks,
    run_names,
    take_runs,
)
from workbench.schema.where import (
    Filter,
    matching,
    parse_filter,
    require_coordinate,
    select_runs,
)

__all__ = [
    "LOSSES",
    "OPEN_STATUSES",
    "RECORD_FIELDS",
    "RUN_FIELDS",
    "SCHEMA",
    "STATUSES",
    "VERSION",
    "Field",
    "Filter",
    "LossName",
    "add_history",
    "any_in_run",
    "canonical_record_name",
    "canonical_run_name",
    "check_version",
    "concat_runs",
    "conform",
    "coordinate_names",
    "derive",
    "field_attrs",
    "iter_runs",
    "make_runs",
    "matching",
    "parse_filter",
    "record_names",
    "require_coordinate",
    "row_bounds",
    "run_blocks",
    "run_names",
    "select_runs",
    "take_runs",
    "validate",
]

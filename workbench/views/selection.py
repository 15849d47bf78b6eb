"""The filters as text for the address of a page, and carried over to newer runs."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from workbench.errors import ArgumentError
from workbench.views.run_table import FILTERS, RunTable

Allowed = Mapping[str, tuple[str, ...]]
"""The labels each filter of `FILTERS` allows."""


def write_selection(allowed: Allowed, table: RunTable) -> str:
    """Write the filters that leave something out: ``tau~0.05|0.10;seed~0``, ``~`` for none."""
    partial = [
        f"{name}~{'|'.join(quote(text, safe=' ') for text in allowed[name])}"
        for name in FILTERS
        if set(allowed[name]) != set(table.choices[name])
    ]
    return ";".join(partial) or "~"


def read_selection(text: str, table: RunTable) -> dict[str, list[str]]:
    """Return the labels each filter allows by `text`; labels that do not exist are dropped.

    Raises
    ------
    ArgumentError
        If `text` is not what `write_selection` writes.
    """
    parts = [part.partition("~") for part in text.split(";")]
    partial = {name: set(map(unquote, labels.split("|"))) for name, _, labels in parts if name}
    if any(not tilde for _, tilde, _ in parts) or not set(partial) <= set(FILTERS):
        msg = (
            f"selection must read NAME~LABEL|LABEL;NAME~LABEL with names among "
            f"{', '.join(FILTERS)}, found {text!r}."
        )
        raise ArgumentError(msg)
    return {
        name: [c for c in table.choices[name] if c in partial.get(name, {c})] for name in FILTERS
    }


def carry_over(allowed: Allowed, before: RunTable, after: RunTable) -> dict[str, list[str]]:
    """Return the filters that keep the same runs of a newer table, where new runs may join.

    Labels may be written differently there (a finer distinction needs more digits), so the runs
    tell which labels are meant. A filter that left nothing out leaves nothing out afterwards.
    """
    rows = {str(name): i for i, name in enumerate(before.curves["run_id"].to_numpy())}
    values: dict[str, list[str]] = {}
    for name in FILTERS:
        everything = set(allowed[name]) >= set(before.choices[name])
        wanted = set()
        for run_id, label in zip(
            after.curves["run_id"].to_numpy(), after.labels[name], strict=True
        ):
            row = rows.get(str(run_id))
            if row is not None and before.labels[name][row] in allowed[name]:
                wanted.add(label)
        values[name] = [c for c in after.choices[name] if everything or c in wanted]
    return values

"""The table of runs under the plot, linked to it by selection."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models.widgets.tables import HTMLTemplateFormatter, NumberFormatter

from workbench.curves import final_loss
from workbench.schema import run_names
from workbench.views.format import axis_unit
from workbench.views.run_table import RunTable
from workbench.views.theme import TABLE_CSS

PAGE_SIZE = 8
_WHOLE_FROM = 10
_FORMATS = {
    "Size": "0.0",
    "Final loss": "0.0000",
    "Residual": "0.00%",
    "Tokens": "0.00",
    "τ": "0.000",
    "TPP": "0.[0]",
    "Seed": "0",
}


def table_frame(
    table: RunTable,
    kept: np.ndarray,
    residuals: Mapping[str, float],
    lost: frozenset[str] = frozenset(),
) -> pd.DataFrame:
    """Return one row per kept run, worst residual first.

    Parameters
    ----------
    table : RunTable
        The runs.
    kept : ndarray of bool, shape (run,)
        Which of them.
    residuals : mapping of run_id to float
        Largest relative distance to the mean curve; runs that were not compared have none.
    lost : frozenset of str
        Runs that say they are running and are not heard of any more.
    """
    rows = np.flatnonzero(kept)
    runs = table.runs.isel(run=rows)
    names = [name for name, keep in zip(run_names(table.runs), kept, strict=True) if keep]
    size, tokens, tpp = (runs[n].to_numpy() for n in ("model_size", "tokens_total", "tpp"))
    size_unit, size_name = _unit(size)
    token_unit, token_name = _unit(tokens)
    frame = pd.DataFrame(
        {
            "Run": names,
            f"Size{size_name}": size / size_unit,
            "Final loss": final_loss(table.curves).to_numpy()[rows],
            "Residual": [residuals.get(name, np.nan) for name in names],
            f"Tokens{token_name}": tokens / token_unit,
            "τ": runs["tau"].to_numpy(),
            "TPP": np.where(tpp < _WHOLE_FROM, tpp, np.round(tpp)),
            "Schedule": runs["schedule"].to_numpy().astype(str),
            "Seed": runs["seed"].to_numpy(),
            "Status": np.where(np.isin(names, list(lost)), "lost", runs["status"].astype(str)),
        }
    )
    empty = [c for c in frame.columns[4:] if frame[c].isna().all()]
    frame = frame.drop(columns=empty)
    return frame.sort_values("Residual", ascending=False, na_position="last", kind="stable")


def _unit(values: np.ndarray) -> tuple[float, str]:
    """Return one unit for a column of counts, as divisor and text for its header."""
    known = values[np.isfinite(values)]
    divisor, name = axis_unit("tokens", float(known.min()) if len(known) else 1.0)
    return divisor, f" [{name}]" if name else ""


def build_table() -> pn.widgets.Tabulator:
    """Return the empty table; its value is set when the numbers are there."""
    # Names come from outside: the cell template escapes them, a title shows what is cut off.
    name = HTMLTemplateFormatter(template='<span title="<%- value %>"><%- value %></span>')
    numbers = {
        column: NumberFormatter(format=form, nan_format="–")
        for base, form in _FORMATS.items()
        for column in (base, *(f"{base} [{unit}]" for unit in "kMBT"))
    }
    align = dict.fromkeys(numbers, "right")
    return pn.widgets.Tabulator(
        pd.DataFrame({"Run": []}),
        show_index=False,
        disabled=True,
        selectable=1,
        pagination="local",
        page_size=PAGE_SIZE,
        sizing_mode="stretch_width",
        layout="fit_columns",
        theme="simple",
        margin=0,
        formatters={"Run": name, **numbers},
        widths={"Run": "32%"},
        text_align=align,
        header_align=align,
        stylesheets=[TABLE_CSS],
        configuration={"columnDefaults": {"minWidth": 70}, "responsiveLayout": "hide"},
    )


def show_run(table: pn.widgets.Tabulator, run_id: str | None) -> None:
    """Select the row of a run and turn to its page; None clears the selection."""
    names = list(table.value["Run"])
    row = names.index(run_id) if run_id in names else None
    if row is not None:
        # The page first: a row on another page cannot be scrolled to.
        shown = list(table.current_view["Run"])
        table.page = shown.index(run_id) // PAGE_SIZE + 1
    if table.selection != ([] if row is None else [row]):
        table.selection = [] if row is None else [row]

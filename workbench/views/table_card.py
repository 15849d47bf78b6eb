"""The table of runs under the plot, linked to it by selection."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models.widgets.tables import HTMLTemplateFormatter, NumberFormatter

from workbench.curves import final_loss
from workbench.schema import run_names
from workbench.views.run_table import RunTable
from workbench.views.theme import TABLE_CSS

PAGE_SIZE = 8
_WHOLE_FROM = 10
_SIZES = "Size [M]"
_NUMBERS = (_SIZES, "Final loss", "Residual [%]", "Tokens [B]", "τ", "TPP", "Seed")
_FORMATS = {_SIZES: "0.0", "Final loss": "0.0000", "Residual [%]": "0.00",
            "Tokens [B]": "0.00", "τ": "0.000", "TPP": "0.[0]", "Seed": "0"}  # fmt: skip


def table_frame(table: RunTable, kept: np.ndarray, residuals: Mapping[str, float]) -> pd.DataFrame:
    """Return one row per kept run, worst residual first.

    Parameters
    ----------
    table : RunTable
        The runs.
    kept : ndarray of bool, shape (run,)
        Which of them.
    residuals : mapping of run_id to float
        Largest relative distance to the mean curve; runs that were not compared have none.
    """
    rows = np.flatnonzero(kept)
    runs = table.runs.isel(run=rows)
    names = [name for name, keep in zip(run_names(table.runs), kept, strict=True) if keep]
    size, tokens, tpp = (runs[n].to_numpy() for n in ("model_size", "tokens_total", "tpp"))
    frame = pd.DataFrame(
        {
            "Run": names,
            _SIZES: size / 1e6,
            "Final loss": final_loss(table.curves).to_numpy()[rows],
            "Residual [%]": [100 * residuals.get(name, np.nan) for name in names],
            "Tokens [B]": tokens / 1e9,
            "τ": runs["tau"].to_numpy(),
            "TPP": np.where(tpp < _WHOLE_FROM, tpp, np.round(tpp)),
            "Schedule": runs["schedule"].to_numpy().astype(str),
            "Seed": runs["seed"].to_numpy(),
            "Status": runs["status"].to_numpy().astype(str),
        }
    )
    empty = [c for c in ("τ", "TPP", "Tokens [B]", "Seed", _SIZES) if frame[c].isna().all()]
    frame = frame.drop(columns=empty)
    return frame.sort_values("Residual [%]", ascending=False, na_position="last", kind="stable")


def build_table() -> pn.widgets.Tabulator:
    """Return the empty table; its value is set when the numbers are there."""
    align = {name: "right" for name in _NUMBERS}
    # Names come from outside: the cell template escapes them, a title shows what is cut off.
    name = HTMLTemplateFormatter(template='<span title="<%- value %>"><%- value %></span>')
    numbers = {c: NumberFormatter(format=f, nan_format="–") for c, f in _FORMATS.items()}
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
        widths={"Run": 230},
        text_align=align,
        header_align=align,
        stylesheets=[TABLE_CSS],
        configuration={"columnDefaults": {"minWidth": 84}, "responsiveLayout": "hide"},
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

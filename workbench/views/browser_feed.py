"""What the script in the browser is given, each part sent only when it has changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bokeh.models import ColumnDataSource

from workbench.views.browser_columns import (
    browser_columns,
    colour_choices,
    colour_title,
    script_theme,
    x_axes,
)
from workbench.views.controls import LOSS_NAMES, Controls
from workbench.views.explorer_model import VIEWS, ExplorerModel
from workbench.views.offset_track import SNAP
from workbench.views.run_table import FILTERS


class BrowserFeed:
    """The sources the script of the Explorer reads.

    Parameters
    ----------
    model : ExplorerModel
        What is shown.
    controls : Controls
        Their choices and state.

    Attributes
    ----------
    runs, state, allowed, scene, settled : ColumnDataSource
        Curves; the controls' state; what the filters allow; what follows the data; what follows
        the selection.
    """

    def __init__(self, model: ExplorerModel, controls: Controls) -> None:
        self._model, self._controls = model, controls
        self._sent = model.table
        self.runs = ColumnDataSource(self._columns())
        self.state = ColumnDataSource(controls.state_columns())
        self.allowed = ColumnDataSource(dict(controls.allowed_columns()))
        self.scene = ColumnDataSource({"json": [self._scene_json()]})
        self.settled = ColumnDataSource({"json": [self._settled_json("")]})

    def sources(self) -> dict[str, ColumnDataSource]:
        """Return the sources by the names the script knows them by."""
        names = ("runs", "state", "allowed", "scene", "settled")
        return {name: getattr(self, name) for name in names}

    def send_table(self) -> None:
        """Send the curves and what follows them, if they are others than before."""
        if self._sent is not self._model.table:
            self._sent = self._model.table
            self.runs.data = self._columns()
            self.scene.data = {"json": [self._scene_json()]}

    def send_allowed(self) -> None:
        """Send what the filters allow, if it has changed."""
        allowed: Mapping[str, Any] = self._controls.allowed_columns()
        if self.allowed.data != allowed:
            self.allowed.data = dict(allowed)

    def send_settled(self, caveat: str) -> None:
        """Send the offset's track and the verdict's caveat, if they have changed."""
        text = self._settled_json(caveat)
        if self.settled.data["json"] != [text]:
            self.settled.data = {"json": [text]}

    def send_state(self, *, dark: bool) -> None:
        """Send the state of all controls, as a page starts with it."""
        self.state.data = dict(self._controls.state_columns() | {"dark": [dark]})
        self.allowed.data = dict(self._controls.allowed_columns())

    def _columns(self) -> dict[str, Any]:
        return browser_columns(self._model.table, colour_choices(self._model.table))

    def _settled_json(self, caveat: str) -> str:
        model, track = self._model, self._model.track
        content = {
            "track": {
                "lowest": track.lowest,
                "stretch": track.stretch,
                "snap": SNAP,
                "fitted": track.fitted,
                "value": None if track.estimate is None else track.estimate.value,
                "identified": track.identified,
            },
            "caveat": {"text": caveat, "position": model.position, "smoothing": model.smoothing},
        }
        return json.dumps(content)

    def _scene_json(self) -> str:
        model = self._model
        colours = colour_choices(model.table)
        content = {
            "filters": list(FILTERS),
            "views": list(VIEWS),
            "theme": script_theme(model.table, colours),
            "colourings": {name: {"title": colour_title(name)} for name in colours},
            "axes": x_axes(model.table),
            "values": {
                "x": dict(self._controls.x.options),
                "colour": dict(self._controls.colour.options),
            },
            "loss": model.loss,
            "loss_label": LOSS_NAMES[model.loss],
            "logged": int(model.table.runs.sizes["obs"]),
        }
        return json.dumps(content)

"""The controls of the What-if page, each linked to the page's script in the browser."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, CustomJS, CustomJSTickFormatter

from workbench.views.live_html import LiveHtml
from workbench.views.schedule_editor import ScheduleEditor
from workbench.views.shell import group
from workbench.views.theme import PILL_SX
from workbench.views.what_if_feed import STATE
from workbench.views.what_if_model import BY_HAND, UNDECAYED, WhatIfModel
from workbench.views.what_if_words import constants_html, mode_html

_WIDE = {"sizing_mode": "stretch_width"}
_FOCUS = {"& .Mui-focusVisible": {"outline": "2px solid var(--wb-accent)"}}
_COUNT = """
const n = +(10 ** tick).toPrecision(3), unit = n >= 1e12 ? [1e12, "T"] : n >= 1e9 ? [1e9, "B"]
  : n >= 1e6 ? [1e6, "M"] : n >= 1e3 ? [1e3, "k"] : [1, ""];
return `${+(n / unit[0]).toPrecision(3)}${unit[1]}`
"""
_NUMBER = "return String(+(10 ** tick).toPrecision(3))"
_SHARE = "return `${+(100 * tick).toFixed(1)} %`"
_LINK = """
const control = source.data && source.data[property] !== undefined ? source.data : source;
target.data[name] = [control[property]];
engine.execute(target);
"""

_FOLLOW = """
const control = source.data && source.data.value !== undefined ? source.data : source;
target.data.setv({ value: control.value }, { sync: false });
"""


class WhatIfControls:
    """Widgets over a `WhatIfModel`."""

    def __init__(self, model: WhatIfModel) -> None:
        self.model = model
        self._sliders = {
            "tau": self._slider("tau", "Timescale τ, share of the run", 0.01, _NUMBER),
            "horizon": self._slider("horizon", "Tokens per parameter", 0.01, _NUMBER),
            "size": self._slider("size", "Parameters N", 0.01, _COUNT),
            "warmup": self._slider("warmup", "Warm-up, share of the run", 0.005, _SHARE),
            "decay": self._slider("decay", "Decay, last share of the run", 0.01, _SHARE),
            "final": self._slider("final", "Rate at the end, share of the peak", 0.01, _SHARE),
            "start": self._slider("start", "Start over noise E[θ(0)²]/σ²", 0.02, _NUMBER),
            "floor": self._slider("floor", "Floor, share of the final loss", 0.001, _SHARE),
        }
        # Followed in the browser alone, so that the server never brings back a place left behind.
        self._twin = pmui.FloatSlider(
            value=model.tau, start=model.param.tau.bounds[0], end=model.param.tau.bounds[1],
            step=0.01, label="Timescale τ, share of the run", size="small", track=False,
            format=CustomJSTickFormatter(code=_NUMBER), sx=_FOCUS, **_WIDE,
        )  # fmt: skip
        field = {"size": "small", "description": "", **_WIDE}
        self._shape = pmui.Select.from_param(model.param.shape, label="Shape", **field)
        self._points = pmui.TextInput.from_param(
            model.param.points, label="Points, progress:rate in %", **field
        )
        self._family = pmui.Select.from_param(model.param.family, label="Family", **field)
        self._constants = pmui.Select.from_param(
            model.param.constants, label="Surrogate's constants", **field
        )
        self.view = pmui.RadioButtonGroup.from_param(
            model.param.view, description="", label="", options=list(model.param.view.objects),
            size="small", margin=0, sx={**PILL_SX, "& .MuiButtonBase-root": {"p": "3px 12px"}},
        )  # fmt: skip
        self._constants_text = LiveHtml(margin=(2, 10), **_WIDE)
        self._mode_text = LiveHtml(margin=(2, 10), **_WIDE)

    def _slider(self, name: str, label: str, step: float, code: str) -> pmui.FloatSlider:
        return pmui.FloatSlider.from_param(
            self.model.param[name], label=label, step=step, size="small", track=False,
            description="", format=CustomJSTickFormatter(code=code), sx=_FOCUS, **_WIDE,
        )  # fmt: skip

    def refresh(self) -> None:
        """Bring choices, texts and what is there to set in line with the model."""
        model = self.model
        self._family.options = list(model.param.family.objects)
        self._family.visible = len(model.param.family.objects) > 1
        self._constants.options = list(model.param.constants.objects)
        self._constants.visible = len(model.param.constants.objects) > 1
        self._constants_text.html = constants_html(model.data, model.constants)
        self._mode_text.html = mode_html(model.data)
        drawn = model.shape == BY_HAND
        self._points.visible = drawn
        self._sliders["warmup"].visible = not drawn
        for name in ("decay", "final"):
            self._sliders[name].visible = not drawn and model.shape not in UNDECAYED

    def link(self, engine: CustomJS, *, state: ColumnDataSource, editor: ScheduleEditor) -> None:
        """Make every control act in the browser, without a round trip."""
        widgets: dict[str, Any] = {
            **self._sliders, "shape": self._shape, "constants": self._constants, "view": self.view,
        }  # fmt: skip
        linked = [(name, widgets[name], "value") for name in STATE if name in widgets]
        for name, widget, prop in [*linked, ("points", editor, "text")]:
            code = f'const name = "{name}", property = "{prop}";{_LINK}'
            widget.jslink(state, code={prop: code}, args={"engine": engine})
        tau = self._sliders["tau"]
        tau.jslink(self._twin, code={"value": _FOLLOW})
        self._twin.jslink(tau, value="value")

    def twin(self) -> pn.Column:
        """Return the slider of τ that stands on the plot where the drawer is closed."""
        return pn.Column(
            self._twin,
            stylesheets=[":host{display:none}@media(max-width:900px){:host{display:flex}}"],
            **_WIDE,
        )

    def panel(self) -> pn.Column:
        """Return the controls in their four groups."""
        s = self._sliders
        return pn.Column(
            group("Run", s["tau"], s["horizon"], s["size"]),
            group("Learning rate", self._shape, s["warmup"], s["decay"], s["final"], self._points),
            group("Surrogate", self._family, self._constants, self._constants_text),
            group("Noisy quadratic", s["start"], s["floor"], self._mode_text),
            margin=0,
            **_WIDE,
        )

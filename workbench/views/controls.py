"""The controls of the Explorer, each linked to the page's script in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, CustomJS, CustomJSTickFormatter

from workbench.views import format as fmt
from workbench.views.browser_columns import AXIS_LABELS, colour_title
from workbench.views.explorer_model import LARGEST_SMOOTHING, ExplorerModel
from workbench.views.run_table import FILTERS
from workbench.views.theme import GROUP_CSS, PILL_SX, TEXT_CSS

FILTER_NAMES = {
    "family": "Family",
    "model_size": "Size",
    "tau": "τ",
    "tpp": "TPP",
    "schedule": "Schedule",
    "seed": "Seed",
}
LOSS_NAMES = {"eval_loss": "Eval loss", "train_loss": "Train loss"}
_ONE_ROW, _SHORT, _LONG = 6, 7, 10
_WIDE = {"sizing_mode": "stretch_width"}
# The model's docstrings are for programmers: without this they become tooltips of the widgets.
_PLAIN = {"description": ""}
_OFFSET: dict[str, Any] = {
    **_PLAIN,
    "label": "Offset",
    "start": 0,
    "end": 1,
    "step": 0.002,
    "size": "small",
    "track": False,
    "tooltips": False,
    "margin": (4, 14, 12, 14),
    **_WIDE,
}
_LINK = """
const control = source.data && source.data.value !== undefined ? source.data : source;
target.data[name] = [control.value];
engine.execute(target);
"""
# What a key asks of the controls, done in the browser: a round trip could undo a later move.
_OBEY = """
if (source.data.position.length) offset.data.value = source.data.position[0];
if (source.data.view.length) view.data.value = source.data.view[0];
"""
_FITTED = """
const { track } = JSON.parse(settled.data.json[0]);
if (track.fitted !== null) offset.data.value = track.fitted;
"""


def html(text: str = "", **options: Any) -> pn.pane.HTML:
    """Return a text pane in the page's type."""
    return pn.pane.HTML(text, stylesheets=[TEXT_CSS], **{"margin": 0, **_WIDE, **options})


def wrapping_row(*items: Any, gap: str = "0", **options: Any) -> pn.Column:
    """Return items side by side, on further lines where the page is narrow.

    A ``Row`` would demand the sum of its items' least widths, a ``FlexBox`` loses items in
    JupyterLab when their components load late.
    """
    styles = {"flex-direction": "row", "flex-wrap": "wrap", "gap": gap}
    styles |= options.pop("styles", {})
    return pn.Column(*items, styles=styles, **{"margin": 0, **_WIDE, **options})


class Controls:
    """Widgets over an `ExplorerModel`; options follow the data."""

    def __init__(self, model: ExplorerModel) -> None:
        self.model = model
        self._track_shown: tuple[str, dict[str, float | None]] | None = None
        self.offset = pmui.FloatSlider.from_param(model.param.position, **_OFFSET)
        # The twin follows the slider in the browser alone: told by the server too, it would bring
        # back a place that the reader has left meanwhile.
        self.offset_twin = pmui.FloatSlider(value=model.position, **_OFFSET)
        self.no_offset, self.fitted = _button("No offset"), _button("Fitted L₀")
        self.offset_text = html(margin=(0, 10, 6, 10))
        self.divide = pmui.Switch.from_param(
            model.param.divide, **_PLAIN, label="Divide by final loss"
        )
        self.x = pmui.Select.from_param(
            model.param.x, **_PLAIN, label="x-axis", size="small", **_WIDE
        )
        self.loss = pmui.Select.from_param(
            model.param.loss, **_PLAIN, label="Loss", size="small", **_WIDE
        )
        self.smoothing = pmui.FloatSlider.from_param(
            model.param.smoothing,
            **_PLAIN,
            label="Smoothing, share of the run",
            start=0,
            end=LARGEST_SMOOTHING,
            step=0.005,
            size="small",
            format="0.0 %",
            **_WIDE,
        )
        self.colour = pmui.Select.from_param(
            model.param.colour_by, **_PLAIN, label="Colour by", size="small", **_WIDE
        )
        self.group = pmui.Select.from_param(
            model.param.group, **_PLAIN, label="Matched group", size="small", **_WIDE
        )
        self.view = pmui.RadioButtonGroup.from_param(
            model.param.view,
            **_PLAIN,
            label="",
            options=list(model.param.view.objects),
            size="small",
            margin=0,
            sx={**PILL_SX, "& .MuiButtonBase-root": {"p": "3px 12px"}},
        )
        self.select_title = html(margin=(0, 10, 4, 10))
        self.filter_rows = {name: html(margin=(2, 10)) for name in FILTERS}
        self.filters = {name: self._pills(name) for name in FILTERS}
        self.refresh()

    # -- widgets ------------------------------------------------------------------------------

    def _pills(self, name: str) -> pmui.CheckButtonGroup:
        return pmui.CheckButtonGroup.from_param(
            self.model.param[name],
            **_PLAIN,
            label="",
            options=list(self.model.table.choices[name]),
            size="small",
            sx=_pill_grid(self.model.table.choices[name]),
            **_WIDE,
        )

    # -- what follows the data ----------------------------------------------------------------

    def refresh(self) -> None:
        """Bring options, marks and texts in line with the model."""
        model = self.model
        self.x.options = {AXIS_LABELS[x].split(",")[0]: x for x in model.param.x.objects}
        self.loss.options = {LOSS_NAMES[loss]: loss for loss in model.param.loss.objects}
        self.loss.visible = len(model.param.loss.objects) > 1
        self.colour.options = {colour_title(n): n for n in model.param.colour_by.objects}
        self.group.options = list(model.param.group.objects)
        self.group.visible = len(model.param.group.objects) > 3
        self.select_title.object = (
            f'<div class="group">Select · {model.kept.sum()} of {model.table.n_runs} runs</div>'
        )
        for name in FILTERS:
            self._refresh_filter(name)
        self._refresh_offset()

    def _refresh_filter(self, name: str) -> None:
        choices = self.model.table.choices[name]
        pills = self.filters[name]
        if list(pills.options) != list(choices):
            # The browser drops a value that its options lack, so the options go first.
            wanted = list(getattr(self.model, name))
            with self.model.silently():
                pills.value = []
                pills.param.update(options=list(choices), sx=_pill_grid(choices))
                pills.value = wanted
        several = len(choices) > 1
        pills.visible = several
        said = f"{len(choices)} values" if several else (choices[0] if choices else "–")
        if not several and name in ("tpp", "tau"):
            said = self._range_text(name) or said
        row = self.filter_rows[name]
        row.object = (
            f'<div class="row"><span class="muted">{FILTER_NAMES[name]}</span>'
            f"<b>{fmt.escape(said)}</b></div>"
        )
        row.visible = name != "family" or several

    def _range_text(self, name: str) -> str:
        values = self.model.table.runs[name].to_numpy()
        if not len(values) or not (values == values).any():
            return ""
        low, high = (fmt.value_text(name, float(v)) for v in (values.min(), values.max()))
        return low if low == high else f"{low} to {high}"

    def _refresh_offset(self) -> None:
        track, estimate = self.model.track, self.model.track.estimate
        self.fitted.disabled = estimate is None
        code = (
            "const fitted = P !== null && Math.abs(tick - P) <= S; "
            "const o = tick <= 0 ? 0 : fitted ? V : L * (1 - 10 ** (-K * tick)); "
            "return o.toFixed(3) + (fitted ? ' = fitted L\\u2080' : '') + ' nats'"
        )
        args = {
            "P": track.fitted,
            "S": 0.006,
            "V": None if estimate is None else estimate.value,
            "L": track.lowest,
            "K": track.stretch,
        }
        marks = [{"value": place, "label": text} for place, text in track.marks()]
        # A formatter is silent until the browser has compiled it: a new one only for a new track.
        if self._track_shown != (code, args):
            self._track_shown = (code, args)
            for slider in (self.offset, self.offset_twin):
                slider.format = CustomJSTickFormatter(code=code, args=args)
        for slider in (self.offset, self.offset_twin):
            slider.param.update(marks=marks, sx=self._rail())
        if estimate is None:
            text = f'<span class="small">{fmt.escape(self.model.fit_problem)}</span>'
        else:
            caution = "" if estimate.fit is None or estimate.fit.identified else "; not identified"
            text = (
                '<span class="small"><span class="good">▬</span> fitted '
                f"{fmt.loss(estimate.value)}, 95 %: {fmt.interval(estimate.lower, estimate.upper)} "
                f"nats/token{caution}</span>"
            )
        self.offset_text.object = text

    def _rail(self) -> dict[str, Any]:
        """Return the slider's style with the interval of L0 painted on its rail."""
        track, estimate = self.model.track, self.model.track.estimate
        rail: dict[str, Any] = {"height": "8px", "opacity": 1, "background": "var(--wb-line)"}
        if estimate is not None:
            low, high = (100 * track.position_of(v) for v in (estimate.lower, estimate.upper))
            stops = f"{low:.1f}%, var(--wb-good) {low:.1f}%, var(--wb-good) {high:.1f}%"
            rail["background"] = (
                f"linear-gradient(90deg, var(--wb-line) {stops}, var(--wb-line) {high:.1f}%)"
            )
        return {
            "& .MuiSlider-rail": rail,
            "& .MuiSlider-markLabel": {"fontSize": "12px"},
            "& .Mui-focusVisible": {"outline": "2px solid var(--wb-accent)"},
        }

    # -- links and layout ---------------------------------------------------------------------

    def state_columns(self) -> dict[str, list[Any]]:
        """Return the controls' values as the one-row table the script reads."""
        model = self.model
        names = ("position", "divide", "x", "view", "smoothing")
        columns: dict[str, list[Any]] = {name: [getattr(model, name)] for name in names}
        return columns | {"colour": [model.colour_by], "dark": [False]}

    def allowed_columns(self) -> dict[str, list[Any]]:
        """Return the allowed labels of every filter as the one-row table the script reads."""
        return {name: [list(getattr(self.model, name))] for name in FILTERS}

    def link(
        self,
        engine: CustomJS,
        *,
        state: ColumnDataSource,
        allowed: ColumnDataSource,
        settled: ColumnDataSource,
        commands: ColumnDataSource,
    ) -> None:
        """Make every control act in the browser, without a round trip."""
        linked = {
            "position": self.offset,
            "divide": self.divide,
            "x": self.x,
            "view": self.view,
            "smoothing": self.smoothing,
            "colour": self.colour,
        }
        pairs = [(state, *pair) for pair in linked.items()]
        pairs += [(allowed, *pair) for pair in self.filters.items()]
        for source, name, widget in pairs:
            code = f'const name = "{name}";{_LINK}'
            widget.jslink(source, code={"value": code}, args={"engine": engine})
        self.offset.jslink(self.offset_twin, value="value", bidirectional=True)
        self.no_offset.js_on_click(args={"offset": self.offset}, code="offset.data.value = 0")
        self.fitted.js_on_click(args={"offset": self.offset, "settled": settled}, code=_FITTED)
        obeying = {"offset": self.offset, "view": self.view}
        pn.links.Callback(commands, code={"data": _OBEY}, args=obeying)

    def place_twin(self) -> None:
        """Put the twin where the slider is; for a page that is about to be built."""
        self.offset_twin.value = self.model.position

    def panel(self) -> pn.Column:
        """Return the controls in their three groups."""
        filters = [w for name in FILTERS for w in (self.filter_rows[name], self.filters[name])]
        return pn.Column(
            _group(
                html('<div class="group">Normalise</div>', margin=(0, 10, 4, 10)),
                self.offset,
                self.offset_text,
                pn.Row(self.no_offset, self.fitted, margin=0, **_WIDE),
                self.divide,
                self.x,
                self.loss,
                self.smoothing,
            ),
            _group(self.select_title, self.group, *filters),
            _group(html('<div class="group">Colour</div>', margin=(0, 10, 4, 10)), self.colour),
            margin=0,
            **_WIDE,
        )


def _pill_grid(choices: Sequence[str]) -> dict[str, Any]:
    """Lay pills out in even columns: few in one row, many in a list that scrolls."""
    longest = max((len(text) for text in choices), default=1)
    wide = longest > _LONG
    columns = 2 if wide else len(choices) if 0 < len(choices) <= _ONE_ROW else 4
    columns = min(columns, 3) if longest > _SHORT else columns
    grid = {
        "display": "grid",
        "gridTemplateColumns": f"repeat({columns}, minmax(0, 1fr))",
        "gap": "4px",
    }
    return {**PILL_SX, **grid, "maxHeight": "170px", "overflowY": "auto"}


def _button(text: str) -> pmui.Button:
    return pmui.Button(
        label=text,
        size="small",
        variant="outlined",
        margin=(0, 10, 6, 10),
        sx={"textTransform": "none"},
        **_WIDE,
    )


def _group(*items: Any) -> pn.Column:
    return pn.Column(*items, margin=0, stylesheets=[GROUP_CSS], **_WIDE)

"""The learning rate over the run as a picture, with points that can be dragged or moved by keys."""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from workbench.views.drawn_schedule import EXAMPLE
from workbench.views.figures import script
from workbench.views.theme import FONT


class ScheduleEditor(JSComponent):
    """A drawing of a learning rate; `rates` and `editing` are set by the page's script.

    Parameters
    ----------
    text : str
        Its points, as `drawn_schedule.read_points` takes them.
    rates : str
        The rate of every step over its peak, apart by blanks: the line that is drawn.
    editing : bool
        Whether the points are there to be moved.
    """

    text = param.String(default=EXAMPLE)
    rates = param.String(default="")
    editing = param.Boolean(default=False)

    _esm = script(("schedules.js", "schedule_editor.js"))
    _stylesheets: ClassVar[list[str]] = [
        f"""
        :host{{display:block;width:100%}} svg{{display:block;max-width:100%;overflow:visible}}
        text{{font:12px {FONT};fill:var(--wb-muted);font-variant-numeric:tabular-nums}}
        .grid{{stroke:var(--wb-line)}}
        .rate{{fill:none;stroke:var(--wb-ink);stroke-width:2.2;stroke-linejoin:round}}
        svg.editing{{cursor:copy}} .handle{{cursor:grab;touch-action:none;outline:none}}
        .reach{{fill:transparent}}
        .dot{{fill:var(--wb-card);stroke:var(--wb-accent);stroke-width:2.4}}
        .handle:hover .dot{{fill:var(--wb-pick)}}
        .handle:focus-visible .reach{{stroke:var(--wb-accent);stroke-width:2}}
        .handle:focus .dot{{fill:var(--wb-accent)}}
        """
    ]

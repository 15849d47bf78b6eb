"""Cards of text: page states, the live badge, the header."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape

import numpy as np
import xarray as xr

from workbench.text import plural
from workbench.views.pages import NAVIGATION_CSS
from workbench.views.theme import FONT

HEADER_CSS = f"""
:host{{width:100%;padding-left:18px;box-sizing:border-box;font:14px {FONT};color:var(--wb-muted)}}
:host>div,.head{{display:flex;justify-content:space-between;align-items:center;gap:14px;width:100%}}
{NAVIGATION_CSS}
.where{{display:flex;gap:12px;align-items:center;white-space:nowrap}}
code{{font:13px ui-monospace,'Roboto Mono',monospace;color:var(--wb-ink)}}
.badge{{padding:3px 10px;border-radius:99px;font-size:12px;font-weight:600;
  color:var(--wb-muted);background:var(--wb-line)}}
.badge.live{{color:var(--wb-good);background:var(--wb-goodbg)}}
.badge em{{font-style:normal;font-weight:400}}
.badge i{{display:inline-block;width:8px;height:8px;border-radius:50%;background:currentColor;
  margin-right:6px}}
@media(max-width:1000px){{nav{{display:none}}}}
@media(max-width:760px){{code,.badge em{{display:none}}:host{{padding-left:8px}}}}
"""

STATE_CSS = """
.ways{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:12px;
  margin-top:12px}
.way{border:1px solid var(--wb-line);border-radius:12px;padding:14px 16px;min-width:0}
.way h3{font-size:14px;font-weight:600;margin:0 0 4px}
"""


def header_html(navigation: str, name: str, badge: str) -> str:
    """Return the header line: pages, store name and what stands beside it."""
    return (
        f'<div class="head">{navigation}'
        f'<div class="where"><code>{escape(name)}</code>{badge}</div></div>'
    )


def badge_html(counts: Mapping[str, int], *, live: bool, last_point: str) -> str:
    """Return how many runs there are in each state, and the time of the last point."""
    lost = f", {counts['lost']} lost: not heard of any more" if counts["lost"] else ""
    if live and counts["running"]:
        said = f" · {counts['done']} done, {counts['running']} running{lost}"
        said += f" · last point {escape(last_point)}" if last_point else ""
        return f'<span class="badge live"><i></i>Live<em>{said}</em></span>'
    other = f", {counts['other']} stopped or failed" if counts["other"] else ""
    running = f", {counts['running']} running" if counts["running"] else ""
    return f'<span class="badge">{counts["done"]} done<em>{running}{lost}{other}</em></span>'


def last_point_time(runs: xr.Dataset) -> str:
    """Return the wall time of the newest record as HH:MM:SS UTC, "" where none was logged."""
    if "wall_time" not in runs.variables or not runs.sizes["obs"]:
        return ""
    times = runs["wall_time"].to_numpy()
    known = times[np.isfinite(times)]
    if not len(known):
        return ""
    return f"{datetime.fromtimestamp(float(known.max()), UTC):%H:%M:%S} UTC"


def empty_html(store: str) -> str:
    """Return the card of a store without runs: three ways in."""
    at = escape(store)
    code = (
        f'with wb.Recorder("{at}", family="mine", total_steps=1000) as rec:\n'
        "    for step, loss in train():\n"
        "        rec.log(step, train_loss=loss)"
    )
    return (
        '<div class="state" role="status"><span class="tag no">Empty store</span>'
        "<h2>No runs yet</h2><p>Curves appear here by themselves as soon as there are any.</p>"
        '<div class="ways">'
        '<div class="way"><h3>Try the demo family</h3><p>A small family, trained in about a '
        "minute.</p><pre>workbench demo</pre></div>"
        '<div class="way"><h3>Import</h3><p>Curves of other tools, or your own files.</p>'
        f"<pre>workbench import LOGS --store {at}</pre></div>"
        '<div class="way"><h3>Record from your loop</h3><p>Three lines in any training loop.</p>'
        f"<pre>{code}</pre></div></div></div>"
    )


def undrawable_html(left_out: tuple[tuple[str, str], ...]) -> str:
    """Return the card of a store whose runs cannot be drawn yet, with the reasons."""
    rows = "".join(
        f"<li><code>{escape(name)}</code>: {escape(why)}</li>" for name, why in left_out[:5]
    )
    more = f"<li>{len(left_out) - 5} more</li>" if len(left_out) > 5 else ""
    return (
        '<div class="state" role="status"><span class="tag no">Nothing to draw yet</span>'
        f"<h2>{plural(len(left_out), 'run')} without a curve</h2>"
        "<p>A run is drawn once it has a loss and a planned length.</p>"
        f"<ul>{rows}{more}</ul></div>"
    )


def error_html(what: str, message: str) -> str:
    """Return the card that stands where something failed."""
    return (
        '<div class="state" role="alert"><span class="tag no">Error</span>'
        f"<h2>{escape(what)}</h2><p>{escape(message)}</p></div>"
    )


def nothing_html(last_filter: str, total: int) -> str:
    """Return what to do when no run matches."""
    named = f" The last filter was {escape(last_filter)}." if last_filter else ""
    return f'<p class="muted">None of {plural(total, "run")} matches the filters.{named}</p>'

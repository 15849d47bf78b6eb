"""Draw how far something is: a bar in a terminal, lines in a log file, HTML in a notebook.

The notebook's bar is plain HTML: it needs no widgets, and a saved notebook keeps how it ended.
"""

from __future__ import annotations

import sys
from html import escape
from typing import Any, Protocol

TICK_SECONDS = 0.5
LOG_SECONDS = 10.0


class Bar(Protocol):
    """Something that shows a share of work."""

    @property
    def seconds(self) -> float:
        """How often it wants to be drawn."""

    def draw(self, share: float, text: str) -> None:
        """Show a share in [0, 1] and what else there is to say."""

    def close(self) -> None:
        """Leave it as it is."""


def open_bar(title: str, *, show: bool) -> Bar:
    """Return the bar that suits where this process shows its output."""
    if not show:
        return NoBar()
    return NotebookBar(title) if in_notebook() else TerminalBar(title)


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


class NoBar:
    """Shows nothing."""

    seconds = TICK_SECONDS

    def draw(self, share: float, text: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class TerminalBar:
    """A line on stderr that is drawn over; in a log file a line every ten seconds."""

    def __init__(self, title: str) -> None:
        from tqdm import tqdm

        self.seconds = TICK_SECONDS if sys.stderr.isatty() else LOG_SECONDS
        self._bar = tqdm(
            total=100, desc=title, bar_format="{desc}: {percentage:3.0f} % |{bar}|{postfix}"
        )

    def draw(self, share: float, text: str) -> None:
        """Draw it over."""
        self._bar.n = round(100 * share)
        self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Go to the next line."""
        self._bar.close()


class NotebookBar:
    """HTML below the cell, replaced in place."""

    seconds = TICK_SECONDS

    def __init__(self, title: str) -> None:
        from IPython import display

        self._title = title
        show: Any = display.display
        self._handle = show(self._page(0.0, ""), raw=True, display_id=True)

    def draw(self, share: float, text: str) -> None:
        """Replace what is shown."""
        self._handle.update(self._page(share, text), raw=True)

    def close(self) -> None:
        """Nothing is to be done: the last state stays."""

    def _page(self, share: float, text: str) -> dict[str, Any]:
        said = f"{self._title}: {100 * share:.0f} %{f', {text}' if text else ''}"
        bar = f'<progress value="{share:.4f}" max="1" style="width: 20em"></progress>'
        return {"text/html": f"<label>{bar} {escape(said)}</label>", "text/plain": said}

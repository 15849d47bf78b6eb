"""Pages and the server that shows them. Importing this package imports Panel."""

from __future__ import annotations

from workbench.apps.pages import open_page, page_makers
from workbench.apps.serving import PORT, RunningServer, serve, start

__all__ = ["PORT", "RunningServer", "open_page", "page_makers", "serve", "start"]

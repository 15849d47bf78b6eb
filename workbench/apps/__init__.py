"""Pages and the server that shows them. Importing this package imports Panel."""

from __future__ import annotations

from workbench.apps.explorer import explorer_page
from workbench.apps.serving import PORT, RunningServer, serve, start

__all__ = ["PORT", "RunningServer", "explorer_page", "serve", "start"]

"""What people see: the Explorer, and figures as HoloViews elements."""

from __future__ import annotations

from workbench.views.data_page import DataPage
from workbench.views.explorer import Explorer
from workbench.views.notebook import notebook
from workbench.views.planner import Planner
from workbench.views.what_if import WhatIf

__all__ = ["DataPage", "Explorer", "Planner", "WhatIf", "notebook"]

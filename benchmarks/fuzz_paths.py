"""Let scripts of this folder import the helpers of the tests; to be imported before those."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

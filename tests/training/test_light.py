from __future__ import annotations

import subprocess
import sys


def test_planning_a_family_does_not_load_torch():
    code = (
        "import sys, workbench.training as t; t.plan_family(t.load_spec('quickstart'));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    broken = code.replace("import sys,", "import sys, torch,")
    assert subprocess.run([sys.executable, "-c", broken], check=False).returncode == 1

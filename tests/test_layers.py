"""The package is layered: nothing lower imports anything higher, and the import stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import workbench

ROOT = Path(workbench.__file__).parent
BASE = {"errors", "text", "schema"}
SCIENCE = ["recipes", "curves", "laws", "collapse", "forecast"]
ALLOWED: dict[str, set[str]] = {"errors": set(), "text": set(), "schema": {"errors", "text"}}
for position, room in enumerate(SCIENCE):
    ALLOWED[room] = BASE | set(SCIENCE[:position])
ALLOWED["store"] = ALLOWED["io"] = BASE | {"store", "io"}
ALLOWED["watch"] = BASE | set(SCIENCE) | {"store", "io"}
ALLOWED["callbacks"] = BASE | {"store", "io", "watch"}
ALLOWED["datasets"] = BASE
ALLOWED["training"] = BASE | {"recipes", "curves", "store"}
ALLOWED["accessor"] = BASE | set(SCIENCE)
ALLOWED["tree"] = BASE | set(SCIENCE) | {"store"}
BELOW_VIEWS = (
    BASE | set(SCIENCE) | {"watch", "store", "io", "datasets", "training", "tree", "accessor"}
)
ALLOWED["views"] = BELOW_VIEWS
ALLOWED["apps"] = ALLOWED["reports"] = BELOW_VIEWS | {"views"}
ALLOWED["cli"] = BELOW_VIEWS | {"views", "apps", "reports"}
ONLY_IN = {
    "torch": {"training"},
    "datasets": {"training"},
    "tokenizers": {"training"},
    "panel": {"views", "apps", "reports"},
    "holoviews": {"views", "apps", "reports"},
    "bokeh": {"views", "apps", "reports"},
    "panel_material_ui": {"views", "apps", "reports"},
    "sqlalchemy": {"store"},
    "psycopg": {"store"},
    "papermill": {"reports"},
    "transformers": {"callbacks"},
    "lightning": {"callbacks"},
    "pytorch_lightning": {"callbacks"},
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else path.stem


MODULES = [p for p in sorted(ROOT.rglob("*.py")) if room_of(p) not in ("__init__", "__main__")]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards_only(path):
    room = room_of(path)
    for name in imported(path):
        head, _, rest = name.partition(".")
        if head == "workbench" and rest:
            target = rest.split(".")[0]
            if target != "__version__":
                assert target in ALLOWED[room] | {room}, f"{room} must not import {name}"
        elif head in ONLY_IN:
            assert room in ONLY_IN[head], f"{room} must not import {head}"


def test_the_rule_can_fail(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("from workbench.views import Explorer\nimport torch\n")
    assert {"workbench.views", "torch"} <= imported(bad)
    assert "views" not in ALLOWED["curves"]


HEAVY = (
    "panel",
    "torch",
    "dask",
    "distributed",
    "numba",
    "matplotlib",
    "holoviews",
    "bokeh",
    "sqlalchemy",
    "psycopg",
    "icechunk",
    "transformers",
    "lightning",
)


@pytest.mark.parametrize(
    "statement",
    [
        "import workbench",
        "import workbench.schema, workbench.curves, workbench.laws, workbench.collapse",
        "import workbench.recipes",
        "import workbench.forecast",
        "import workbench.watch",
    ],
)
def test_import_pulls_in_nothing_heavy(statement):
    code = f"{statement}\nimport sys\nprint([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_package_import_leaves_even_xarray_for_later():
    code = "import workbench, sys; print('xarray' in sys.modules, 'pandas' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("order", ["workbench, xarray", "xarray, workbench"])
def test_accessor_is_there_in_either_order(order):
    code = f"import {order}; import xarray as xr; print(hasattr(xr.Dataset(), 'collapse'))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "True"


def test_every_public_name_loads():
    assert set(workbench.__all__) == {*workbench._HOME, "__version__"}
    for name in workbench.__all__:
        assert getattr(workbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = workbench.nothing


@pytest.mark.parametrize("room", ["laws", "collapse", "forecast"])
def test_every_fit_of_a_room_is_a_public_name(room):
    fits = {n for n in import_module(f"workbench.{room}").__all__ if n.startswith("fit_")}
    assert fits
    assert fits <= set(workbench.__all__)


def test_a_law_loads_no_more_than_the_science():
    code = (
        "import workbench, sys; workbench.fit_chinchilla, workbench.plan_run; "
        f"print([m for m in {HEAVY} if m in sys.modules], "
        "any(m.startswith(('workbench.store', 'workbench.views')) for m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[] False"

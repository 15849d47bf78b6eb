"""What an installed wheel carries, and what it needs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_carries_data_scripts_presets_and_notebooks(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "workbench"
    wanted = {
        f"workbench/{path.relative_to(package).as_posix()}"
        for suffix in ("py", "js", "toml", "css", "html", "txt")
        for path in package.rglob(f"*.{suffix}")
    }
    assert wanted <= names
    assert {"workbench/data/quickstart.nc", "workbench/py.typed"} <= names
    assert not any(name.startswith(("tests/", "reports/")) for name in names)


def test_base_install_imports_without_extras(wheel, tmp_path):
    """Only the base dependencies answer; importing any extra's library raises."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"panel", "bokeh", "holoviews", "torch", "papermill"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import workbench as wb
from workbench.datasets import load_quickstart
runs = load_quickstart()
store = wb.open_store("s", create=True)
store.add_runs(runs)
print(wb.__file__, wb.open("s")["runs"].sizes["run"], wb.collapse_report(store.runs(
    where=["schedule=linear", "tau>0.1"]), offset="zero").verdict.tag)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
    assert "47 No supercollapse" in done.stdout


def test_every_pinned_version_is_exact():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in line and "+" not in line for line in pins)
    names = {line.partition("==")[0].lower().replace("_", "-") for line in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = {
        text.split(">")[0].split("[")[0].strip().lower().replace("_", "-")
        for group in groups
        for text in group
    }
    assert asked - {"collapse-workbench"} <= names

"""The README tells the truth: its code runs, prints what it says, its commands and links exist."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from workbench.cli import app

README = Path(__file__).resolve().parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```(?:\n```\n(.*?)```)?", TEXT, flags=re.DOTALL)


def test_python_blocks_run_and_print_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code, said in PYTHON:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(README), "exec"), names)
        if said:
            assert out.getvalue() == said
    assert any(said for _, said in PYTHON)


def test_the_first_block_is_short():
    assert len(PYTHON[0][0].strip().splitlines()) <= 8


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"(?:^|`)workbench ([a-z]+)", TEXT, re.M))))
def test_named_verbs_exist(verb):
    assert verb in list(app)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))
def test_links_lead_somewhere(link):
    assert (README.parent / link).exists()

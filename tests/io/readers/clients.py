"""Stores written by the trackers' own clients, each in a process of its own."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import ArgumentError, DataError
from workbench.io import read


def run_client(code: str, *arguments: object, needs: tuple[str, ...], **environment: str) -> str:
    """Run a script of a client and return what it prints; skip where the client is missing."""
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: pip install collapse-workbench[dev]")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def contents(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def mutated(content: bytes, seed: int) -> bytes:
    """Return `content` with some bytes changed, a piece cut out, or cut short."""
    chance = random.Random(seed)
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 4, 32, 256))):
        # Half of the changes hit the first page, where every structure starts.
        end = len(changed) if chance.random() < 0.5 else min(len(changed), 4096)
        changed[chance.randrange(end)] = chance.randrange(256)
    if chance.random() < 0.2:
        start = chance.randrange(len(changed))
        del changed[start : start + chance.randrange(1, 5000)]
    return bytes(changed)


def outcome(path: Path, **options: str) -> str:
    """Read a damaged store: "read", or what the refusal says; anything else is an error."""
    try:
        read(path, **options)
    except (DataError, ArgumentError) as error:
        return str(error)
    return "read"

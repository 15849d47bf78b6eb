"""The config that a trainer leaves beside its log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.io.configs import take_config
from workbench.io.runlog import RunLog

_STEMS, _SUFFIXES = ("hparams", "config", "args"), (".json", ".yaml", ".yml")
_LARGEST = 1 << 18


def take_config_files(log: RunLog, folder: Path) -> None:
    """Put the settings of ``hparams``, ``config`` or ``args`` files of a folder into a run's log.

    Parameters
    ----------
    log : RunLog
        Receives run coordinates, and a note for each file; what it has already stays.
    folder : Path
        Where the log lies.
    """
    for path in (folder / (stem + suffix) for stem in _STEMS for suffix in _SUFFIXES):
        if not path.is_file():
            continue
        config = _load(path)
        if config is None:
            log.notes.append(f"{path} is no config that can be read: nothing was taken from it")
        else:
            take_config(log, config)
            log.notes.append(f"settings taken from {path}")


def _load(path: Path) -> dict[str, Any] | None:
    """Return the mapping a file holds; None when it holds none, or one that is not plain."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        content = path.read_text(encoding="utf-8-sig")
        config = json.loads(content) if path.suffix == ".json" else _plain_yaml(content)
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None


def _plain_yaml(content: str) -> Any:
    """Return what YAML says; `ValueError` for aliases, which can stand for any amount of text."""
    import yaml

    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(content)):
            msg = "an alias"
            raise ValueError(msg)
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error

"""YAML as plain values: mappings, lists, numbers and text. Tags are never followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.io.json_text import as_number

LARGEST_FILE = 1 << 18


class UnreadableYamlError(ValueError):
    """The file is not YAML of plain values; the text says why."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a small YAML mapping; a tag such as ``!!python/tuple`` is ignored, its value kept.

    Raises
    ------
    UnreadableYamlError
        If it is too large, not YAML, no mapping, or uses references to other parts of itself,
        which can be made to unfold without end.
    """
    import yaml

    if path.stat().st_size > LARGEST_FILE:
        msg = f"it has more than {LARGEST_FILE} bytes"
        raise UnreadableYamlError(msg)
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            msg = "it refers to other parts of itself (&, *)"
            raise UnreadableYamlError(msg)
        # The base loader makes text of every scalar and knows no constructor a tag could name.
        # A bad escape ends in a ValueError or OverflowError.
        document = _plain(yaml.load(text, Loader=yaml.BaseLoader))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        msg = " ".join(str(error).split())[:200]
        raise UnreadableYamlError(msg) from error
    if not isinstance(document, dict):
        msg = "it is no mapping"
        raise UnreadableYamlError(msg)
    return document


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if node in ("", "~", "null", "Null", "NULL"):
        return None
    if node in ("true", "True", "false", "False"):
        return node in ("true", "True")
    if isinstance(node, str) and node.isdigit() and len(node) <= 18:
        return json.loads(node.lstrip("0") or "0")
    number = as_number(node)
    return node if number is None else number

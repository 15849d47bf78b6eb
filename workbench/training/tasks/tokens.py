"""Text as tokens: bytes unless a tokenizer file is given.

A tokenizer is the ``tokenizer.json`` that Hugging Face's libraries write: data, no code.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError, DataError

BYTES = 256
# Characters that are encoded at a time, cut at the end of a line.
_PART = 1 << 20


@lru_cache(maxsize=8)
def vocab_size(tokenizer: str | None) -> int:
    """Return how many tokens there are: 256 bytes, or those of a tokenizer file.

    Raises
    ------
    ArgumentError
        If the file is not there or is no tokenizer.
    """
    if tokenizer is None:
        return BYTES
    try:
        content = json.loads(Path(tokenizer).read_text("utf-8"))
        found = content["model"]["vocab"]
        # Unigram models list pairs of token and score, all others name a number for each token.
        ids = list(found.values()) if isinstance(found, dict) else list(range(len(found)))
        ids += [token["id"] for token in content.get("added_tokens") or []]
        return max(map(int, ids)) + 1
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        msg = (
            f"tokenizer {tokenizer!r} in [task] is not a readable tokenizer.json: {error!r}. Name "
            "such a file, or leave it out to train on bytes."
        )
        raise ArgumentError(msg) from error


def as_tokens(text: NDArray[np.uint8], tokenizer: str | None) -> NDArray[Any]:
    """Return the tokens of a text, in the smallest type that holds them.

    Raises
    ------
    DataError
        If a tokenizer is given and its library is not installed.
    """
    if tokenizer is None:
        return text
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        msg = (
            "A tokenizer needs the library tokenizers, which is not installed: "
            "pip install 'collapse-workbench[text]'"
        )
        raise DataError(msg) from error
    kind = np.uint16 if vocab_size(tokenizer) <= 1 << 16 else np.uint32
    encoder = Tokenizer.from_file(tokenizer)
    parts = [
        np.array(encoder.encode(part, add_special_tokens=False).ids, kind)
        for part in _parts(bytes(text).decode("utf-8", errors="replace"))
    ]
    return np.concatenate([*parts, np.empty(0, kind)])


def _parts(text: str) -> list[str]:
    parts: list[str] = []
    start = 0
    while start < len(text):
        end = text.find("\n", start + _PART) + 1 or len(text)
        parts.append(text[start:end])
        start = end
    return parts

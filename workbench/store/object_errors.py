"""What the object store said, as one sentence: no trace, and no credentials."""

from __future__ import annotations

import os
import re

_MARGIN = re.compile(r"^\s*(x |[|`]->|\|)?\s*")
_SECRET_LENGTH = 8
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")


def is_object_store_error(error: BaseException) -> bool:
    """Tell whether Icechunk raised this, without importing it."""
    return type(error).__module__.partition(".")[0] == "icechunk"


def said(error: BaseException) -> str:
    """Return the outcome and the innermost cause of an Icechunk error, without credentials.

    Its text is a report of many lines: the outcome first, where it happened, then the causes, the
    innermost one last.
    """
    lines = [_MARGIN.sub("", line).strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line]
    parts = [*kept[:1], *kept[-1:]]
    text = ": ".join(dict.fromkeys(parts)) or type(error).__name__
    for name in _SECRETS:
        secret = os.environ.get(name, "")
        text = text.replace(secret, "***") if len(secret) >= _SECRET_LENGTH else text
    return text.rstrip(".")


def unreadable(place: str, error: BaseException) -> str:
    """Return the message for curves that could not be read from an object store."""
    return (
        f"The consolidated curves {place} cannot be read: {said(error)}. If the object store did "
        "not answer, try again when it does; if an object is gone, restore it from a copy, or "
        "read an earlier generation with at=."
    )

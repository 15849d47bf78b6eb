"""What differs between two builds of the papers, box by box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.text import plural

Boxes = Mapping[str, Mapping[str, Any]]


def changes_since(before: Boxes, now: Boxes) -> tuple[str, ...]:
    """Return one sentence a box that differs from the build before.

    Parameters
    ----------
    before, now : mapping of str to mapping
        The boxes of two manifests, by name.
    """
    if not before:
        return ("Everything: there was no build before.",)
    gone = [f"{name}: no longer part of the report." for name in before if name not in now]
    changed = [
        f"{name}: {said}."
        for name, part in now.items()
        if (said := _said(before.get(name), part)) is not None
    ]
    return (*changed, *gone)


def _said(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str | None:
    if before is None:
        return f"new, {now['status']}"
    if before["status"] != now["status"]:
        return f"was {before['status']}, now {now['status']}"
    if before.get("key") == now.get("key"):
        return None
    old, new = _claims(before), _claims(now)
    turned = [
        f"{text!r} was {old[text][1]}, now {status}"
        for text, (_, status) in new.items()
        if text in old and old[text][1] != status
    ]
    moved = sum(text in old and old[text][0] != found for text, (found, _) in new.items())
    because = [
        label
        for label, key in (("parameters", "parameters"), ("data", "data"))
        if before.get(key) != now.get(key)
    ]
    why = " and ".join(because) or "code or versions"
    numbers = f"{plural(moved, 'number')} moved" if moved else "same numbers"
    return "; ".join([f"made again for other {why}", *turned, numbers])


def _claims(part: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["text"]: (c["found"], c["status"]) for c in part.get("claims", ())}

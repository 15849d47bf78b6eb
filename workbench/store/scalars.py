"""Logged values: plain numbers at once, values on an accelerator without waiting for it.

Reading a tensor on a GPU waits until everything queued before it has run, which would stall a
training loop at every step. Such a value is copied on its device instead, so that what the loop
does to the tensor afterwards does not change what was logged, and read when the recorder writes:
then in one transfer for all of them, after no more than the work queued before the last copy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

Point = tuple[int, dict[str, Any]]


class Held:
    """A copy of a one-element tensor, still on its device, and the event that says it is made."""

    __slots__ = ("event", "tensor")

    def __init__(self, tensor: Any, event: Any) -> None:
        self.tensor = tensor
        self.event = event


def hold(value: Any) -> float | Held:
    """Return a value as a float, or as a `Held` copy where it lies on an accelerator.

    Parameters
    ----------
    value : number
        Anything ``float`` takes; a tensor of one element, with or without gradient.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If the value is not one number.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _hold(torch, value)
    return float(value)


def _hold(torch: Any, value: Any) -> float | Held:
    if value.numel() != 1 or value.is_complex():
        msg = f"a {value.dtype} tensor of {value.numel()} elements is not one number"
        raise ValueError(msg)
    value = value.detach()
    if _is_at_hand(value):
        return float(value.item())
    copy = value.reshape(()).clone()
    event = torch.cuda.current_stream(copy.device).record_event() if copy.is_cuda else None
    return Held(copy, event)


def _is_at_hand(tensor: Any) -> bool:
    """Tell whether reading the tensor waits for nothing."""
    return bool(tensor.device.type == "cpu")


def release(points: Iterable[Point]) -> int:
    """Turn the held values of points into floats, in place.

    Parameters
    ----------
    points : iterable of (step, values)
        As buffered; a value that its device no longer gives is removed.

    Returns
    -------
    int
        Number of values removed.
    """
    groups: dict[tuple[Any, Any], list[tuple[dict[str, Any], str]]] = {}
    for _, values in points:
        for name, value in values.items():
            if isinstance(value, Held):
                key = (value.tensor.device, value.tensor.dtype)
                groups.setdefault(key, []).append((values, name))
    lost = 0
    for places in groups.values():
        numbers = _read([values[name] for values, name in places])
        for i, (values, name) in enumerate(places):
            if numbers is None:
                del values[name]
                lost += 1
            else:
                values[name] = numbers[i]
    return lost


def _read(held: list[Held]) -> list[float] | None:
    torch = sys.modules["torch"]
    tensors = [each.tensor for each in held]
    try:
        if held[0].event is None:
            return [float(number) for number in torch.stack(tensors).tolist()]
        # A stream of its own waits for the copies, not for what the loop has queued since.
        with torch.cuda.stream(torch.cuda.Stream(tensors[0].device)):
            for each in held:
                each.event.wait()
            return [float(number) for number in torch.stack(tensors).tolist()]
    except RuntimeError:  # the device has failed: whatever was on it is gone
        return None

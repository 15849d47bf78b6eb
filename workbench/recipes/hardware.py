"""How long a training takes on known accelerators: peak rates from the makers' data sheets."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import ArgumentError

_SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class Accelerator:
    """A device to train on.

    Parameters
    ----------
    name : str
        What it is called.
    peak : float, FLOP/s
        Dense bfloat16 rate of its data sheet.
    """

    name: str
    peak: float


ACCELERATORS: dict[str, Accelerator] = {
    one.name: one
    for one in (
        Accelerator("H100 SXM", 989e12),
        Accelerator("H200", 989e12),
        Accelerator("A100", 312e12),
        Accelerator("L40S", 362e12),
        Accelerator("TPU v5p", 459e12),
        Accelerator("TPU v5e", 197e12),
    )
}


def training_days(flops: float, *, accelerator: str, count: int, utilisation: float) -> float:
    """Return the days a training takes.

    Parameters
    ----------
    flops : float, FLOP
        Training compute.
    accelerator : str
        One of `ACCELERATORS`.
    count : int
        Devices.
    utilisation : float
        Share of the peak rate that model FLOP reach (MFU), in (0, 1].

    Raises
    ------
    ArgumentError
        If the accelerator is unknown or a number is out of range.
    """
    if accelerator not in ACCELERATORS:
        msg = f"accelerator must be one of {', '.join(ACCELERATORS)}, found {accelerator!r}."
        raise ArgumentError(msg)
    if count < 1:
        msg = f"count must be at least 1 device, found {count!r}."
        raise ArgumentError(msg)
    if not 0 < utilisation <= 1:
        msg = f"utilisation must be in (0, 1], found {utilisation!r}. 0.4 is usual."
        raise ArgumentError(msg)
    rate = ACCELERATORS[accelerator].peak * count * utilisation
    return flops / rate / _SECONDS_PER_DAY

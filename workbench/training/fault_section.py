"""The [[fault]] tables of a family spec: what may go wrong, when, and how badly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from workbench.training.sections import Count, Fraction, Name, Positive, Section

NO_FAULT = "none"
FaultKind = Literal[
    "loss_bias",
    "learning_rate_glitch",
    "duplicated_data",
    "gradient_scale",
    "optimizer_reset",
    "corrupted_shard",
    "label_shift",
    "nan",
    "slow_drift",
]


@dataclass(frozen=True)
class FaultRule:
    """What a kind of fault takes.

    Parameters
    ----------
    meaning : str
        What happens, and what `size` measures.
    size : float or None
        Default size; None for a kind that has none.
    lasts : float or None
        Share of the run it lasts unless `until` is given; None lasts to the end, 0 happens once.
    """

    meaning: str
    size: float | None
    lasts: float | None


FAULT_RULES: dict[FaultKind, FaultRule] = {
    "loss_bias": FaultRule(
        "the loss kernel's gradient is off by size times its norm in one fixed direction, in runs "
        "whose batch has `sequences` sequences (all runs when that is not given)",
        0.3,
        None,
    ),
    "learning_rate_glitch": FaultRule("the learning rate is multiplied by size", 10.0, 0.01),
    "duplicated_data": FaultRule(
        "the data of the last share `size` of the run come again and again", 0.02, None
    ),
    "gradient_scale": FaultRule(
        "gradients are multiplied by size, as by a wrong count of accumulated batches; without "
        "clipping, Adam notices only until its moments have followed",
        8.0,
        None,
    ),
    "optimizer_reset": FaultRule("a restart forgets the moments of the optimiser", None, 0.0),
    "corrupted_shard": FaultRule(
        "in a share `size` of the sequences, targets do not belong to the inputs", 0.5, 0.05
    ),
    "label_shift": FaultRule("targets stand `size` places too late", 1.0, None),
    "nan": FaultRule("loss and gradient of one step are not a number", None, 0.0),
    "slow_drift": FaultRule(
        "a share of targets that grows from zero to size does not belong to the inputs", 0.1, None
    ),
}


class Fault(Section):
    """Something that goes wrong in the runs of the groups that name it.

    It starts at progress `at` and ends at `until`; what happens once happens at `at`. How long it
    lasts and how large `size` is unless given, and what `size` means, depends on the kind: see
    `FAULT_RULES`.
    """

    name: Name
    kind: FaultKind
    at: Annotated[float, Field(ge=0, lt=1)]
    until: Fraction | None = None
    size: Positive | None = None
    sequences: Count | None = None

    @model_validator(mode="after")
    def _takes_what_is_given(self) -> Fault:
        rule = FAULT_RULES[self.kind]
        wrong = [
            (self.size is not None and rule.size is None, "size"),
            (self.until is not None and rule.lasts == 0, "until"),
            (self.sequences is not None and self.kind != "loss_bias", "sequences"),
        ]
        for found, key in wrong:
            if found:
                msg = f"fault {self.name!r} of kind {self.kind!r} takes no {key}: leave it out"
                raise ValueError(msg)
        if self.until is not None and self.until <= self.at:
            msg = f"fault {self.name!r} ends at {self.until:g}, not after its start {self.at:g}"
            raise ValueError(msg)
        share = self.kind in ("corrupted_shard", "slow_drift", "duplicated_data")
        if share and self.amount is not None and self.amount > 1:
            msg = f"fault {self.name!r}: size is a share of at most 1, found {self.amount:g}"
            raise ValueError(msg)
        return self

    @property
    def amount(self) -> float | None:
        """Size that holds."""
        return FAULT_RULES[self.kind].size if self.size is None else self.size

    @property
    def end(self) -> float:
        """Progress at which it ends; `at` itself for what happens once."""
        if self.until is not None:
            return self.until
        lasts = FAULT_RULES[self.kind].lasts
        return 1.0 if lasts is None else min(1.0, self.at + lasts)

    def steps(self, total_steps: int) -> tuple[int, int]:
        """Return the first and the last update it acts on, counted from 1."""
        first = min(int(self.at * total_steps + 1e-9) + 1, total_steps)
        return first, max(first, round(self.end * total_steps))

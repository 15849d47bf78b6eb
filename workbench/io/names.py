"""What the names of logged values mean: which is the step, which the loss, in any tool's spelling.

The schema knows the plain aliases. Tools put them under prefixes (``metrics/val/loss``,
``train_lr``), and log several counters of which only one is the optimiser step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from workbench.io.runlog import RunLog
from workbench.schema import RECORD_FIELDS, canonical_record_name

# The tracker's own counter of log calls, _step, comes last: it is the step only if nothing else is.
STEP_NAMES = (
    "trainer/global_step",
    "train/global_step",
    "global_step",
    "optimizer_step",
    "iter",
    "iteration",
    "step",
    "train/step",
    "train/iter",
    "train_step",
    "num_updates",
    "update_step",
    "_step",
)
_PREFIXES = ("metrics", "metric", "training", "logs", "log", "history", "experiment")
_HELD_OUT = {"val", "valid", "validation", "eval", "evaluation", "test", "dev", "heldout"}
_TRAINING = {"train", "training"}
# Words that leave a name the plain loss; others ("aux", "z", "ema", "final") make it another.
_PLAIN = {
    "loss",
    "avg",
    "average",
    "mean",
    "tokens",
    "token",
    "ce",
    "cross",
    "entropy",
    "lm",
    "nll",
}
_FINAL = re.compile(r"(^|/)final[-_ /]", re.IGNORECASE)


def step_name(names: Iterable[str]) -> str | None:
    """Return which of `names` counts optimiser steps, or None."""
    given: dict[str, str] = {}
    for name in names:
        given.setdefault(name.strip().casefold(), name)
    return next((given[name] for name in STEP_NAMES if name in given), None)


def metric_name(given: str) -> str | None:
    """Return the schema's name of a logged value, or None when it has none."""
    for reading in _readings(given):
        name = canonical_record_name(reading)
        if name in RECORD_FIELDS:
            return name
    return None


def _readings(given: str) -> Iterator[str]:
    path = given.strip().replace(".", "/").replace(" - ", "/")
    yield given
    while path:
        yield path
        yield path.replace("/", "_")
        if path.startswith("train_"):
            yield path.replace("_", "/", 1)
        head, _, path = path.partition("/")
        if head.casefold() not in _PREFIXES:
            return


def is_final(name: str) -> bool:
    """Tell whether a value is one of a last, full evaluation: on another scale, never mixed in."""
    return _FINAL.search(name.replace(".", "/")) is not None


def keep_final_apart(log: RunLog) -> None:
    """Turn columns such as ``final-val/loss`` into settings of the run, ``final_val_loss``."""
    for column in log.columns:
        if is_final(column):
            name = re.sub(r"[^\w]+", "_", column)
            log.settings.setdefault(name, log.last_of(column))
            log.notes.append(
                f"{column!r} is a last evaluation on another scale than the periodic one; kept "
                f"apart as {name!r}"
            )
            log.drop(column)


def name_columns(log: RunLog) -> None:
    """Give the columns of a run the schema's names where their own can only mean that.

    A loss that no alias names, such as ``test-tokens/avg_loss``, is taken when it is the only one
    of its kind; the notes say so.
    """
    taken = {canonical_record_name(column) for column in log.columns}
    for column in sorted(log.columns, key=lambda column: "test" in column.casefold()):
        name = metric_name(column)
        if name is not None and name not in taken and name != "step":
            log.rename(column, name)
            taken.add(name)
    for loss in ("train_loss", "eval_loss"):
        meant = [column for column in log.columns if _loss_meant(column) == loss]
        if loss in taken or not meant:
            continue
        if len(meant) > 1:
            names = ", ".join(repr(name) for name in meant[:4])
            log.notes.append(f"{names} may each be the {loss}; all kept under their own names")
            continue
        log.rename(meant[0], loss)
        log.notes.append(f"{meant[0]!r} taken as {loss}")


def _loss_meant(name: str) -> str | None:
    words = set(re.split(r"[^a-z0-9]+", name.casefold())) - {"", *_PREFIXES}
    if "loss" not in words:
        return None
    if words & _HELD_OUT and words <= _PLAIN | _HELD_OUT:
        return "eval_loss"
    return "train_loss" if words <= _PLAIN | _TRAINING else None

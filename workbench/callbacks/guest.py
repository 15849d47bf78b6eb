"""A recorder that is a guest in another program's training loop: it warns, and never ends it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

from workbench.errors import CollapseWarning, DataError
from workbench.io.configs import take_config
from workbench.io.runlog import RunLog
from workbench.schema import RECORD_FIELDS, RUN_FIELDS, canonical_record_name, canonical_run_name
from workbench.store import EndStatus, Recorder, Store

_TAKEN = ("run_id", "family", "status", "row_size", "run", "obs")
_ARGUMENTS = ("store", "rank")  # of a Recorder; a rank among hyper-parameters is that of LoRA


class Guest:
    """Opens, feeds and closes the recorder of one training after another.

    Parameters
    ----------
    store : path or Store
        Where to.
    family : str
        Of the runs.
    hyperparameters : mapping of str to number or text
        Stated by the user; they win over those found.
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | Store,
        *,
        family: str,
        hyperparameters: Mapping[str, Any],
    ) -> None:
        self.store, self.family = store, family
        self.hyperparameters = dict(hyperparameters)
        self.recorder: Recorder | None = None
        self._said: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether a run is being recorded by this process."""
        return self.recorder is not None and self.recorder.recording

    def open(self, run_id: str | None, found: Mapping[str, Any]) -> Recorder:
        """Start recording; errors of the store are raised: the training has not begun yet."""
        own = {_settable(name): value for name, value in self.hyperparameters.items()}
        self.recorder = Recorder(
            self.store, family=self.family, run_id=run_id, rank=0, **(attributes(found) | own)
        )
        return self.recorder

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Log what can be: numbers, under names that are no run coordinate."""
        if not self.is_open:
            self.say_once(
                f"{', '.join(map(str, metrics))}: logged outside of a training, so not recorded. "
                "Evaluate within it, at an interval that ends on its last step."
            )
            return
        assert self.recorder is not None
        values = columns(metrics)
        if values:
            self.recorder.log(step, **values)

    def flush(self) -> None:
        """Write what is buffered; where that fails the next `log` says so."""
        if self.recorder is not None and self.is_open:
            try:
                self.recorder.flush()
            except DataError:
                return

    def close(self, status: EndStatus) -> None:
        """End the run; what could not be written is said, not raised."""
        if self.recorder is not None and self.is_open:
            try:
                self.recorder.close(status)
            except DataError as error:
                warnings.warn(str(error), CollapseWarning, stacklevel=2)

    def say_once(self, text: str) -> None:
        """Warn, unless this has been said."""
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, CollapseWarning, stacklevel=3)


def columns(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among metrics, each under a name that can be logged."""
    values: dict[str, float] = {}
    for given in sorted(metrics, key=lambda name: name not in RECORD_FIELDS):
        try:
            value = float(metrics[given])
        except (TypeError, ValueError, OverflowError):
            continue
        name = canonical_record_name(str(given))
        if name == "step":
            continue
        if name in RUN_FIELDS or name in _TAKEN or name in values:
            name = f"logged_{given}"
        values[name] = value
    return values


def attributes(found: Mapping[str, Any]) -> dict[str, float | str]:
    """Return what was found of a training as hyper-parameters that the store takes."""
    out: dict[str, float | str] = {}
    for given, value in found.items():
        name = _settable(given)
        field = RUN_FIELDS.get(name)
        if name in RECORD_FIELDS or name in _TAKEN:
            name = f"config_{given}"
        if isinstance(value, str):
            if field is None or field.kind == "text":
                out[name] = value
        elif isinstance(value, int | float) and abs(value) < float("inf"):  # False for NaN
            out[name] = float(value)
    return out


def _settable(given: str) -> str:
    name = canonical_run_name(given)
    return f"config_{name}" if name in _ARGUMENTS else name


def meanings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trainer's config means in the schema, and the rest under its own names."""
    log = RunLog("config", source="the config")
    take_config(log, config)
    return log.settings


def weight_count(model: Any) -> int:
    """Return the parameters of a torch module, whole where DeepSpeed holds a part of each."""
    return sum(int(getattr(p, "ds_numel", p.numel())) for p in model.parameters())


def of_optimizer(optimizer: Any) -> dict[str, float]:
    """Return the peak learning rate and weight decay of a torch optimiser's groups."""
    groups = getattr(optimizer, "param_groups", None) or [{}]
    rates = [g.get("initial_lr", g.get("lr")) for g in groups]
    decays = [g.get("weight_decay") for g in groups]
    found = {"peak_lr": rates, "weight_decay": decays}
    return {n: max(float(v) for v in own) for n, own in found.items() if None not in own}

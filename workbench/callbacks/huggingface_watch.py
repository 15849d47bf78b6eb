"""Watch a transformers ``Trainer``; imported only by ``workbench.callbacks.HFWatch``."""

from __future__ import annotations

import os
import warnings
from typing import Any

from transformers import TrainerCallback

from workbench.callbacks.guest import weight_count
from workbench.errors import CollapseWarning
from workbench.watch import Monitor, Notifier, Reference

_LOGGED = {"train_loss": "loss", "eval_loss": "eval_loss"}


class HFWatch(TrainerCallback):
    """Compare a training with its family, and stop it when it is lost.

    Alarms are warned of with `CollapseWarning` and sent to `notify`. The training ends after alarms
    of the kinds in `stop_on`: by default a loss that is no number, or a divergence that lasts.

    Parameters
    ----------
    reference : Reference or path or None
        The family; None for the rules that need none.
    notify : sequence of str
        Targets as of `workbench.watch.Notifier`.
    **options
        Of `workbench.watch.Monitor`: ``false_alarm``, ``stop_on``, ``patience``, and the run's
        coordinates. ``total_steps`` and ``model_size`` are known from the trainer.

    Examples
    --------
    >>> watch = HFWatch("family.nc")  # doctest: +SKIP
    >>> Trainer(model, args, train_dataset=data, callbacks=[watch]).train()  # doctest: +SKIP
    """

    def __init__(
        self,
        reference: Reference | str | os.PathLike[str] | None,
        *,
        notify: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        if isinstance(reference, str | os.PathLike):
            reference = Reference.load(reference)
        self.reference = reference
        self.monitor: Monitor | None = None
        self._notifier = Notifier(notify)
        self._options = options

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the watch; a training that goes on from a checkpoint goes on being watched."""
        if self.monitor is None and state.is_world_process_zero:
            found: dict[str, Any] = {"total_steps": state.max_steps, "run_id": str(args.run_name)}
            found["warmup_steps"] = args.get_warmup_steps(state.max_steps)
            if kwargs.get("model") is not None:
                found["model_size"] = weight_count(kwargs["model"])
            self.monitor = Monitor(self.reference, **(found | self._options))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Take in the loss; ask the trainer to stop where the run is lost."""
        watched = self.reference.loss if self.reference is not None else "train_loss"
        if self.monitor is None or not logs or _LOGGED[watched] not in logs:
            return
        for alarm in self.monitor.update(state.global_step, float(logs[_LOGGED[watched]])):
            if alarm.kind != "data":
                warnings.warn(f"{self.monitor.run_id}: {alarm}", CollapseWarning, stacklevel=2)
                self._notifier.send(alarm, run_id=self.monitor.run_id)
        if self.monitor.should_stop:
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait until all alarms were sent."""
        self._notifier.close()

"""Watch a Lightning ``Trainer``; imported only by ``workbench.callbacks.LightningWatch``."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from workbench.errors import CollapseWarning
from workbench.watch import Monitor, Notifier, Reference

if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
    from pytorch_lightning import Callback
else:
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError:
        from pytorch_lightning import Callback


class LightningWatch(Callback):
    """Compare a training with its family, and stop it when it is lost; see `HFWatch`.

    The loss is the one ``training_step`` returns.

    Parameters
    ----------
    reference : Reference or path or None
        The family, of its training loss; None for the rules that need none.
    notify : sequence of str
        Targets as of `workbench.watch.Notifier`.
    **options
        Of `workbench.watch.Monitor`; ``total_steps`` is known from the trainer.

    Examples
    --------
    >>> Trainer(callbacks=[LightningWatch("family.nc")]).fit(model)  # doctest: +SKIP
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

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the watch."""
        if self.monitor is None and trainer.is_global_zero:
            found: dict[str, Any] = {"total_steps": float(trainer.estimated_stepping_batches)}
            self.monitor = Monitor(self.reference, **(found | self._options))

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the loss; ask the trainer to stop where the run is lost."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if self.monitor is None or loss is None:
            return
        for alarm in self.monitor.update(trainer.global_step, float(loss)):
            if alarm.kind != "data":
                warnings.warn(f"{self.monitor.run_id}: {alarm}", CollapseWarning, stacklevel=2)
                self._notifier.send(alarm, run_id=self.monitor.run_id)
        if self.monitor.should_stop:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Wait until all alarms were sent."""
        self._notifier.close()

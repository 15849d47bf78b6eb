"""Record a Lightning ``Trainer``; imported only by ``workbench.callbacks.LightningLogger``."""

from __future__ import annotations

import math
import os
import sys
import uuid
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from workbench.callbacks.guest import Guest, meanings, of_optimizer, weight_count
from workbench.schema import canonical_record_name
from workbench.store import EndStatus, Store
from workbench.store.recorder import status_after

if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    from pytorch_lightning.loggers import Logger
    from pytorch_lightning.utilities import rank_zero_only
    from pytorch_lightning.utilities.exceptions import MisconfigurationException
else:
    try:
        from lightning.pytorch.loggers import Logger
        from lightning.pytorch.utilities import rank_zero_only
        from lightning.pytorch.utilities.exceptions import MisconfigurationException
    except ModuleNotFoundError:
        from pytorch_lightning.loggers import Logger
        from pytorch_lightning.utilities import rank_zero_only
        from pytorch_lightning.utilities.exceptions import MisconfigurationException

_SHARDED = ("fsdp", "deepspeed", "modelparallel")


class LightningLogger(Logger):
    """Record every ``trainer.fit`` as a run, with its hyper-parameters.

    Parameters
    ----------
    store : path or Store
        Store folder, made when missing, or an open store.
    family : str
        Runs that share a recipe.
    run_id : str, optional
        Unique name; made up when none is given. Give it to go on in a run that did not finish.
    columns : mapping of str to str, optional
        What metrics are, where their names do not say it: ``{"ce": "train_loss"}``.
    **hyperparameters : number or text
        Run coordinates; they win over what the trainer and ``save_hyperparameters`` say.

    Examples
    --------
    >>> logger = LightningLogger("runs", family="mine")  # doctest: +SKIP
    >>> Trainer(max_steps=1000, logger=logger).fit(module)  # doctest: +SKIP
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | Store,
        *,
        family: str,
        run_id: str | None = None,
        columns: Mapping[str, str] | None = None,
        **hyperparameters: Any,
    ) -> None:
        super().__init__()
        self._run_id = run_id or f"{family}-{uuid.uuid4().hex[:8]}"
        self._columns = dict(columns or {})
        self._guest = Guest(store, family=family, hyperparameters=hyperparameters)
        self._config: dict[str, Any] = {}
        self._trainer: Any = None
        self._runs = 0
        self._last = 0

    @property
    def name(self) -> str:
        """The family."""
        return self._guest.family

    @property
    def version(self) -> str:
        """The name of the run; of the latest one, where fit was called several times."""
        return self._run_id if self._runs < 2 else f"{self._run_id}-{self._runs}"

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Keep hyper-parameters for the start of the run."""
        self._config |= vars(params) if isinstance(params, Namespace) else dict(params)

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Note the trainer of the module; called at the start of every fit, validate or test."""
        self._trainer = getattr(model, "_trainer", None)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics of a fit; the first ones start the run."""
        if not self._fits():
            self._guest.say_once(
                "What validate and test log is no part of a curve and is not recorded."
            )
            return
        if not self._guest.is_open:
            self._open()
        self._last = self._last if step is None else int(step)
        self._guest.log(self._last, _renamed(metrics, self._columns))

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Have everything up to the checkpoint in the store."""
        self._guest.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run of a fit: done, failed, or stopped before its planned end."""
        if not self._fits():
            return
        if status == "failed" and not self._guest.is_open:
            self._open()  # it failed before its first record, which is worth knowing
        self._guest.close(self._ending(status))

    def _ending(self, status: str) -> EndStatus:
        if status == "failed":
            error = sys.exc_info()[0]
            return "failed" if error is None else status_after(error)
        planned = self._planned_steps()
        if status == "success" and (planned is None or self._trainer.global_step >= planned):
            return "done"
        return "stopped"

    def _fits(self) -> bool:
        """Tell whether a training is on, as far as the trainer is known."""
        state = getattr(self._trainer, "state", None)
        return state is None or str(getattr(state.fn, "value", state.fn)) == "fit"

    def _open(self) -> None:
        self._runs += 1
        trainer = self._trainer
        found: dict[str, Any] = {}
        if trainer is not None:
            facts = {
                "accumulate_grad_batches": trainer.accumulate_grad_batches,
                "world_size": trainer.world_size,
            }
            found = meanings(facts | self._config)
            optimizers = trainer.optimizers
            if len(optimizers) == 1:
                found |= of_optimizer(optimizers[0])
            found |= {"total_steps": self._planned_steps(), "optimizer": _names(optimizers)}
            if not type(trainer.strategy).__name__.lower().startswith(_SHARDED):
                found["model_size"] = weight_count(trainer.lightning_module)
        self._guest.open(self.version, found or meanings(self._config))

    def _planned_steps(self) -> int | None:
        trainer = self._trainer
        if trainer is None:
            return None
        try:
            steps = float(trainer.estimated_stepping_batches)
        except MisconfigurationException:  # accumulation changes on the way
            steps = float(trainer.max_steps)
        return int(steps) if math.isfinite(steps) and steps > 0 else None


def _names(optimizers: list[Any]) -> str:
    return ", ".join(type(getattr(each, "_optimizer", each)).__name__ for each in optimizers)


def _renamed(metrics: Mapping[str, float], columns: Mapping[str, str]) -> dict[str, float]:
    """Return metrics under the names of the schema that follow from Lightning's habits.

    A loss logged per step and per epoch gets the endings ``_step`` and ``_epoch``: of a training
    loss the former is the curve, of a held-out loss the latter. ``lr-…`` is what the monitor of the
    learning rate logs.
    """
    out: dict[str, float] = {}
    for given, value in metrics.items():
        name = columns.get(given)
        if name is None:
            name = _by_habit(given)
            name = given if name in metrics or name in columns.values() else name
        out.setdefault(name if name not in out else given, value)
    return out


def _by_habit(given: str) -> str:
    for ending, loss in (("_step", "train_loss"), ("_epoch", "eval_loss")):
        if canonical_record_name(given.removesuffix(ending)) == loss and given.endswith(ending):
            return loss
    return "learning_rate" if given.startswith("lr-") else given

"""Record a transformers ``Trainer``; imported only by ``workbench.callbacks.HFCallback``."""

from __future__ import annotations

import os
import warnings
from types import TracebackType
from typing import Any, Self

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from workbench.callbacks.guest import Guest, meanings, of_optimizer, weight_count
from workbench.errors import CollapseWarning
from workbench.store import Store, to_address
from workbench.store.recorder import status_after

_OTHER_NAMES = {"num_input_tokens_seen": "tokens"}
_SUMMARY = {"train_loss": "mean_train_loss"}
"""After the last step the trainer logs the mean over the whole training under this name."""


class HFCallback(TrainerCallback, ExportableState):
    """Record every training of a ``Trainer`` as a run, with its hyper-parameters.

    The checkpoints remember the name of the run, so that a training that is resumed from one goes
    on in the same run, as a new attempt.

    The trainer tells its callbacks nothing of an error. One that ends the program marks the run as
    failed; where it is caught, use the callback as a context manager around ``trainer.train()``.

    Parameters
    ----------
    store : path or Store
        Store folder, made when missing, or an open store.
    family : str
        Runs that share a recipe.
    run_id : str, optional
        Unique name; made up when none is given.
    sequence_length : int, optional
        Tokens a sequence, where all have the same: it makes the batch size known in tokens. What
        packs sequences in TRL says it itself.
    **hyperparameters : number or text
        Run coordinates; they win over what the trainer's arguments say.

    Examples
    --------
    >>> callback = HFCallback("runs", family="mine", sequence_length=1024)  # doctest: +SKIP
    >>> Trainer(model, args, train_dataset=data, callbacks=[callback]).train()  # doctest: +SKIP
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | Store,
        *,
        family: str,
        run_id: str | None = None,
        sequence_length: int | None = None,
        **hyperparameters: Any,
    ) -> None:
        self.run_id = run_id
        self.sequence_length = sequence_length
        self._given = run_id
        self._model_size: int | None = None
        self._guest = Guest(store, family=family, hyperparameters=hyperparameters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._guest.close(status_after(kind))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the arguments of this callback, with the run's name."""
        store = self._guest.store
        # Without a password: checkpoints are copied about. PGPASSWORD gives it when resuming.
        address = store.address if isinstance(store, Store) else to_address(store)
        return {
            "args": {
                "store": address.apart()[0],
                "family": self._guest.family,
                "run_id": self.run_id,
                "sequence_length": self.sequence_length,
                **self._guest.hyperparameters,
            },
            "attributes": {},
        }

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the parameters, while none is wrapped or sharded."""
        if kwargs.get("model") is not None:
            self._model_size = weight_count(kwargs["model"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the run, or take up the one of the checkpoint."""
        if not state.is_world_process_zero:
            return
        guest, found = self._guest, self._hyperparameters(args, state, kwargs)
        run_id = self._given
        if guest.is_open:  # the trainer tries again, say with a smaller batch
            guest.flush()
            run_id = self.run_id
        elif run_id is None and state.global_step:
            run_id = _run_of_checkpoint(state)
            run_id = self._unless_done(run_id, found) if run_id else None
        self.run_id = guest.open(run_id, found).run_id

    def _unless_done(self, run_id: str, found: dict[str, Any]) -> str | None:
        table = self._opened().table().set_index("run_id")["status"]
        if table.get(run_id) != "done":
            return run_id
        warnings.warn(
            f"Run {run_id!r} of the checkpoint is done; what follows is recorded as another run "
            "with resumed_from set to it.",
            CollapseWarning,
            stacklevel=2,
        )
        found["resumed_from"] = run_id
        return None

    def _opened(self) -> Store:
        from workbench.store import open_store

        store = self._guest.store
        return store if isinstance(store, Store) else open_store(store, create=True)

    def _hyperparameters(self, args: Any, state: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        model = kwargs.get("model")
        config = getattr(model, "config", None)
        found: dict[str, Any] = {
            "optimizer": str(getattr(args.optim, "value", args.optim)),
            "beta1": args.adam_beta1,
            "beta2": args.adam_beta2,
            "peak_lr": args.learning_rate,
            "weight_decay": args.weight_decay,
            **of_optimizer(kwargs.get("optimizer")),
            "total_steps": state.max_steps,
            "warmup_steps": args.get_warmup_steps(state.max_steps),
            "seed": args.seed,
            "data_seed": args.data_seed,
            "max_grad_norm": args.max_grad_norm,
            "width": getattr(config, "hidden_size", None),
            "depth": getattr(config, "num_hidden_layers", None),
            "model_size": self._model_size or (weight_count(model) if model is not None else None),
        }
        kind = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
        found["schedule"] = meanings({"lr_scheduler_type": kind})["schedule"]
        sequences = _sequences(args)
        found["sequences_per_step"] = sequences
        length = self.sequence_length
        if length is None and getattr(args, "packing", False):
            length = getattr(args, "max_length", None)
        if length:
            found |= {"sequence_length": length, "batch_size": sequences * length}
        return found

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Record what the trainer logs; the mean over the training apart from the curve."""
        if not state.is_world_process_zero or not logs:
            return
        names = _OTHER_NAMES | (_SUMMARY if "train_runtime" in logs else {})
        self._guest.log(state.global_step, {names.get(n, n): v for n, v in logs.items()})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Have everything up to the checkpoint in the store."""
        self._guest.flush()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run: done, or stopped where it was not trained to its planned end."""
        self._guest.close("done" if state.global_step >= state.max_steps else "stopped")


def _run_of_checkpoint(state: Any) -> str | None:
    stored = (state.stateful_callbacks or {}).get(HFCallback.__name__) or {}
    stored = stored[0] if isinstance(stored, list) else stored
    run_id = stored.get("args", {}).get("run_id")
    return str(run_id) if run_id else None


def _sequences(args: Any) -> float:
    """Return sequences an optimiser step, over all processes that see data of their own."""
    split = getattr(args, "parallelism_config", None)
    shared = 1
    for name in ("tp_size", "cp_size", "sp_size"):
        shared *= int(getattr(split, name, 1) or 1)
    copies = max(1, int(args.world_size) // shared)
    return float(args.train_batch_size * args.gradient_accumulation_steps * copies)

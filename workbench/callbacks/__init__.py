"""Record and watch other people's training loops: loaded only when asked for.

``HFCallback`` is a ``TrainerCallback`` of transformers, ``LightningLogger`` a logger of Lightning:
they record. ``HFWatch`` and ``LightningWatch`` are callbacks that compare the run with its family
and can stop it; in a loop of one's own that is `workbench.watch.Monitor`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError

if TYPE_CHECKING:
    from workbench.callbacks.huggingface import HFCallback
    from workbench.callbacks.huggingface_watch import HFWatch
    from workbench.callbacks.lightning import LightningLogger
    from workbench.callbacks.lightning_watch import LightningWatch

__all__ = ["HFCallback", "HFWatch", "LightningLogger", "LightningWatch"]

_HOME = {
    "HFCallback": ("huggingface", ("transformers",)),
    "HFWatch": ("huggingface_watch", ("transformers",)),
    "LightningLogger": ("lightning", ("lightning", "pytorch_lightning")),
    "LightningWatch": ("lightning_watch", ("lightning", "pytorch_lightning")),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module 'workbench.callbacks' has no attribute {name!r}"
        raise AttributeError(msg)
    home, packages = _HOME[name]
    try:
        value = getattr(import_module(f"workbench.callbacks.{home}"), name)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in packages:
            raise
        msg = f"{name} needs {packages[0]}, which is not installed: pip install {packages[0]}"
        raise DataError(msg) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

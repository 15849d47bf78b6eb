"""Run a notebook in the interpreter that asks for it, whatever kernels are installed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


def this_interpreter(folder: Path, environment: Mapping[str, str]) -> type[AsyncKernelManager]:
    """Return a kernel manager that starts this very Python.

    A kernel spec found by name may belong to another environment, so none is looked up.

    Parameters
    ----------
    folder : Path
        Empty folder for the kernel's own files: what the user's IPython starts with stays out of
        a report. Keep its path short, as sockets go there.
    environment : mapping of str to str
        What the kernel has to know and the notebook must not show.
    """
    quiet = ["--HistoryManager.enabled=False", "--IPKernelApp.log_level=50"]
    arguments = [f"--ipython-dir={folder}", *quiet]
    spec: dict[str, Any] = get_kernel_dict(extra_arguments=arguments)

    class ThisInterpreter(AsyncKernelManager):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.connection_file = str(folder / "kernel.json")
            if os.name == "posix":
                self.transport = "ipc"  # no port that others on the machine could reach

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(resource_dir=RESOURCES, env=dict(environment), **spec)

    return ThisInterpreter

"""Which of the processes of one training this is: only the first records."""

from __future__ import annotations

import os
import sys

_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
"""Set by torchrun and its relatives, by srun, by mpirun."""


def process_rank() -> int:
    """Return the rank of this process in its training, 0 where there is only one.

    An initialised ``torch.distributed`` knows best; it is asked only if the program has imported
    it already. Else the launcher's environment counts.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    for name in _VARIABLES:
        text = os.environ.get(name, "")
        if text.isdecimal():
            return int(text)
    return 0

"""Losses and gradients on a CUDA device: replayed as a graph, in chunks that fit its memory.

At these sizes a device waits for the launches of its kernels, not for their arithmetic. A graph
launches all of a step's at once; it is captured once per number of rows in a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Gradients = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Flat float32 weights, inputs and targets of some rows to their losses and gradients."""
_WARM_UPS = 3
_SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    given: tuple[Tensor, ...]
    results: tuple[Tensor, Tensor]


class GraphedGradients:
    """Gradients whose kernels are launched as one graph.

    Parameters
    ----------
    gradients : callable
        What to capture: no synchronisation, the same work for the same shapes.
    """

    def __init__(self, gradients: Gradients) -> None:
        self._gradients = gradients
        self._captured: dict[tuple[torch.Size, ...], _Captured] = {}

    def __call__(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses and gradient of each row; both are overwritten by the next call."""
        given = (weights, inputs, targets)
        shapes = tuple(tensor.shape for tensor in given)
        if shapes not in self._captured:
            self._captured[shapes] = self._capture(given)
        captured = self._captured[shapes]
        for held, tensor in zip(captured.given, given, strict=True):
            held.copy_(tensor)
        captured.graph.replay()
        return captured.results

    def _capture(self, given: tuple[Tensor, ...]) -> _Captured:
        held = tuple(tensor.detach().clone() for tensor in given)
        # Libraries choose and load their kernels at first use, which must not be captured.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._gradients(*held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = self._gradients(*held)
        return _Captured(graph, held, results)


def rows_in_memory(gradients: Gradients, weights: Tensor, inputs: Tensor, targets: Tensor) -> int:
    """Return how many rows fit half of the device's free memory, from what one row takes.

    Parameters
    ----------
    gradients : callable
        Losses and gradients.
    weights, inputs, targets : Tensor, shape (1, ...)
        One row and its batch, on the device.
    """
    device = weights.device
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    gradients(weights, inputs, targets)
    taken = max(1, torch.cuda.max_memory_allocated(device) - before)
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(_SHARE_OF_MEMORY * free / taken))

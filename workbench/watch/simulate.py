"""Simulated families and faults: loss curves of which the truth is known.

Curves follow the surrogate of `workbench.forecast` (power of progress and learning rate, constants
of published runs) above no floor. To each comes what the same data does to all (heavy-tailed, seen
at the same step by every run), noise of its own (autoregressive, heavy-tailed), a level that
wanders, and a trend with model size, in the proportions found in recorded repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError
from workbench.forecast.kernels_surrogate import surrogate_curve
from workbench.schema import conform, make_runs

Floats = NDArray[np.float64]
FaultName = Literal[
    "healthy",
    "ramp",
    "ramp_by_the_end",
    "jump",
    "label_shift",
    "spike",
    "corrupted_shard",
    "lost_optimiser_state",
    "learning_rate_glitch",
    "repeated_data",
    "noisier_gradient",
    "divergence",
    "nan",
    "stall",
]
FAULTS: tuple[FaultName, ...] = get_args(FaultName)
PASSING: tuple[FaultName, ...] = ("spike", "corrupted_shard", "lost_optimiser_state")
"""Faults that a run gets over."""
_WARMUP = 0.02
_TAU = 0.2
_SHARD = 0.7


@dataclass(frozen=True)
class Noise:
    """Noise of the logs of simulated losses, standard deviations.

    Parameters
    ----------
    shared : float
        Of what the data does to all runs at a step.
    own : float
        Of a record's own noise.
    memory : float
        Correlation of own noise from one record to the next.
    level : float
        Of the wander of a run's level over all of training.
    size_trend : float
        Change of a curve per e-fold of model size, over all of training.
    """

    shared: float = 0.012
    own: float = 0.0012
    memory: float = 0.3
    level: float = 0.0008
    size_trend: float = 0.002


class Family:
    """A simulated family of runs on the same data.

    Parameters
    ----------
    steps : int
        Records of a run, one a step.
    noise : Noise
        What disturbs them.
    rng : int
        Seed.
    same_data : bool
        Whether all runs see the same data in the same order.
    shard : float
        How much a bad shard of that data lifts the loss of every run over half a percent of
        training, at 70 %.
    """

    def __init__(
        self,
        *,
        steps: int = 2000,
        noise: Noise | None = None,
        rng: int = 0,
        same_data: bool = True,
        shard: float = 0.0,
    ) -> None:
        self.steps, self.noise, self.same_data = steps, noise or Noise(), same_data
        self._generator = np.random.default_rng(rng)
        self.x = np.arange(1, steps + 1) / steps
        self._shape = np.log(surrogate_curve(self.x, 1 - self.x, 0.2, 1.0, 0.05))
        self._data = self._heavy(steps) * self.noise.shared
        self._data += shard * ((self.x > _SHARD) & (self.x <= _SHARD + 0.005))

    def runs(self, sizes: tuple[float, ...], *, seeds: int = 1) -> xr.Dataset:
        """Return healthy runs of these sizes, finished."""
        pairs = [(size, seed) for size in sizes for seed in range(seeds)]
        losses = [self.loss(size) for size, _ in pairs]
        return self.dataset(losses, [f"N{n:g}-s{s}" for n, s in pairs], [n for n, _ in pairs])

    def loss(self, size: float) -> Floats:
        """Return the loss of one healthy run [nats/token], shape (steps,)."""
        noise, n = self.noise, self.steps
        own = self._heavy(n)
        for k in range(1, n):
            own[k] = noise.memory * own[k - 1] + np.sqrt(1 - noise.memory**2) * own[k]
        wander = np.cumsum(self._generator.standard_normal(n)) * noise.level / np.sqrt(n)
        data = self._data if self.same_data else self._heavy(n) * noise.shared
        trend = noise.size_trend * np.log(size / 1e8) * (self.x - 0.5)
        floor = np.log(3.0 * (size / 1e8) ** -0.07)
        return np.asarray(np.exp(floor + self._shape + trend + data + wander + noise.own * own))

    def dataset(self, losses: list[Floats], names: list[str], sizes: list[float]) -> xr.Dataset:
        """Return losses as runs of the schema; a step is a place in the data for all of them."""
        count = len(losses)
        coords: dict[str, ArrayLike] = {
            "run_id": names,
            "model_size": sizes,
            "tau": np.full(count, _TAU),
            "schedule": ["linear"] * count,
            "warmup_fraction": np.full(count, _WARMUP),
            "total_steps": np.full(count, float(self.steps)),
            "status": ["done"] * count,
        }
        step = np.tile(np.arange(1, self.steps + 1), count)
        records = {"step": step, "train_loss": np.concatenate(losses)}
        return conform(make_runs(coords, records, row_size=[self.steps] * count))

    def _heavy(self, n: int) -> Floats:
        """Return noise of variance 1 with the tails of recorded losses (Student's t, 8 degrees)."""
        return np.asarray(self._generator.standard_t(8, n) / np.sqrt(8 / 6))


def inject(
    loss: Floats, fault: FaultName, *, at: float, size: float, rng: np.random.Generator
) -> Floats:
    """Return a loss with a fault that begins at progress `at`.

    Parameters
    ----------
    loss : ndarray of shape (steps,)
        Healthy, one record a step.
    fault : str
        One of `FAULTS`. ``ramp`` has grown to `size` after 10 % of training and grows on;
        ``ramp_by_the_end`` reaches it at the end. ``jump`` stays; ``label_shift`` is a jump on a
        tenth of the steps. ``spike`` and ``corrupted_shard`` (1 % of training) pass at once;
        ``lost_optimiser_state`` decays over 1 %; after ``learning_rate_glitch`` half of it stays.
        ``repeated_data``: the loss falls faster. ``noisier_gradient``: five times the noise and
        a rise of `size`. ``divergence``: the loss grows to three times. ``nan`` and ``stall``.
    at : float
        Progress.
    size : float
        As a share of the loss.
    rng : Generator
        For faults that are random.

    Raises
    ------
    ArgumentError
        If the fault is unknown.
    """
    if fault not in FAULTS:
        msg = f"fault must be one of {', '.join(FAULTS)}, found {fault!r}."
        raise ArgumentError(msg)
    n = len(loss)
    x = np.arange(1, n + 1) / n
    factor: NDArray[np.floating]
    late = np.maximum(x - at, 0.0)
    on = x > at
    match fault:
        case "healthy":
            factor = np.ones(n)
        case "ramp":
            factor = 1 + size * late / 0.1
        case "ramp_by_the_end":
            factor = 1 + size * late / (1 - at)
        case "jump":
            factor = 1 + size * on
        case "label_shift":
            factor = 1 + 10 * size * (on & (rng.random(n) < 0.1))
        case "spike":
            factor = 1 + 4 * size * (on & (late < 0.005))
        case "corrupted_shard":
            factor = 1 + 2 * size * (on & (late < 0.01))
        case "lost_optimiser_state":
            factor = 1 + 4 * size * on * np.exp(-late / 0.01)
        case "learning_rate_glitch":
            factor = 1 + size * on * (1 + np.exp(-late / 0.02))
        case "repeated_data":
            factor = 1 - size * late / 0.1
        case "noisier_gradient":
            factor = 1 + on * (size + 0.005 * rng.standard_normal(n))
        case "divergence":
            factor = 1 + 2 * on * (1 - np.exp(-late / 0.01))
        case "nan":
            factor = np.where(on, np.nan, 1.0)
        case "stall":
            return np.where(on, loss[int(at * n) - 1], loss)
    return np.asarray(loss * factor)

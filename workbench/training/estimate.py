"""What a family will take before it is trained: FLOP, time, cost, memory, disk.

Time comes from one product of small matrices, timed here, and from what the trainer makes of such
products on the machine it was measured on; it is an estimate within a factor of two or so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from workbench.errors import ArgumentError
from workbench.text import plural, short_count
from workbench.training.plan import CHUNK_TOKENS
from workbench.training.preflight import BYTES_PER_PARAMETER, BYTES_PER_POINT, readable
from workbench.training.report import Device
from workbench.training.run_plan import FamilyPlan, RunPlan
from workbench.training.sections import DatasetSection, TextSection

# Work of the trainer per second (`RunPlan.cost`) over that of batched 64 × 64 products in float32,
# both on one core: 0.8 to 1.1 at widths 16 to 64 (torch alone, no compiled kernels).
_SHARE_OF_PRODUCTS = 0.9
# What a card is taken to sustain: 40 % of 312 TFLOP/s in bfloat16. Small models reach less.
_DEVICE_FLOP_PER_SECOND = 1.2e14
# A process with torch loaded, measured as resident memory.
_PROCESS_BYTES = 350e6
# Activations that wait for the backward pass, in float32 numbers per token and width of a block.
_ACTIVATIONS_PER_BLOCK = 30
_EVALUATION_SHARE = 1 / 3
"""A forward pass is a third of a training step."""


@dataclass(frozen=True)
class Estimate:
    """What a family will take.

    Parameters
    ----------
    family : str
        Name.
    runs : int
        How many.
    run_steps, tokens : int
        Of all runs.
    smallest, largest : int
        Model sizes N.
    flops : float
        Of training, evaluation left out [FLOP].
    seconds : float
        Wall time with all workers busy, and no less than the longest run takes.
    cost : float or None
        In the currency of `price_per_hour`; None without a price.
    memory : float
        Of all workers together [bytes].
    disk : float
        Curves, and checkpoints of the largest jobs [bytes].
    workers : int
        Cores or devices.
    device : {"cpu", "cuda"}
        Which of them.
    notes : tuple of str
        What the numbers rest on, and what to know before starting.
    """

    family: str
    runs: int
    run_steps: int
    tokens: int
    smallest: int
    largest: int
    flops: float
    seconds: float
    cost: float | None
    memory: float
    disk: float
    workers: int
    device: Device
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as plain numbers and text."""
        return asdict(self)

    def __str__(self) -> str:
        unit = "core" if self.device == "cpu" else "device"
        price = "" if self.cost is None else f" Cost: {self.cost:.2g}."
        lines = [
            f"Family {self.family}: {plural(self.runs, 'run')}, {short_count(self.smallest)} to "
            f"{short_count(self.largest)} parameters, {short_count(self.run_steps)} steps, "
            f"{short_count(self.tokens)} tokens, {self.flops:.2g} FLOP.",
            f"Time on {plural(self.workers, unit)}: about {_duration(self.seconds)}.{price} "
            f"Memory: {readable(self.memory)}. Disk: {readable(self.disk)}.",
        ]
        return "\n".join([*lines, *self.notes])


def estimate_family(
    plan: FamilyPlan,
    *,
    workers: int,
    device: Device = "cpu",
    price_per_hour: float | None = None,
    flop_per_second: float | None = None,
) -> Estimate:
    """Work out what a family will take.

    Parameters
    ----------
    plan : FamilyPlan
        From `plan_family`.
    workers : int
        Cores, or devices, that train at once.
    device : {"cpu", "cuda"}
        Which of them.
    price_per_hour : float, optional
        Of one worker.
    flop_per_second : float, optional
        That one worker sustains; timed on this machine's core, or taken as 120 TFLOP/s of a device.

    Returns
    -------
    Estimate

    Raises
    ------
    ArgumentError
        If there is no worker, or a price or rate is not positive.
    """
    if workers < 1:
        msg = f"workers must be at least 1, found {workers}."
        raise ArgumentError(msg)
    for name, value in {"price": price_per_hour, "flop_per_second": flop_per_second}.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            msg = f"{name} must be positive, found {value!r}."
            raise ArgumentError(msg)
    rate, said = _rate(device) if flop_per_second is None else (flop_per_second, "as given")
    work = [_work(plan, run, device) for run in plan.runs]
    seconds = max(sum(work) / workers, max(work)) / rate
    pace = f"Time assumes {rate / 1e9:.3g} GFLOP/s a worker ({said}); expect a factor of two."
    return Estimate(
        family=plan.spec.family,
        runs=len(plan.runs),
        run_steps=plan.run_steps,
        tokens=sum(run.tokens_total for run in plan.runs),
        smallest=min(run.model_size for run in plan.runs),
        largest=max(run.model_size for run in plan.runs),
        flops=plan.flops,
        seconds=seconds,
        cost=None if price_per_hour is None else price_per_hour * workers * seconds / 3600,
        memory=_memory(plan, workers, device),
        disk=_disk(plan, workers),
        workers=workers,
        device=device,
        notes=(pace, *_data_notes(plan)),
    )


def plan_rows(plan: FamilyPlan) -> list[dict[str, Any]]:
    """Return every run of a plan as plain numbers and text, in the order of the spec."""
    return [{"run_id": run.run_id, **run.coordinates(), "flops": run.flops} for run in plan.runs]


def _rate(device: Device) -> tuple[float, str]:
    if device == "cuda":
        return _DEVICE_FLOP_PER_SECOND, "taken, not measured"
    return _SHARE_OF_PRODUCTS * _product_rate(), "from a product timed here"


def _product_rate() -> float:
    """Return FLOP/s of batched 64 × 64 products on one core."""
    left = np.ones((128, 64, 64), np.float32)
    best = math.inf
    for _ in range(7):
        started = time.perf_counter()
        left @ left
        best = min(best, time.perf_counter() - started)
    return float(2 * 128 * 64**3 / best)


def _work(plan: FamilyPlan, run: RunPlan, device: Device) -> float:
    """Return the work of a run with its evaluations, in the unit that rates are given in."""
    evaluation = plan.spec.evaluation
    per_token = (run.cost if device == "cpu" else run.flops) / run.tokens_total
    examined = evaluation.sequences * run.shape.context * _EVALUATION_SHARE
    noise = evaluation.noise_batches * run.batch_size
    return per_token * (run.tokens_total + evaluation.points * (examined + noise))


def _memory(plan: FamilyPlan, workers: int, device: Device) -> float:
    """Return what the largest jobs hold at once, one a worker."""
    groups: dict[object, list[RunPlan]] = {}
    for run in plan.runs:
        groups.setdefault(run.batch_key, []).append(run)
    sizes = sorted(
        (_job_bytes(plan, runs, workers, device) for runs in groups.values()), reverse=True
    )
    section = plan.spec.task
    text = 1e6 * section.megabytes if isinstance(section, DatasetSection) else 0.0
    return sum(sizes[:workers]) + workers * (_PROCESS_BYTES + text)


def _job_bytes(plan: FamilyPlan, runs: Sequence[RunPlan], workers: int, device: Device) -> float:
    run = runs[0]
    rows = math.ceil(len(runs) / workers)
    if device == "cpu":
        rows = min(rows, max(1, CHUNK_TOKENS // run.batch_size))
    micro = plan.spec.compute.micro_sequences or run.sequences
    tokens = max(CHUNK_TOKENS, min(micro, run.sequences) * run.shape.context)
    vocab = getattr(run.shape, "vocab", 1)
    numbers = _ACTIVATIONS_PER_BLOCK * run.shape.depth * run.width + 3 * vocab
    return BYTES_PER_PARAMETER * run.model_size * rows + 4 * tokens * numbers


def _disk(plan: FamilyPlan, workers: int) -> float:
    states = sorted((9 * 4 * run.model_size for run in plan.runs), reverse=True)
    rows = max(1, CHUNK_TOKENS // max(run.batch_size for run in plan.runs))
    return BYTES_PER_POINT * plan.run_steps + float(sum(states[: workers * rows]))


def _data_notes(plan: FamilyPlan) -> list[str]:
    """Say how often text is seen, where its amount is known."""
    section = plan.spec.task
    most = max(run.tokens_total for run in plan.runs)
    if isinstance(section, DatasetSection):
        share = most / (1e6 * section.megabytes * (1 - section.held_out_fraction))
        return [f"The longest run sees the streamed text {share:.2g} times."]
    if isinstance(section, TextSection):
        from workbench.training.tasks.text import read_text

        text, name = read_text(section.path)
        share = most / (len(text) * (1 - section.held_out_fraction))
        return [f"The longest run sees {name} {share:.2g} times."]
    return []


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def describe_runs(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of planned runs, one a line."""
    wide = max(len(row["run_id"]) for row in rows)
    names = f"{'N':>7s} {'B':>7s} {'steps':>7s} {'peak lr':>8s} {'decay':>8s} {'tau':>6s}"
    lines = [
        f"{row['run_id']:{wide}s} {short_count(row['model_size']):>7s} "
        f"{short_count(row['batch_size']):>7s} {short_count(row['total_steps']):>7s} "
        f"{row['peak_lr']:8.3g} {row['weight_decay']:8.3g} {row.get('tau', math.inf):6.3g}"
        for row in rows
    ]
    return "\n".join([f"{'run':{wide}s} {names}", *lines])

"""Run-steps per second of the rows engine, against a plain loop of one model at a time.

The plain loop is what most people write: an `nn.Module` transformer of the same shape, scaled dot
product attention, the fused AdamW, one run after another. All train the same model on the same
batches.

One core: one thread, CPU seconds, variants turn by turn; the median ratio over the turns is given,
because rates move with whatever else the machine does. Whole machine: wall time of the plain loop
with torch's default threads against one engine process per core. Profile: where the time of the
fastest mode goes. Precision: held-out curves of both precisions over seeds.

    python benchmarks/training.py                 # writes benchmarks/results/training.json
    python benchmarks/training.py precision       # measures one section of it again
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import machine
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.training import MarkovLanguage, RunPlan, load_spec, plan_family
from workbench.training.compiled import CompiledTransformer
from workbench.training.engine import RowBatch
from workbench.training.precision import DTYPES
from workbench.training.shape import ModelShape
from workbench.training.spec import Compute, Evaluation
from workbench.training.tasks import MarkovTask

SEQUENCES = {16: 32, 32: 32, 64: 64, 128: 64}
ROWS = {16: (1, 8, 64), 32: (1, 8, 64), 64: (1, 8, 64), 128: (1, 8, 16)}
MODES = {
    f"{precision} {kernels}": Compute(precision=precision, kernels=kernels)
    for precision in ("float32", "bfloat16")
    for kernels in ("torch", "compiled")
}
ROUNDS, SECONDS = 3, 0.3
WALL_WIDTHS, WALL_SECONDS = (32, 64, 128), 2.0
PRECISION_WIDTHS, PRECISION_SEEDS = (16, 32), 6
ONCE = Evaluation(points=1, sequences=1)


class Block(nn.Module):
    """One transformer block."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        width, hidden = shape.width, shape.expansion * shape.width
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Attention and MLP, each on a residual branch."""
        batch, positions, width = x.shape
        q, k, v = self.qkv(F.layer_norm(x, (width,))).split(width, dim=2)
        heads = (batch, positions, self.shape.heads, self.shape.head_size)
        q, k, v = (part.view(heads).transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, positions, width))
        return x + self.down(F.relu(self.up(F.layer_norm(x, (width,)))).square())


class Transformer(nn.Module):
    """The same model as the engine's, one run at a time."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.readout = nn.Linear(shape.width, shape.vocab, bias=False)
        place = torch.arange(shape.context)
        distance = (place[:, None] - place[None, :]).float()
        slopes = torch.tensor([2.0, 0.5, 0.125, 0.0]).repeat(-(-shape.heads // 4))[: shape.heads]
        bias = (-slopes[:, None, None] * distance).masked_fill(distance < 0, float("-inf"))
        self.register_buffer("bias", bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.bias)
        return self.readout(F.layer_norm(x, x.shape[-1:]))


class PlainLoop:
    """One model trained by an ordinary loop; every call makes one step."""

    rows = 1

    def __init__(self, plan: RunPlan, task: MarkovTask) -> None:
        self.plan, self.task, self.model, self.step = plan, task, Transformer(plan.shape), 0
        assert sum(p.numel() for p in self.model.parameters()) == plan.model_size
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=1e-3, betas=(0.9, 0.95), fused=True
        )

    def __call__(self) -> None:
        """Make one step."""
        batch = self.task.batch(self.step, sequences=self.plan.sequences, seed=0)
        self.step += 1
        inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
        logits = self.model(inputs)[:, 1:]
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets[:, 1:].reshape(-1))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        loss.item()


class Engine:
    """Rows that train together; every call makes one step of each, evaluation left out."""

    def __init__(self, plan: RunPlan, task: MarkovTask, rows: int, compute: Compute) -> None:
        plans = [replace(plan, seed=row, run_id=f"run{row}") for row in range(rows)]
        self.batch = RowBatch(plans, task, evaluation=ONCE, compute=compute)
        self.rows = rows

    def __call__(self) -> None:
        """Make one step of every row."""
        self.batch.advance()


def plan_of(width: int) -> RunPlan:
    """Return a run of the quickstart family, with the batch size of this comparison."""
    spec = load_spec("quickstart")
    group = spec.group[0].model_copy(update={"width": (width,), "seed": (0,)})
    plan = plan_family(spec.model_copy(update={"group": (group,)})).runs[0]
    return replace(plan, sequences=SEQUENCES[width], total_steps=100_000)


def rate(loop: Callable[[], None], steps: int, rows: int) -> float:
    """Return run-steps per CPU second."""
    start = time.process_time()
    for _ in range(steps):
        loop()
    return rows * steps / (time.process_time() - start)


def one_core(width: int, rows: int, task: MarkovTask, peaks: dict[str, float]) -> dict[str, Any]:
    """Compare all modes with the plain loop at one width and number of rows."""
    plan = plan_of(width)
    loops: dict[str, Any] = {"plain": PlainLoop(plan, task)}
    loops |= {name: Engine(plan, task, rows, compute) for name, compute in MODES.items()}
    steps = {}
    for name, loop in loops.items():
        loop()
        steps[name] = max(1, round(SECONDS * rate(loop, 1, loop.rows) / loop.rows))
    turns = [
        {name: rate(loop, steps[name], loop.rows) for name, loop in loops.items()}
        for _ in range(ROUNDS)
    ]
    flops = plan.shape.flops_per_token * plan.batch_size
    found: dict[str, Any] = {"width": width, "rows": rows, "tokens_per_step": plan.batch_size}
    for name in loops:
        speed = statistics.median(turn[name] for turn in turns)
        found[name] = {
            "run_steps_per_cpu_second": round(speed, 1),
            "ratio_to_plain": round(statistics.median(t[name] / t["plain"] for t in turns), 2),
            "gflop_per_cpu_second": round(speed * flops / 1e9, 1),
            "share_of_product_peak": round(
                speed * flops / 1e9 / peaks["bfloat16" if "bfloat16" in name else "float32"], 2
            ),
        }
    return found


def product_peak(precision: str) -> float:
    """Return the GFLOP per CPU second of a large product, the best of several."""
    size = 1024
    left, right = torch.randn(2, size, size).to(DTYPES[precision])
    times = []
    for _ in range(9):
        start = time.process_time()
        left @ right
        times.append(time.process_time() - start)
    return round(2 * size**3 / min(times) / 1e9, 1)


def profile(width: int, task: MarkovTask) -> dict[str, float]:
    """Return the shares of the time of a bfloat16 step with compiled kernels, in percent."""
    engine = Engine(plan_of(width), task, 8, MODES["bfloat16 compiled"])
    engine()
    spent: Counter[str] = Counter()

    def timed(label: str | None, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            start = time.process_time()
            result = function(*given, **options)
            spent[label or given[1]] += time.process_time() - start
            return result

        return call

    product, kernel = torch.bmm, CompiledTransformer._run
    torch.bmm, CompiledTransformer._run = timed("products", product), timed(None, kernel)
    start = time.process_time()
    for _ in range(10):
        engine()
    total = time.process_time() - start
    torch.bmm, CompiledTransformer._run = product, kernel
    spent["everything else"] = total - sum(spent.values())
    return {name: round(100 * seconds / total, 1) for name, seconds in spent.most_common()}


def _work(pipe: Connection) -> None:
    """Make steps of what the parent names, for as long as it says; the body of a process."""
    task = MarkovTask(MarkovLanguage(), context=32)
    default = torch.get_num_threads()
    while (order := pipe.recv()) is not None:
        kind, width = order
        torch.set_num_threads(default if kind == "plain" else 1)
        plan = plan_of(width)
        loop = PlainLoop(plan, task) if kind == "plain" else Engine(plan, task, 8, MODES[kind])
        loop()
        pipe.send("ready")
        pipe.recv()
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < WALL_SECONDS:
            loop()
            steps += 1
        pipe.send(steps * loop.rows / (time.perf_counter() - start))


@contextmanager
def crew() -> Iterator[list[Connection]]:
    """Start one process per core, and give the ends to talk to them."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # what helps the plain loop on a busy machine, too
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(os.cpu_count() or 1)]
    workers = [context.Process(target=_work, args=(theirs,)) for _, theirs in ends]
    for worker in workers:
        worker.start()
    yield [ours for ours, _ in ends]
    for ours, _ in ends:
        ours.send(None)
    for worker in workers:
        worker.join()


def on_all_cores(kind: str, width: int, pipes: list[Connection]) -> float:
    """Return run-steps per second of wall time with the whole machine at work."""
    working = pipes[:1] if kind == "plain" else pipes
    for words in ((kind, width), "go"):
        for pipe in working:
            pipe.send(words)
        answers = [pipe.recv() for pipe in working]
    return sum(answers)


def whole_machine() -> Iterator[dict[str, Any]]:
    """Compare one process per core with the plain loop and its default threads."""
    kinds = ("plain", "float32 torch", "float32 compiled", "bfloat16 compiled")
    with crew() as pipes:
        for width in WALL_WIDTHS:
            turns = [{k: on_all_cores(k, width, pipes) for k in kinds} for _ in range(ROUNDS)]
            found: dict[str, Any] = {"width": width, "processes": len(pipes)}
            for kind in kinds:
                ratio = statistics.median(turn[kind] / turn["plain"] for turn in turns)
                speed = round(statistics.median(turn[kind] for turn in turns), 1)
                found[kind] = {"run_steps_per_second": speed, "ratio_to_plain": round(ratio, 2)}
            yield found


def held_out_curves(width: int, task: MarkovTask, compute: Compute) -> np.ndarray:
    """Return held-out losses of the quickstart's run over seeds, shape (seed, point)."""
    spec = load_spec("quickstart")
    seeds = tuple(range(PRECISION_SEEDS))
    group = spec.group[0].model_copy(update={"width": (width,), "seed": seeds})
    plans = plan_family(spec.model_copy(update={"group": (group,)})).runs
    batch = RowBatch(plans, task, evaluation=spec.evaluation, compute=compute)
    losses = []
    while batch.active:
        losses.append(batch.advance().eval_loss)
    curves = np.stack(losses, axis=1)
    return curves[:, ~np.isnan(curves[0])]


def precision(width: int, task: MarkovTask) -> list[dict[str, Any]]:
    """Compare the mean curves of every mode with those of float32 with torch alone."""
    reference = held_out_curves(width, task, MODES["float32 torch"])
    found = []
    for name in ("float32 compiled", "bfloat16 torch", "bfloat16 compiled"):
        curves = held_out_curves(width, task, MODES[name])
        row: dict[str, Any] = {"width": width, "mode": name, "seeds": PRECISION_SEEDS}
        for what, exact, other in (
            ("loss", reference, curves),
            ("normalised", reference / reference[:, -1:], curves / curves[:, -1:]),
        ):
            if what == "normalised":
                exact, other = exact[:, :-1], other[:, :-1]
            shift = (other - exact).mean(0)
            paired = (other - exact).std(0, ddof=1) / np.sqrt(len(exact))
            seed_error = exact.std(0, ddof=1) / np.sqrt(len(exact))
            row[what] = {
                "largest_shift_in_standard_errors": round(float(abs(shift / seed_error).max()), 2),
                "largest_shift_in_paired_errors": round(float(abs(shift / paired).max()), 2),
                "largest_shift": float(f"{abs(shift).max():.2g}"),
            }
        found.append(row)
    return found


def sections(task: MarkovTask) -> dict[str, Iterator[dict[str, Any]]]:
    """Return what can be measured, by name; nothing runs before it is asked for."""
    peaks = {name: product_peak(name) for name in DTYPES}
    return {
        "product_peak_gflop_per_cpu_second": iter([peaks]),
        "one_core": (one_core(width, rows, task, peaks) for width in ROWS for rows in ROWS[width]),
        "whole_machine": whole_machine(),
        "profile_percent": ({"width": width} | profile(width, task) for width in ROWS),
        "precision": (row for width in PRECISION_WIDTHS for row in precision(width, task)),
    }


def main() -> None:
    """Measure the sections named on the command line, or all, and write after each."""
    torch.set_num_threads(1)
    available = sections(MarkovTask(MarkovLanguage(), context=32))
    path = machine.RESULTS / "training.json"
    figures = json.loads(path.read_text("utf-8")) if sys.argv[1:] and path.exists() else {}
    figures.pop("machine", None)
    for name in sys.argv[1:] or available:
        figures[name] = []
        for result in available[name]:
            print(name, result, flush=True)
            figures[name].append(result)
        machine.keep("training", figures, "torch", "numpy")


if __name__ == "__main__":
    main()

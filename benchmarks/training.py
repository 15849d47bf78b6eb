"""Run-steps per second of one core: rows engine against a plain loop of one model at a time.

The plain loop is what most people write: an `nn.Module` transformer of the same shape, scaled dot
product attention, the fused AdamW, one run after another. Both train the same model on the same
batches, in one thread, in this process; times are CPU seconds, taken turn by turn, and the median
ratio is reported because rates move with whatever else the machine does.

    python benchmarks/training.py            # writes benchmarks/results/training.json
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.training import MarkovLanguage, RunPlan, load_spec, plan_family
from workbench.training.engine import train_rows
from workbench.training.plan import CHUNK_TOKENS
from workbench.training.shape import ModelShape
from workbench.training.spec import Evaluation

WIDTHS = (16, 24, 32, 48, 64)
ROUNDS = 5
SECONDS_PER_TURN = 2.0
RESULT = Path(__file__).parent / "results" / "training.json"


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


def plain_loop(plan: RunPlan, language: MarkovLanguage, steps: int) -> float:
    """Train one model with an ordinary loop; return run-steps per CPU second."""
    model = Transformer(plan.shape)
    assert sum(p.numel() for p in model.parameters()) == plan.model_size
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), fused=True)
    batches = language.batches(plan.sequences, plan.shape.context, seed=0)
    start = time.process_time()
    for batch in islice(batches, steps):
        tokens = torch.from_numpy(batch.tokens)
        logits = model(tokens[:, :-1])[:, 1:]
        loss = F.cross_entropy(logits.reshape(-1, plan.shape.vocab), tokens[:, 2:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
    return steps / (time.process_time() - start)


def rows_engine(plan: RunPlan, language: MarkovLanguage, steps: int, rows: int) -> float:
    """Train `rows` runs together; return run-steps per CPU second, evaluation left out."""
    plans = [replace(plan, seed=row, total_steps=max(steps, 2) + 1) for row in range(rows)]
    once = Evaluation(points=1, sequences=1)
    start = time.process_time()
    for record in train_rows(plans, language, evaluation=once):
        if record.step == steps:
            break
    return rows * steps / (time.process_time() - start)


def measure(plan: RunPlan, language: MarkovLanguage) -> dict[str, float]:
    """Compare both at one width, turn by turn."""
    rows = max(1, CHUNK_TOKENS // plan.batch_size)
    steps = max(10, int(SECONDS_PER_TURN * plain_loop(plan, language, 20)))
    few = max(10, steps // rows)
    rows_engine(plan, language, 10, rows)
    found: dict[str, list[float]] = {"plain": [], "alone": [], "rows": []}
    for _ in range(ROUNDS):
        found["plain"].append(plain_loop(plan, language, steps))
        found["alone"].append(rows_engine(plan, language, steps, 1))
        found["rows"].append(rows_engine(plan, language, few, rows))

    def ratio(name: str) -> float:
        pairs = zip(found[name], found["plain"], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 3)

    rate = {name: round(statistics.median(values), 1) for name, values in found.items()}
    flops = plan.shape.flops_per_token * plan.batch_size
    return {
        "width": plan.width,
        "model_size": plan.model_size,
        "tokens_per_step": plan.batch_size,
        "rows": rows,
        "plain_run_steps_per_cpu_second": rate["plain"],
        "engine_alone_run_steps_per_cpu_second": rate["alone"],
        "engine_rows_run_steps_per_cpu_second": rate["rows"],
        "engine_rows_gflop_per_cpu_second": round(rate["rows"] * flops / 1e9, 1),
        "ratio_alone": ratio("alone"),
        "ratio_rows": ratio("rows"),
    }


def main() -> None:
    """Measure all widths, print and write."""
    torch.set_num_threads(1)
    language = MarkovLanguage()
    spec = load_spec("quickstart")
    group = spec.group[0].model_copy(update={"width": WIDTHS, "seed": (0,)})
    plan = plan_family(spec.model_copy(update={"group": (group,)}))
    results = []
    for run in plan.runs:
        results.append(measure(run, language))
        print(results[-1])
    machine = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[0], 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def cpu_name() -> str:
    """Return what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")


if __name__ == "__main__":
    main()

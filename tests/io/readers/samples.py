"""A short log of every console format, as its program prints it."""

from __future__ import annotations

from tests.io.readers import (
    test_build_nanogpt,
    test_llmc,
    test_megatron,
    test_mlperf,
    test_modded_nanogpt,
    test_nanochat,
    test_nanogpt,
    test_torchtitan,
)

CONSOLE_LOGS = {
    "llmc": test_llmc.LOG,
    "nanogpt": test_nanogpt.LOG,
    "build-nanogpt": test_build_nanogpt.HEADER
    + "validation loss: 10.9\nHellaSwag accuracy: 2497/10042=0.2487\n"
    + "".join(test_build_nanogpt.step_line(step, 9.0 - step) for step in range(3)),
    "modded-nanogpt": test_modded_nanogpt.LISTING
    + test_modded_nanogpt.RULE
    + test_modded_nanogpt.LOG,
    "nanochat": test_nanochat.BASE + test_nanochat.OLDER,
    "torchtitan": test_torchtitan.CURRENT + test_torchtitan.OLDER,
    "megatron": test_megatron.arguments()
    + test_megatron.SIZE
    + "".join(test_megatron.line(step, 9.0) for step in (1, 2, 3))
    + test_megatron.validation(3, 8.5)
    + test_megatron.arguments(lr=1.0)
    + test_megatron.line(2, 8.0),
    "mlperf": test_mlperf.HEADER
    + test_mlperf.event("train_loss", 1.4, samples_count=8, lr=0.1)
    + test_mlperf.event("tracked_stats", {"throughput": 1.5}, samples_count=8)
    + test_mlperf.event("eval_accuracy", 0.9, samples_count=16),
}

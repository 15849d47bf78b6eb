"""The callbacks that watch: they tell, and ask the trainer to stop."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from workbench.errors import CollapseWarning


def losses():
    """Return a falling loss that explodes at step 60 of 100."""
    return [5 / (1 + 0.01 * k) * (1 + 0.2 * max(k - 60, 0)) for k in range(100)]


def test_hf_watch_stops_a_training_that_is_lost():
    pytest.importorskip("transformers")
    from workbench.callbacks import HFWatch

    watch = HFWatch(None, total_steps=100)
    args = SimpleNamespace(run_name="mine", get_warmup_steps=lambda steps: 5)
    state = SimpleNamespace(is_world_process_zero=True, max_steps=100, global_step=0)
    control = SimpleNamespace(should_training_stop=False)
    watch.on_train_begin(args, state, control)

    def train():
        for state.global_step, loss in enumerate(losses(), start=1):
            watch.on_log(args, state, control, logs={"loss": loss, "grad_norm": 1.0})
            if control.should_training_stop:
                break

    with pytest.warns(CollapseWarning, match="mine: divergence at step 6"):
        train()
    watch.on_train_end(args, state, control)
    assert 60 < state.global_step <= 66
    watch.on_log(args, state, control, logs={"eval_loss": 1.0})  # of another loss: not looked at


def test_lightning_watch_stops_a_training_that_is_lost():
    pytest.importorskip("lightning")
    from workbench.callbacks import LightningWatch

    watch = LightningWatch(None, run_id="mine")
    trainer = SimpleNamespace(
        is_global_zero=True, estimated_stepping_batches=100, global_step=0, should_stop=False
    )
    watch.on_train_start(trainer, None)

    def train():
        for trainer.global_step, loss in enumerate(losses(), start=1):
            watch.on_train_batch_end(trainer, None, {"loss": loss}, None, trainer.global_step)
            if trainer.should_stop:
                break

    with pytest.warns(CollapseWarning, match="mine: divergence at step 6"):
        train()
    watch.on_train_end(trainer, None)
    assert 60 < trainer.global_step <= 66

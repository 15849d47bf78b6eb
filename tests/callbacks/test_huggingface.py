"""Real trainings of transformers: twenty steps of a tiny model on the CPU, nothing downloaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import CollapseWarning
from workbench.store import open_store

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from workbench.callbacks import HFCallback  # noqa: E402

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other libraries' own
    pytest.mark.filterwarnings("error::workbench.errors.CollapseWarning"),
]
LENGTH, SEQUENCES = 16, 4


class Lines(torch.utils.data.Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        ids = torch.randint(0, 32, (LENGTH,), generator=torch.Generator().manual_seed(i))
        return {"input_ids": ids, "labels": ids}


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "store", create=True)
    yield opened
    opened.close()


@pytest.fixture
def make_trainer(tmp_path):
    """Return a maker of trainers of a tiny model."""

    def make(*callbacks, model=None, **arguments):
        config = transformers.GPT2Config(
            vocab_size=32, n_positions=LENGTH, n_embd=16, n_layer=1, n_head=2
        )
        options = {
            "output_dir": str(tmp_path / "out"),
            "max_steps": 20,
            "per_device_train_batch_size": SEQUENCES // 2,
            "gradient_accumulation_steps": 2,
            "learning_rate": 1e-3,
            "weight_decay": 0.1,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 4,
            "logging_steps": 2,
            "eval_strategy": "steps",
            "eval_steps": 5,
            "save_strategy": "no",
            "report_to": [],
            "use_cpu": True,
            "disable_tqdm": True,
            "seed": 3,
        }
        return transformers.Trainer(
            model=model or transformers.GPT2LMHeadModel(config),
            args=transformers.TrainingArguments(**(options | arguments)),
            train_dataset=Lines(),
            eval_dataset=Lines(),
            callbacks=list(callbacks),
        )

    return make


def row_of(store, run_id):
    return store.table().set_index("run_id").loc[run_id]


def test_twenty_steps_become_a_run(store, make_trainer):
    callback = HFCallback(store.root, family="tiny", sequence_length=LENGTH, note="mine")
    trainer = make_trainer(callback)
    trainer.train()
    runs = store.runs()
    assert runs["run_id"].item() == callback.run_id
    assert runs["status"].item() == "done"
    history = trainer.state.log_history
    logged = {e["step"]: e["loss"] for e in history if "loss" in e}
    evaluated = {e["step"]: e["eval_loss"] for e in history if "eval_loss" in e}
    assert set(logged) == set(range(2, 21, 2))
    assert set(evaluated) == {5, 10, 15, 20}
    steps = runs["step"].to_numpy()
    assert steps.tolist() == sorted({*logged, *evaluated})
    for name, expected in (("train_loss", logged), ("eval_loss", evaluated)):
        there = {s: v for s, v in zip(steps, runs[name].to_numpy(), strict=True) if v == v}
        assert there == expected
    rates = {e["step"]: e["learning_rate"] for e in history if "learning_rate" in e}
    assert runs["learning_rate"].to_numpy()[steps == 8].item() == rates[8]
    mean = [e["train_loss"] for e in history if "train_runtime" in e]
    assert runs["mean_train_loss"].to_numpy()[-1] == mean[0]


def test_hyperparameters_come_from_the_arguments_and_the_model(store, make_trainer):
    callback = HFCallback(store, family="tiny", sequence_length=LENGTH, note="mine", seed=9)
    trainer = make_trainer(callback, max_steps=4, eval_strategy="no")
    trainer.train()
    row = row_of(store, callback.run_id)
    size = sum(p.numel() for p in trainer.model.parameters())
    expected = {
        "family": "tiny",
        "model_size": size,
        "peak_lr": 1e-3,
        "weight_decay": 0.1,
        "schedule": "cosine",
        "warmup_steps": 4,
        "total_steps": 4,
        "batch_size": SEQUENCES * LENGTH,
        "sequences_per_step": SEQUENCES,
        "tokens_total": 4 * SEQUENCES * LENGTH,
        "tau": 1 / (1e-3 * 0.1) / 4,
        "tpp": 4 * SEQUENCES * LENGTH / size,
        "width": 16,
        "depth": 1,
        "seed": 9,  # what the user states wins
        "note": "mine",
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_tokens_a_step_are_not_invented(store, make_trainer):
    callback = HFCallback(store, family="tiny")
    make_trainer(
        callback, max_steps=2, eval_strategy="no", include_num_input_tokens_seen="all"
    ).train()
    row = row_of(store, callback.run_id)
    assert np.isnan(row["batch_size"])
    assert row["sequences_per_step"] == SEQUENCES
    assert store.runs()["tokens"].to_numpy()[-1] == 2 * SEQUENCES * LENGTH  # counted by the trainer


def test_a_training_resumed_from_a_checkpoint_goes_on_in_its_run(store, make_trainer, tmp_path):
    class Break(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 14:
                msg = "the node went down"
                raise RuntimeError(msg)

    saving = {"save_strategy": "steps", "save_steps": 10, "logging_steps": 1}
    first = HFCallback(store, family="tiny")

    def train():
        with first:
            make_trainer(first, Break(), **saving).train()

    with pytest.raises(RuntimeError, match="node"):
        train()
    assert row_of(store, first.run_id)["status"] == "failed"
    assert store.runs()["step"].to_numpy()[-1] == 13
    second = HFCallback(store, family="tiny")
    trainer = make_trainer(second, **saving)
    trainer.train(resume_from_checkpoint=True)
    assert second.run_id == first.run_id
    runs = store.runs()
    assert runs["step"].to_numpy().tolist() == list(range(1, 21))
    again = {e["step"]: e["loss"] for e in trainer.state.log_history if "loss" in e}
    assert runs["train_loss"].to_numpy().tolist() == [again[step] for step in range(1, 21)]
    assert row_of(store, first.run_id)["status"] == "done"
    longer = HFCallback(store, family="tiny")
    with pytest.warns(CollapseWarning, match="is done; what follows is recorded as another run"):
        make_trainer(longer, **saving | {"max_steps": 24}).train(resume_from_checkpoint=True)
    assert longer.run_id != first.run_id
    assert row_of(store, longer.run_id)["resumed_from"] == first.run_id


def test_callback_states_restored_by_the_trainer_name_the_run(store, make_trainer):
    saving = {"save_strategy": "steps", "save_steps": 10}
    first = HFCallback(str(store.root), family="tiny", note="mine")
    make_trainer(first, max_steps=12, **saving).train()
    state = first.state()["args"]
    assert HFCallback(**state).state()["args"] == state
    assert state["run_id"] == first.run_id


def test_a_training_cut_short_is_stopped_and_later_logs_are_said(store, make_trainer):
    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 6

    callback = HFCallback(store, family="tiny", run_id="short")
    trainer = make_trainer(callback, Stop())
    trainer.train()
    assert row_of(store, "short")["status"] == "stopped"
    with pytest.warns(CollapseWarning, match="outside of a training"):
        trainer.evaluate()


def test_other_processes_record_nothing(store, make_trainer):
    callback = HFCallback(store, family="tiny")
    trainer = make_trainer(callback, max_steps=2)
    trainer.state.is_world_process_zero = False
    callback.on_train_begin(trainer.args, trainer.state, trainer.control)
    callback.on_log(trainer.args, trainer.state, trainer.control, logs={"loss": 1.0})
    callback.on_train_end(trainer.args, trainer.state, trainer.control)
    assert len(store.table()) == 0


def test_a_store_that_goes_away_does_not_end_the_training(store, make_trainer, tmp_path):
    class Away(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 4:
                store.root.rename(tmp_path / "away")

    callback = HFCallback(store, family="tiny", run_id="a")
    with pytest.warns(CollapseWarning, match="not there any more"):
        assert make_trainer(callback, Away()).train().global_step == 20
    (tmp_path / "away").rename(store.root)
    callback._guest.close("done")
    assert store.last_step("a") == 20


CRASH = """
import sys
import torch, transformers
sys.path.insert(0, sys.argv[2])
from workbench.callbacks import HFCallback

class Lines(torch.utils.data.Dataset):
    def __len__(self):
        return 64
    def __getitem__(self, i):
        if i < 0:
            raise IndexError
        ids = torch.full((8,), i % 8)
        return {"input_ids": ids, "labels": ids}

class Break(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 7:
            raise RuntimeError("CUDA out of memory")

config = transformers.GPT2Config(vocab_size=8, n_positions=8, n_embd=8, n_layer=1, n_head=1)
args = transformers.TrainingArguments(
    output_dir=sys.argv[3], max_steps=20, logging_steps=1, report_to=[], use_cpu=True,
    disable_tqdm=True, save_strategy="no",
)
callback = HFCallback(sys.argv[1], family="tiny", run_id="crash")
transformers.Trainer(
    transformers.GPT2LMHeadModel(config), args, train_dataset=Lines(), callbacks=[callback, Break()]
).train()
"""


def test_an_error_that_ends_the_program_marks_the_run_as_failed(store, tmp_path):
    arguments = [str(store.root), str(ROOT), str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", CRASH, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert "CUDA out of memory" in done.stderr
    assert row_of(store, "crash")["status"] == "failed"
    assert store.runs()["step"].to_numpy().tolist() == [1, 2, 3, 4, 5, 6]

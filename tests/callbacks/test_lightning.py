"""Real trainings of Lightning: twenty steps of a tiny module on the CPU."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from workbench.errors import CollapseWarning
from workbench.store import open_store

torch = pytest.importorskip("torch")
pl = pytest.importorskip("lightning.pytorch")

from workbench.callbacks import LightningLogger  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other libraries' own
    pytest.mark.filterwarnings("error::workbench.errors.CollapseWarning"),
]
BY_EPOCH = {"val_check_interval": 1.0, "check_val_every_n_epoch": 1}


@pytest.fixture(autouse=True)
def _interrupts():
    """Lightning ignores Ctrl-C once it has seen one; the tests after these must not."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


class Module(pl.LightningModule):
    def __init__(self, lr=0.01, batch_size=4, seq_len=8, breaks_at=None, error=RuntimeError):
        super().__init__()
        self.save_hyperparameters(ignore=["error"])
        self.breaks_at, self.error = breaks_at, error
        self.layer = torch.nn.Linear(8, 1)
        self.seen = {}

    def loss(self, batch):
        return self.layer(batch[0]).pow(2).mean()

    def training_step(self, batch, i):
        if self.global_step == self.breaks_at:
            raise self.error
        loss = self.loss(batch)
        self.seen[self.global_step] = loss.item()
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, i):
        self.log("val_loss", self.loss(batch))

    test_step = validation_step

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=20)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def loader():
    rows = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows), batch_size=4)


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "store", create=True)
    yield opened
    opened.close()


@pytest.fixture
def make_trainer(tmp_path):
    def make(logger, **options):
        given = {
            "max_steps": 20,
            "log_every_n_steps": 1,
            "val_check_interval": 5,
            "check_val_every_n_epoch": None,
            "accelerator": "cpu",
            "devices": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": str(tmp_path),
        }
        return pl.Trainer(logger=logger, **(given | options))

    return make


def row_of(store, run_id):
    return store.table().set_index("run_id").loc[run_id]


def test_twenty_steps_become_a_run(store, make_trainer, tmp_path):
    logger = LightningLogger(store.root, family="tiny", note="mine")
    module = Module()
    monitor = pl.callbacks.LearningRateMonitor("step")
    make_trainer(logger, callbacks=[monitor]).fit(module, loader(), loader())
    runs = store.runs()
    assert runs["run_id"].item() == logger.version
    assert runs["status"].item() == "done"
    train = runs["train_loss"].to_numpy()
    known = ~np.isnan(train)
    assert known.sum() == 20
    assert train[known] == pytest.approx(list(module.seen.values()))
    assert (~np.isnan(runs["eval_loss"].to_numpy())).sum() == 4  # every fifth step
    assert "train_loss_epoch" in runs
    rates = runs["learning_rate"].to_numpy()
    assert rates[0] == 0.01
    assert np.nanmin(rates) < 0.002
    assert list(tmp_path.glob(f"**/{logger.version}/checkpoints/*.ckpt"))


def test_hyperparameters_come_from_the_trainer_and_the_module(store, make_trainer):
    logger = LightningLogger(store, family="tiny", note="mine", schedule="linear")
    make_trainer(logger, accumulate_grad_batches=2, max_steps=4).fit(Module(), loader())
    row = row_of(store, logger.version)
    expected = {
        "family": "tiny",
        "model_size": 9,
        "peak_lr": 0.01,
        "weight_decay": 0.05,
        "total_steps": 4,
        "batch_size": 4 * 2 * 8,  # sequences × accumulated × tokens on one process
        "tokens_total": 4 * 4 * 2 * 8,
        "schedule": "linear",
        "optimizer": "AdamW",
        "note": "mine",
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert store.last_step(logger.version) <= 4


def test_the_planned_end_follows_from_epochs_too(store, make_trainer):
    logger = LightningLogger(store, family="tiny")
    make_trainer(logger, max_steps=-1, max_epochs=2, **BY_EPOCH).fit(Module(), loader())
    row = row_of(store, logger.version)
    assert (row["total_steps"], row["status"]) == (20, "done")


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [(RuntimeError, RuntimeError, "failed"), (KeyboardInterrupt, SystemExit, "stopped")],
)
@pytest.mark.parametrize("at", [0, 7])
def test_an_error_in_the_training_ends_the_run(store, make_trainer, error, raised, status, at):
    logger = LightningLogger(store, family="tiny", run_id="a")
    trainer = make_trainer(logger, limit_val_batches=0, **BY_EPOCH)
    with pytest.raises(raised):
        trainer.fit(Module(breaks_at=at, error=error), loader())
    assert row_of(store, "a")["status"] == status
    assert row_of(store, "a")["n_records"] == at


def test_a_training_resumed_from_a_checkpoint_goes_on_in_its_run(store, make_trainer, tmp_path):
    saving = pl.callbacks.ModelCheckpoint(dirpath=tmp_path / "ck", every_n_train_steps=10)
    logger = LightningLogger(store, family="tiny", run_id="a")
    options = {"limit_val_batches": 0} | BY_EPOCH
    with pytest.raises(RuntimeError):
        make_trainer(logger, callbacks=[saving], **options).fit(Module(breaks_at=14), loader())
    assert store.last_step("a") == 13
    again = LightningLogger(store, family="tiny", run_id="a")
    module = Module()
    make_trainer(again, **options).fit(module, loader(), ckpt_path=saving.best_model_path)
    runs = store.runs()
    train = runs["train_loss"].to_numpy()
    assert runs["status"].item() == "done"
    assert runs["step"].to_numpy()[~np.isnan(train)].tolist() == list(range(20))
    assert min(module.seen) == 10
    assert train[~np.isnan(train)][10:] == pytest.approx(list(module.seen.values()))


def test_validate_and_test_are_no_part_of_the_curve(store, make_trainer):
    logger = LightningLogger(store, family="tiny", run_id="a")
    trainer, module = make_trainer(logger), Module()
    with pytest.warns(CollapseWarning, match="no part of a curve"):
        trainer.validate(module, loader(), verbose=False)
    assert len(store.table()) == 0
    trainer.fit(module, loader())
    trainer.test(module, loader(), verbose=False)  # said once
    assert row_of(store, "a")["status"] == "done"
    records = row_of(store, "a")["n_records"]
    make_trainer(logger).fit(module, loader())
    assert logger.version == "a-2"
    assert row_of(store, "a-2")["status"] == "done"
    assert row_of(store, "a")["n_records"] == records


def test_a_training_stopped_early_is_stopped(store, make_trainer):
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            trainer.should_stop = trainer.global_step == 6

    logger = LightningLogger(store, family="tiny", run_id="a")
    make_trainer(logger, callbacks=[Stop()]).fit(Module(), loader())
    assert row_of(store, "a")["status"] == "stopped"


def test_metrics_can_be_named(store, make_trainer):
    class Odd(Module):
        def training_step(self, batch, i):
            loss = self.loss(batch)
            self.log_dict({"ce": loss, "seed": 3.0})
            return loss

    logger = LightningLogger(store, family="tiny", run_id="a", columns={"ce": "train_loss"})
    make_trainer(logger, max_steps=3).fit(Odd(), loader())
    runs = store.runs()
    assert np.isfinite(runs["train_loss"]).all()
    assert runs["logged_seed"].to_numpy().tolist() == [3, 3, 3]

"""The callbacks load the library they serve, and only that, when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import workbench as wb
from workbench import callbacks
from workbench.callbacks import guest
from workbench.errors import DataError

LIBRARIES = ("transformers", "lightning", "pytorch_lightning", "torch")


@pytest.mark.parametrize(
    "statement", ["import workbench.callbacks", "import workbench as wb; wb.callbacks"]
)
def test_the_room_itself_is_light(statement):
    code = f"{statement}\nimport sys\nprint([m for m in {LIBRARIES} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "missing", "home"),
    [
        ("HFCallback", ["transformers"], "huggingface"),
        ("LightningLogger", ["lightning", "lightning.pytorch", "pytorch_lightning"], "lightning"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, name, missing, home):
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    for module in [m for m in sys.modules if m.startswith("lightning.pytorch.")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"workbench.callbacks.{home}", raising=False)
    monkeypatch.delitem(vars(callbacks), name, raising=False)
    with pytest.raises(DataError, match=f"{name} needs {missing[0]}, which is not installed"):
        getattr(callbacks, name)


def test_other_names_are_no_callbacks():
    assert wb.callbacks is callbacks
    assert dir(callbacks) == ["HFCallback", "HFWatch", "LightningLogger", "LightningWatch"]
    with pytest.raises(AttributeError, match="no attribute 'KerasCallback'"):
        _ = callbacks.KerasCallback


def test_metrics_are_logged_under_names_that_can_be():
    given = {
        "loss": 2,
        "train_loss": 1.0,
        "val_loss": "0.5",
        "note": "text",
        "seed": 3,
        "status": 4.0,
        "step": 7,
        "none": None,
    }
    assert guest.columns(given) == {
        "train_loss": 1.0,
        "logged_loss": 2.0,
        "eval_loss": 0.5,
        "logged_seed": 3.0,
        "logged_status": 4.0,
    }


def test_what_was_found_is_brought_to_what_the_store_takes():
    found = {
        "lr": 0.1,
        "rank": 8,
        "tokens": 5,
        "schedule": "cosine",
        "tau": "auto",
        "run_id": "x",
        "none": None,
        "nan": float("nan"),
        "list": [1],
        "flag": True,
    }
    assert guest.attributes(found) == {
        "peak_lr": 0.1,
        "config_rank": 8.0,
        "config_tokens": 5.0,
        "schedule": "cosine",
        "config_run_id": "x",
        "flag": 1.0,
    }

"""Values of tensors: what they were when they were logged, read when they are written."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from workbench.errors import ArgumentError
from workbench.store import Recorder, scalars

torch = pytest.importorskip("torch")


@pytest.fixture(params=["at hand", "held"])
def way(request, monkeypatch):
    """Both ways a tensor can go; on a machine without an accelerator the second is forced."""
    if request.param == "held":
        monkeypatch.setattr(scalars, "_is_at_hand", lambda tensor: False)
    return request.param


def logged(store, *values):
    with Recorder(store, family="f", run_id="a") as rec:
        for step, value in enumerate(values):
            rec.log(step, train_loss=value)
    return store.runs()["train_loss"].to_numpy().tolist()


def test_changing_a_tensor_in_place_does_not_change_what_was_logged(store, way):
    loss = torch.tensor(5.0)
    with Recorder(store, family="f", run_id="a") as rec:
        for step in range(5):
            rec.log(step, train_loss=loss, grad_norm=2 * loss)
            if step == 2:
                rec.flush()
            loss -= 1
    runs = store.runs()
    assert runs["train_loss"].to_numpy().tolist() == [5, 4, 3, 2, 1]
    assert runs["grad_norm"].to_numpy().tolist() == [10, 8, 6, 4, 2]


def test_every_kind_of_one_number_is_taken_exactly(store, way):
    third = torch.tensor(1 / 3, dtype=torch.float64)
    values = [
        third,
        third.float(),
        third.to(torch.bfloat16),
        torch.tensor([[7]]),
        torch.tensor(True),
        torch.nn.Parameter(torch.tensor([2.5])),
        np.float32(0.1),
        3,
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = [1 / 3, float(third.float()), 0.333984375, 7, 1, 2.5, float(np.float32(0.1)), 3]
        assert logged(store, *values) == expected


@pytest.mark.parametrize("value", [torch.ones(2), torch.ones(0), torch.tensor(1j)])
def test_what_is_not_one_number_fails_at_the_call(store, way, value):
    with Recorder(store, family="f") as rec, pytest.raises(ArgumentError, match="must be numbers"):
        rec.log(0, train_loss=value)


def test_a_value_does_not_keep_the_graph_alive(way):
    weight = torch.ones((), requires_grad=True)
    held = scalars.hold(weight * 2)
    assert isinstance(held, float) == (way == "at hand")
    assert isinstance(held, float) or not held.tensor.requires_grad


def test_values_a_device_no_longer_gives_are_counted_and_the_others_kept(store, monkeypatch):
    monkeypatch.setattr(scalars, "_is_at_hand", lambda tensor: False)
    monkeypatch.setattr(scalars, "_read", lambda held: None)
    rec = Recorder(store, family="f", run_id="a")
    rec.log(0, train_loss=1.0, grad_norm=torch.tensor(2.0))
    rec.flush()
    assert rec.lost == 1
    assert "grad_norm" not in store.runs()
    rec.log(1, train_loss=0.5)
    with pytest.raises(ValueError, match="1 point of it"):
        rec.close()
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0, 0.5]


@pytest.mark.gpu
def test_logging_does_not_wait_for_the_device(store):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    side = torch.cuda.Stream()
    with Recorder(store, family="f", run_id="a") as rec:
        loss = torch.tensor(1.0, device="cuda")
        with torch.cuda.stream(side):
            torch.cuda._sleep(2_000_000_000)
            busy = torch.cuda.Event()
            loss = loss + 1
            rec.log(0, train_loss=loss)
            busy.record()
            assert not busy.query()  # the device is still at it
            loss.zero_()
    assert store.runs()["train_loss"].to_numpy().tolist() == [2.0]

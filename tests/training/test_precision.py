from __future__ import annotations

import pytest
import torch

from workbench.errors import CollapseWarning
from workbench.training import ModelShape
from workbench.training import precision as precision_module
from workbench.training.precision import warn_where_slow

CPU = torch.device("cpu")


def gradient(precision):
    generator = torch.Generator().manual_seed(0)
    model = ModelShape(width=32).row_model()
    weights = model.initial_rows([0, 1])
    weights += 0.05 * torch.randn(weights.shape, generator=generator)
    inputs, targets = torch.randint(0, 128, (2, 2, 8, 32), generator=generator)
    given = weights.to(precision_module.DTYPES[precision]).requires_grad_()
    losses = model.row_losses(given, inputs, targets)
    assert losses.dtype == torch.float32
    return losses.detach(), torch.autograd.grad(losses.sum(), given)[0].float()


def test_bfloat16_rounds_and_nothing_more():
    (exact, exact_gradient), (rounded, rounded_gradient) = map(gradient, ("float32", "bfloat16"))
    torch.testing.assert_close(rounded, exact, rtol=2e-3, atol=0)
    error = (rounded_gradient - exact_gradient).norm(dim=1) / exact_gradient.norm(dim=1)
    assert (error < 0.02).all()
    assert (error > 0.001).all()  # it did compute in another precision


def test_slow_hardware_is_said(monkeypatch):
    monkeypatch.setattr(
        precision_module, "_seconds", lambda dtype: 3.0 if dtype == torch.bfloat16 else 1.0
    )
    with pytest.warns(CollapseWarning, match=r"bfloat16 products take 3\.0 times as long"):
        warn_where_slow("bfloat16", CPU)
    warn_where_slow("float32", CPU)


def test_fast_hardware_is_not(monkeypatch):
    monkeypatch.setattr(
        precision_module, "_seconds", lambda dtype: 0.3 if dtype == torch.bfloat16 else 1.0
    )
    warn_where_slow("bfloat16", CPU)


def test_products_are_timed():
    assert 0 < precision_module._seconds(torch.float32) < 10

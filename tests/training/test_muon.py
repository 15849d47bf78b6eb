from __future__ import annotations

import pytest
import torch

from workbench.training import ModelShape
from workbench.training.muon import RowMuon, orthogonalised
from workbench.training.optimizer import RowAdamW
from workbench.training.row_model import normal_rows
from workbench.training.spec import Optimizer


@pytest.mark.parametrize("shape", [(24, 24), (16, 64), (64, 16)])
def test_singular_values_become_about_one_and_vectors_stay(shape):
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, *shape, generator=generator)
    result = orthogonalised(matrices)
    values = torch.linalg.svdvals(result)
    assert values.max() < 1.3
    assert (values > 0.6).float().mean() > 0.9  # the smallest of a square matrix start near 0
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    inside = left.transpose(1, 2) @ result @ right.transpose(1, 2)
    outside = inside - torch.diag_embed(torch.diagonal(inside, dim1=1, dim2=2))
    assert outside.abs().max() < 1e-3


def test_a_zero_gradient_gives_no_update():
    assert (orthogonalised(torch.zeros(2, 8, 8)) == 0).all()


def one_step(rule, width, gradient_of=torch.randn):
    shape = ModelShape(width=width, vocab=32, context=16)
    weights = normal_rows(shape.parameters, [0])
    before = weights.clone()
    torch.manual_seed(0)
    gradient = gradient_of(1, shape.model_size)
    rate, decay = torch.tensor([0.01]), torch.tensor([0.0])
    optimizer = rule(weights, shape.parameters, settings=Optimizer())
    optimizer.step(slice(0, 1), gradient, step=1, learning_rate=rate, decay=decay)
    moved = torch.split(weights - before, [p.size for p in shape.parameters], dim=1)
    return dict(zip((p.name for p in shape.parameters), moved, strict=True)), shape


def test_embedding_and_readout_move_as_under_adamw():
    muon, shape = one_step(RowMuon, 32)
    adamw, _ = one_step(RowAdamW, 32)
    for parameter in shape.parameters:
        same = torch.equal(muon[parameter.name], adamw[parameter.name])
        assert same == (parameter.group != "hidden")


def test_entries_move_about_as_far_as_the_learning_rate_says():
    moved, _ = one_step(RowMuon, 32)
    rms = moved["0.attention_out"].square().mean().sqrt().item()
    assert rms == pytest.approx(0.2 * 0.01, rel=0.25)


@pytest.mark.parametrize("name", ["0.qkv", "0.attention_out", "0.down"])
def test_updates_have_the_same_spectral_norm_at_every_width(name):
    norms = []
    for width in (16, 32, 64):
        moved, shape = one_step(RowMuon, width)
        parameter = next(p for p in shape.parameters if p.name == name)
        norms.append(torch.linalg.matrix_norm(moved[name].view(parameter.shape), ord=2).item())
    assert max(norms) / min(norms) < 1.25

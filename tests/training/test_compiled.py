"""Compiled kernels compute what torch does, row by row, or say why they cannot."""

from __future__ import annotations

import platform
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench.errors import CollapseWarning, DataError
from workbench.training import MarkovLanguage, ModelShape, RunPlan, kernels
from workbench.training.compiled import CompiledTransformer
from workbench.training.engine import RowBatch
from workbench.training.optimizer import RowAdamW
from workbench.training.spec import Compute, Evaluation, Optimizer
from workbench.training.tasks import MarkovTask

needs_compiler = pytest.mark.skipif(
    not (shutil.which("c++") or shutil.which("g++")), reason="there is no C++ compiler"
)
pytestmark = pytest.mark.filterwarnings("ignore:bfloat16 products take")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Keep what is built in this module to this module."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.delenv("CXX", raising=False)
        kernels.load_kernels.cache_clear()
        yield folder / "collapse-workbench" / "kernels"
    kernels.load_kernels.cache_clear()


@pytest.fixture(scope="module")
def task():
    return MarkovTask(MarkovLanguage(vocab=32), context=16)


def shape_of(**changes) -> ModelShape:
    return ModelShape(**({"width": 16, "vocab": 32, "context": 16} | changes))


def example(shape, rows=3, sequences=4):
    generator = torch.Generator().manual_seed(0)
    weights = shape.row_model().initial_rows(range(rows))
    weights += 0.1 * torch.randn(weights.shape, generator=generator)
    size = (2, rows, sequences, shape.context)
    inputs, targets = torch.randint(0, shape.vocab, size, generator=generator)
    return weights, inputs, targets


def by_autograd(shape, weights, inputs, targets):
    given = weights.clone().requires_grad_()
    losses = shape.row_model().row_losses(given, inputs, targets)
    return losses.detach(), torch.autograd.grad(losses.sum(), given)[0]


def errors(shape, found, expected):
    """Relative error of the gradient of every parameter."""
    sizes = [p.size for p in shape.parameters]
    pairs = zip(found.float().split(sizes, 1), expected.split(sizes, 1), strict=True)
    return [float((a - b).norm() / b.norm()) for a, b in pairs]


UNLIKE = [{}, {"width": 24}, {"width": 32, "head_size": 16, "depth": 3, "context": 32}]


@needs_compiler
@pytest.mark.parametrize("changes", UNLIKE)
def test_gradients_are_those_of_autograd(changes):
    shape = shape_of(**changes)
    given = example(shape)
    losses, gradient = CompiledTransformer(shape, precision="float32")(*given)
    expected_losses, expected = by_autograd(shape, *given)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-6, atol=0)
    assert max(errors(shape, gradient, expected)) < 3e-6


@needs_compiler
@pytest.mark.parametrize("changes", UNLIKE[:2])
def test_bfloat16_gradients_are_rounded_ones(changes):
    shape = shape_of(**changes)
    given = example(shape)
    losses, gradient = CompiledTransformer(shape, precision="bfloat16")(*given)
    expected_losses, expected = by_autograd(shape, *given)
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(losses, expected_losses, rtol=2e-3, atol=0)
    assert 1e-3 < max(errors(shape, gradient, expected)) < 0.03


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flag is one of x86-64")
def test_processors_without_wide_vectors_compute_the_same(monkeypatch):
    plain = tuple("-march=x86-64-v2" if f == "-march=native" else f for f in kernels._FLAGS)
    monkeypatch.setattr(kernels, "_FLAGS", plain)
    kernels.load_kernels.cache_clear()
    shape = shape_of()
    given = example(shape)
    _, gradient = CompiledTransformer(shape, precision="float32")(*given)
    assert max(errors(shape, gradient, by_autograd(shape, *given)[1])) < 3e-6
    kernels.load_kernels.cache_clear()


@needs_compiler
def test_one_adamw_pass_equals_torch(task):
    shape = shape_of()
    compiled = CompiledTransformer(shape, precision="float32")
    settings = Optimizer(epsilon=1e-8)
    start = example(shape)[0]
    slow, fused = (RowAdamW(start.clone(), shape.parameters, settings=settings) for _ in range(2))
    fused.fused = compiled.adamw
    rate, decay = torch.tensor([0.01, 0.02]), torch.tensor([0.001, 0.0])
    for step in (1, 2, 3):
        gradient = torch.randn(2, shape.model_size)
        for optimizer in (slow, fused):
            optimizer.step(slice(1, 3), gradient, step=step, learning_rate=rate, decay=decay)
    for name, expected in slow.tensors.items():
        torch.testing.assert_close(fused.tensors[name], expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fused.weights[0], start[0], rtol=0, atol=0)


def plan(number: int, **changes) -> RunPlan:
    base = RunPlan(
        run_id=f"run{number}",
        shape=shape_of(),
        sequences=4,
        total_steps=20,
        tau=0.3,
        tpp=20,
        base_lr=0.016,
        schedule="linear",
        warmup_fraction=0.1,
        decay_fraction=0.9,
        final_lr_fraction=0.0,
        seed=number,
        data_seed=number,
    )
    return replace(base, **changes)


def train(plans, task, **settings):
    evaluation = Evaluation(points=2, sequences=16)
    batch = RowBatch(plans, task, evaluation=evaluation, **settings)
    records = []
    while batch.active:
        records.append(batch.advance())
    fields = ("train_loss", "eval_loss", "gradient_norm")
    return np.stack([[getattr(record, name) for name in fields] for record in records])


@needs_compiler
@pytest.mark.parametrize("width", [16, 24])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_row_is_the_same_run_alone_bit_for_bit(task, width, precision):
    compute = Compute(precision=precision, kernels="compiled")
    plans = [
        plan(0, total_steps=17, tau=0.1),
        plan(1, schedule="wsd", decay_fraction=0.2),
        plan(2, data_seed=0, schedule="constant", decay_fraction=0.0, base_lr=0.004, total_steps=9),
        plan(3),
    ]
    plans = [replace(p, shape=shape_of(width=width)) for p in plans]
    found = [train(plans, task, compute=compute, chunk_tokens=n) for n in (64, 128, 4096)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    for run, own in enumerate(plans):
        alone = train([own], task, compute=compute)
        np.testing.assert_array_equal(found[0][: own.total_steps, :, run], alone[:, :, 0])


@needs_compiler
def test_training_is_that_of_torch_to_rounding(task):
    plans = [plan(0), plan(1)]
    exact = train(plans, task, optimizer=Optimizer(clip_norm=0.5))
    compiled = train(
        plans, task, optimizer=Optimizer(clip_norm=0.5), compute=Compute(kernels="compiled")
    )
    np.testing.assert_allclose(compiled, exact, rtol=2e-3)
    assert (compiled[5:] != exact[5:]).any()


@needs_compiler
def test_a_state_goes_on_with_its_own_kernels_only(task):
    compute = Compute(kernels="compiled")
    first = RowBatch([plan(0)], task, compute=compute)
    first.advance()
    second = RowBatch([plan(0)], task, compute=compute)
    second.restore(first.state())
    assert second.advance().train_loss == first.advance().train_loss
    with pytest.raises(DataError, match="by adamw, float32, compiled kernels, these runs by adamw"):
        RowBatch([plan(0)], task).restore(first.state())


@needs_compiler
def test_nan_stays_nan_and_in_its_row():
    shape = shape_of()
    weights, inputs, targets = example(shape)
    compiled = CompiledTransformer(shape, precision="float32")
    usual = [held.clone() for held in compiled(weights, inputs, targets)]
    for parameter in ("qkv", "up", "readout"):
        broken = weights.clone()
        start = 0
        for p in shape.parameters:
            if p.name.endswith(parameter):
                broken[1, start] = float("nan")
            start += p.size
        losses, gradient = compiled(broken, inputs, targets)
        assert torch.isnan(losses[1]), parameter
        assert torch.isnan(gradient[1]).any()
        for row in (0, 2):
            assert losses[row] == usual[0][row]
            assert torch.equal(gradient[row], usual[1][row])


@needs_compiler
def test_tokens_outside_the_vocabulary_are_refused():
    shape = shape_of()
    weights, inputs, targets = example(shape)
    compiled = CompiledTransformer(shape, precision="float32")
    targets[0, 0, 3] = 32
    with pytest.raises(DataError, match="Tokens run from 0 to 32, the model has 32"):
        compiled(weights, inputs, targets)
    with pytest.raises(DataError, match="16 positions were expected"):
        compiled(weights, inputs[..., :8], targets[..., :8])


@needs_compiler
def test_what_was_built_is_found_again(cache, monkeypatch):
    shape = shape_of(width=8)
    CompiledTransformer(shape, precision="float32")
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert before
    kernels.load_kernels.cache_clear()
    monkeypatch.setattr(kernels, "_compile", None)  # calling it would fail
    CompiledTransformer(shape, precision="float32")
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before


@pytest.mark.parametrize(
    ("compiler", "why"),
    [("", "no C\\+\\+ compiler was found"), ("/bin/false", "/bin/false failed")],
)
def test_without_a_compiler_torch_computes_and_that_is_said(task, monkeypatch, compiler, why):
    kernels.load_kernels.cache_clear()
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    plans = [plan(0, total_steps=4)]
    with pytest.warns(CollapseWarning, match=f"Compiled kernels are not used: {why}"):
        found = train(plans, task, compute=Compute(kernels="compiled"))
    np.testing.assert_array_equal(found, train(plans, task))
    kernels.load_kernels.cache_clear()


def test_shapes_without_kernels_are_said(task):
    shape = shape_of(width=12, head_size=12)
    with pytest.warns(CollapseWarning, match="found 12, 12, 16, 32"):
        train([plan(0, shape=shape, total_steps=3)], task, compute=Compute(kernels="compiled"))

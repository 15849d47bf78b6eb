"""Golden A10: activations move as far in a wide or deep model as in a small one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.errors import ArgumentError
from workbench.training import MarkovLanguage, ModelShape
from workbench.training.coordinates import COORDINATES, CoordinateCheck, coordinate_check
from workbench.training.tasks import MarkovTask

SIZES = {"width": (32, 64, 128), "depth": (4, 8, 16)}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task():
    return MarkovTask(MarkovLanguage(), context=32)


def check(task, axis, rule, **settings):
    fixed = {"width": 32} if axis == "depth" else {}
    shapes = [ModelShape(**fixed, **{axis: s}, parameterisation=rule) for s in SIZES[axis]]
    return coordinate_check(shapes, task, seeds=(0, 1), **settings)


@pytest.mark.parametrize("axis", ["width", "depth"])
def test_completep_is_flat(task, axis):
    found = check(task, axis, "completep")
    assert found.axis == axis
    assert found.sizes == SIZES[axis]
    for name, slope in found.slopes.items():
        assert abs(slope) < 0.1, name


def test_plain_mup_is_not_flat_in_depth(task):
    assert check(task, "depth", "mup").slopes["residual"] > 0.5


def test_one_rate_for_all_widths_is_not_flat(task):
    slopes = check(task, "width", "standard").slopes
    assert slopes["attention"] > 0.5
    assert slopes["logits"] > 0.3


def test_slopes_are_those_of_a_power_law():
    sizes = np.array([2, 4, 16])
    exponents = np.linspace(-1, 1, 2 * len(COORDINATES)).reshape(-1, 2)
    change = 3 * sizes[None, :, None] ** exponents[:, None, :]
    found = CoordinateCheck("depth", (2, 4, 16), change)
    np.testing.assert_allclose(list(found.slopes.values()), exponents.mean(1), atol=1e-12)
    expected = np.abs(exponents[:, 1] - exponents[:, 0]) / 2
    np.testing.assert_allclose(list(found.standard_errors.values()), expected, atol=1e-12)


def test_what_cannot_be_checked_is_said(task):
    shape = ModelShape(width=32)
    both = [shape, ModelShape(width=64, depth=4)]
    with pytest.raises(ArgumentError, match="found neither varied"):
        coordinate_check([shape], task)
    with pytest.raises(ArgumentError, match="found width and depth varied"):
        coordinate_check(both, task)
    with pytest.raises(ArgumentError, match="1 seeds"):
        coordinate_check([shape, ModelShape(width=64)], task, seeds=(0,))

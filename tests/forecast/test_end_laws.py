"""Final losses by groups of runs that share their controls and learning rate."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.forecast.end_laws import end_laws
from workbench.laws import PFLOP
from workbench.laws.extrapolation import extrapolate_power_law
from workbench.recipes import NamedSchedule

LINEAR = NamedSchedule("linear", 0.0).factors(256)


def test_a_group_has_the_power_law_through_its_sizes(make_family):
    runs = make_family(seeds=(0, 1), noise=0.002)
    (law,) = end_laws(runs)
    sizes = np.array([1e6, 2e6, 4e6, 8e6])
    ends = runs["eval_loss"].to_numpy().reshape(4, 2, -1)[:, :, -1].mean(1)
    compute = 6 * 20 * sizes**2 / PFLOP
    expected = extrapolate_power_law(compute, ends, at=100.0)
    found = law.band.at(100.0)
    assert found.loss.estimate == pytest.approx(expected.loss.estimate, rel=1e-6)
    assert found.loss.lower <= found.loss.estimate <= found.loss.upper
    assert (law.n_runs, law.tpp_range, law.tau) == (8, (20, 20), pytest.approx(0.2))


def test_a_law_holds_near_its_controls_and_its_learning_rate(make_family):
    (law,) = end_laws(make_family())
    assert law.holds_at(tau=0.25, tpp=20.5, lr_factor=LINEAR)
    assert not law.holds_at(tau=0.35, tpp=20, lr_factor=LINEAR)
    assert not law.holds_at(tau=0.2, tpp=22, lr_factor=LINEAR)
    cosine = NamedSchedule("cosine", 0.0).factors(256)
    assert not law.holds_at(tau=0.2, tpp=20, lr_factor=cosine)


def test_other_decays_of_one_name_are_other_groups(make_family):
    runs = make_family(
        seeds=(0, 1), schedule="wsd", decay_fraction=np.tile([0.1, 0.5], 4), warmup_fraction=0.0
    )
    laws = end_laws(runs)
    assert [law.n_runs for law in laws] == [4, 4]


def test_two_sizes_make_no_law(make_family):
    assert end_laws(make_family(sizes=(1e6, 2e6))) == ()

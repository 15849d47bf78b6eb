from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import ArgumentError, DataError
from workbench.laws import fit_isoflop


def slices(*, alpha, beta, off=1.0, width=10.0, noise=0.0, rng=0):
    """Noise-free slices of equal compute around `off` times their optimal size."""
    best = (alpha * 400 / (beta * 2000)) ** (1 / (alpha + beta))
    compute = np.repeat(np.geomspace(1e18, 1e21, 6), 9)
    n = best * (compute / 6) ** (beta / (alpha + beta)) * off
    n = n * np.tile(np.geomspace(1 / width, width, 9), 6)
    d = compute / 6 / n
    loss = 1.8 + 400 * n**-alpha + 2000 * d**-beta
    return n, d, loss * np.exp(noise * np.random.default_rng(rng).standard_normal(len(n)))


def test_equal_exponents_and_centred_slices_have_no_bias():
    fit = fit_isoflop(*slices(alpha=0.34, beta=0.34))
    assert fit.exponent.estimate == pytest.approx(0.5, abs=1e-6)
    assert fit.bias == pytest.approx(0, abs=1e-4)
    assert fit.warnings == ()
    assert fit.n_points == 6


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.25), (0.25, 0.5)])
def test_unequal_exponents_bias_the_size_and_that_is_said(alpha, beta):
    n, d, loss = slices(alpha=alpha, beta=beta)
    fit = fit_isoflop(n, d, loss)
    off = next(iter(fit.off_at.values()))
    truth = (alpha * 400 / (beta * 2000)) ** (1 / (alpha + beta)) * (
        fit.slices["compute"].to_numpy()[-1] / 6
    ) ** (beta / (alpha + beta))
    claimed = fit.slices["model_size"].to_numpy()[-1]
    assert off == pytest.approx(claimed / truth - 1, abs=0.02)
    assert abs(off) > 0.05
    assert "Parabolas are biased" in fit.warnings[0]
    narrow = fit_isoflop(*slices(alpha=alpha, beta=beta, width=2.0))
    assert abs(next(iter(narrow.off_at.values()))) < abs(off) / 4


def test_noise_does_not_change_the_stated_bias_much():
    clean = fit_isoflop(*slices(alpha=0.5, beta=0.25))
    noisy = fit_isoflop(*slices(alpha=0.5, beta=0.25, noise=1e-3))
    one, two = (next(iter(fit.off_at.values())) for fit in (clean, noisy))
    assert two == pytest.approx(one, abs=0.05)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    held = 0
    for rng in range(60):
        found = fit_isoflop(*slices(alpha=0.34, beta=0.34, noise=2e-3, rng=rng)).exponent
        held += found.lower <= 0.5 <= found.upper
    assert held >= 54


def test_bad_requests_are_refused():
    n, d, loss = slices(alpha=0.34, beta=0.34)
    with pytest.raises(ArgumentError, match="tolerance"):
        fit_isoflop(n, d, loss, tolerance=0)
    with pytest.raises(DataError, match="slices of equal compute"):
        fit_isoflop(n[:18], d[:18], loss[:18])


def test_public_table_agrees_with_its_surface(shared_table):
    table = shared_table("chinchilla_digitised")
    fit = fit_isoflop(table["n_params"], table["tokens"], table["loss"])
    assert fit.n_points >= 9
    surface = fit.surface.optimal_exponent.estimate
    assert fit.exponent.lower <= surface <= fit.exponent.upper
    assert abs(fit.bias) < 0.02

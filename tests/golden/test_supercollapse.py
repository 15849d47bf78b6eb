"""Numbers behind Qiu et al. 2025 (arXiv:2507.02119), computed independently from its public logs.

The paper prints figures; the tables here were made from the same curves by other code, with L0 as
the authors stored it, ddof 0 and a grid of 1000 points.
"""

from __future__ import annotations

import numpy as np
import pytest

from workbench.collapse import crossing, deviation, noise_floor, normalize, seed_cells
from workbench.curves import on_progress
from workbench.laws.kernels_frontier import power_line
from workbench.recipes import NamedSchedule

STORED_FLOOR = {"qiu_c5m": 3.132387, "qiu_mlp": 0.0013265}
WINDOWS = ((0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.99))


@pytest.fixture(scope="module", params=STORED_FLOOR)
def ladder(request, shared_curves):
    """Return name, curves and stored L0 of a public ladder with five seeds of eight sizes."""
    curves = on_progress(shared_curves(request.param), loss="eval_loss", points=1000)
    return request.param, curves, STORED_FLOOR[request.param]


def windowed(values, windows=WINDOWS):
    x = values["progress"].to_numpy()
    return [float(values[(x >= low) & (x < high)].mean()) for low, high in windows]


def ratio(curves, offset):
    return deviation(normalize(curves, offset=offset)) / noise_floor(curves, offset=offset)


def noise_of_each_size(curves, offset):
    return [noise_floor(curves, offset=offset, cells=[rows]) for rows in seed_cells(curves)]


@pytest.mark.parametrize(("ddof", "onset"), [(0, (0.199, 0.775)), (1, (0.145, 0.750))])
def test_onset_of_supercollapse(ladder, ddof, onset):
    """With ddof 1 each sd grows by √(n/(n − 1)): 40 runs in Δ, 5 seeds in σ."""
    name, curves, floor = ladder
    delta, sigma = deviation(normalize(curves, offset=floor)), noise_floor(curves, offset=floor)
    grown = (np.sqrt(40 / 39), np.sqrt(5 / 4)) if ddof else (1.0, 1.0)
    found = crossing(delta * grown[0], sigma * grown[1])
    assert found == pytest.approx(onset[name == "qiu_mlp"], abs=1e-3)


def test_onset_against_every_size(ladder):
    name, curves, floor = ladder
    delta = deviation(normalize(curves, offset=floor))
    smallest = np.minimum.reduce(noise_of_each_size(curves, floor))
    found = crossing(delta, delta.copy(data=smallest))
    assert found == pytest.approx({"qiu_c5m": 0.541, "qiu_mlp": 0.897}[name], abs=1e-3)


def test_number_of_sizes_above_the_deviation(ladder):
    name, curves, floor = ladder
    delta = deviation(normalize(curves, offset=floor))
    at = {"progress": [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9], "method": "nearest"}
    below = [delta.sel(**at) < sigma.sel(**at) for sigma in noise_of_each_size(curves, floor)]
    expected = {"qiu_c5m": [0, 1, 4, 7, 8, 8, 8], "qiu_mlp": [0, 0, 0, 2, 1, 2, 8]}[name]
    assert np.sum(below, axis=0).tolist() == expected


def test_deviation_over_noise_with_and_without_the_floor(ladder):
    name, curves, floor = ladder
    with_floor, without, onset = {
        "qiu_c5m": ((0.86, 0.54, 0.36, 0.22, 0.08), (9.5, 6.1, 4.0, 1.9, 0.49), 0.891),
        "qiu_mlp": ((2.14, 1.83, 1.32, 0.75, 0.30), (2.58, 1.47, 1.06, 0.63, 0.29), 0.731),
    }[name]
    np.testing.assert_allclose(windowed(ratio(curves, floor)), with_floor, atol=0.01)
    np.testing.assert_allclose(windowed(ratio(curves, 0.0)), without, rtol=0.026)  # two digits
    plain = deviation(normalize(curves, offset=0.0))
    assert crossing(plain, noise_floor(curves, offset=0.0)) == pytest.approx(onset, abs=1e-3)


def test_spread_over_excess_tells_offsets_apart_where_deviation_does_not(shared_curves):
    curves = on_progress(shared_curves("qiu_c5m"), loss="eval_loss", points=1000)
    floor = STORED_FLOOR["qiu_c5m"]
    half = {"progress": 0.5, "method": "nearest"}
    found = {}
    for offset in (floor, 0.0):
        ell = normalize(curves, offset=offset)
        excess = ell.std("run") / (ell.mean("run") - 1)
        found[offset] = (windowed(excess, WINDOWS[2:3])[0], float(deviation(ell).sel(**half)))
    assert found[floor][0] == pytest.approx(0.0197, rel=5e-3)
    assert found[0.0][0] == pytest.approx(0.224, rel=5e-3)
    assert found[floor][1] == pytest.approx(3.2e-3, rel=0.02)
    assert found[0.0][1] == pytest.approx(0.62e-3, rel=0.02)


def test_spread_closes_with_half_the_power_the_tail_law_says(ladder):
    """Δ ∝ √(η(1 − τ̂)), (1 − x)^1.5 under linear decay, would be slope 1 (section 3.3)."""
    name, curves, floor = ladder
    ell = normalize(curves, offset=floor)
    x = ell["progress"].to_numpy()
    inside = (x >= 0.3 - 1e-9) & (x <= 0.98 + 1e-9)
    law = 1.5 * np.log(1 - x[inside])
    own = [deviation(ell.isel(run=rows)) ** 2 for rows in seed_cells(curves)]
    slopes = [
        np.polyfit(law, np.log(values.to_numpy()[inside]), 1)[0]
        for values in (deviation(ell), np.sqrt(sum(own) / len(own)))
    ]
    # The second digit of the regression task moves with the grid.
    published = {"qiu_c5m": (0.51, 0.59), "qiu_mlp": (0.48, 0.39)}[name]
    np.testing.assert_allclose(slopes, published, atol=0.005 if name == "qiu_c5m" else 0.05)


def test_without_decay_the_spread_stays_open(shared_curves):
    """Δ of the constant over Δ of the linear ladder of the regression task, one seed each."""
    windows = ((0.05, 0.1), *WINDOWS)
    long = shared_curves("qiu_mlp_const")
    horizon = 1e15 * long["horizon_compute_pflop"] / (6 * long["model_size"])
    constant = long.assign_coords(tokens_total=("run", horizon.to_numpy()))
    linear = shared_curves("qiu_mlp")
    means = []
    for runs, floor in ((constant, 0.0), (linear, STORED_FLOOR["qiu_mlp"])):
        curves = on_progress(runs, loss="eval_loss", points=1000)
        one = curves.isel(run=np.flatnonzero(curves["seed"].to_numpy() == 0))
        means.append(windowed(deviation(normalize(one, offset=floor)), windows))
    found = np.divide(*means)
    np.testing.assert_allclose(found, [1.41, 1.45, 1.16, 1.20, 2.02, 4.8], rtol=0.005)


@pytest.mark.parametrize(
    ("name", "scale", "exponent"),
    [("qiu_c5m", 489510.75, 1.912812), ("qiu_mlp", 1346251.612836, 2.040882)],
)
def test_recorded_horizons_follow_their_published_power(shared_curves, name, scale, exponent):
    runs = shared_curves(name)
    compute = 6 * runs["model_size"] * runs["tokens_total"] / 1e15
    law = (runs["model_size"] / scale) ** exponent
    np.testing.assert_allclose(law / compute, 1, atol=6e-5)  # horizons are whole steps
    found = power_line(runs["model_size"].to_numpy(), compute.to_numpy())
    assert found == (pytest.approx(scale, rel=1e-3), pytest.approx(exponent, abs=1e-4))


@pytest.mark.parametrize(
    ("course", "formula"),
    [
        (NamedSchedule("constant", 0.1), lambda s: np.ones_like(s)),
        (NamedSchedule("linear", 0.1), lambda s: 1 - s),
        (NamedSchedule("cosine", 0.1), lambda s: (1 + np.cos(np.pi * s)) / 2),
        (NamedSchedule("quadratic", 0.1), lambda s: 1 - s**2),
        (NamedSchedule("wsd", 0.1, 0.9, decay_shape="square"), lambda s: (1 - s) ** 2),
        (NamedSchedule("exponential", 0.1, final_lr_fraction=0.1), lambda s: 10.0**-s),
        (NamedSchedule("multicosine", 0.1), lambda s: (1 + np.cos(3 * np.pi * s)) / 2),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_seven_schedules(course, formula):
    x = np.linspace(0.1, 1, 91)
    np.testing.assert_allclose(course.at(x), formula((x - 0.1) / 0.9), atol=1e-12)
    np.testing.assert_allclose(course.at([0.02, 0.05]), [0.2, 0.5], atol=1e-12)

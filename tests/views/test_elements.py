"""HoloViews elements hold the library's numbers; drawn without showing anything."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import pytest

from workbench.collapse import collapse_report, residual
from workbench.curves import on_progress
from workbench.errors import DataError
from workbench.views import element_style, elements, theme


@pytest.fixture
def runs(make_family):
    return make_family(noise=0.01)


def bundles(overlay: hv.Overlay) -> list[hv.Contours]:
    return [layer for layer in overlay if isinstance(layer, hv.Contours)]


def lines(overlay: hv.Overlay) -> dict[str, np.ndarray]:
    return {
        path["run"]: path["y"]
        for bundle in bundles(overlay)
        for path in bundle.split(datatype="dictionary")
    }


def labels(overlay: hv.Overlay) -> list[str]:
    return [layer.label for layer in overlay if layer.label]


def state(overlay: hv.Overlay):
    return hv.renderer("bokeh").get_plot(overlay).state


def test_normalised_curves_are_those_of_the_report(runs):
    report = collapse_report(runs)
    drawn = lines(elements.normalised_curves(report))
    for name, row in zip(report.curves["run_id"].to_numpy(), report.curves.to_numpy(), strict=True):
        np.testing.assert_allclose(drawn[name], row, rtol=1e-6)


@pytest.mark.parametrize("x", ["progress", "tokens", "compute", "step"])
def test_raw_curves_on_every_axis(runs, x):
    curves = on_progress(runs)
    figure = state(elements.raw_curves(curves, x=x))
    assert len(lines(elements.raw_curves(curves, x=x))) == runs.sizes["run"]
    assert "[nats/token]" in figure.yaxis[0].axis_label
    assert type(figure.x_scale).__name__ == ("LinearScale" if x == "progress" else "LogScale")
    assert figure.x_range.start < figure.x_range.end


def test_a_size_keeps_its_colour_when_others_are_left_out(runs):
    curves = on_progress(runs)
    span = element_style.size_span(curves)
    sizes = np.unique(curves["model_size"].to_numpy())
    whole = element_style.size_colours(sizes, span=span)
    assert element_style.size_colours(sizes[1:3], span=span) == whole[1:3]
    assert element_style.size_colours(sizes[1:3]) != whole[1:3]
    assert element_style.size_span(curves * np.nan) == span
    nowhere = curves.assign_coords(model_size=curves["model_size"] * np.nan)
    assert element_style.size_span(nowhere) is None


@pytest.mark.parametrize("mode", theme.MODES)
def test_a_colour_and_a_legend_entry_per_size(runs, mode):
    overlay = elements.raw_curves(on_progress(runs), mode=mode)
    assert labels(overlay) == ["1M", "2M", "4M", "8M"]
    palette = theme.PALETTES[mode]["size"]
    assert element_style.size_colours(np.array([1.0, 10, 1e7]), mode=mode)[::2] == [
        palette[0],
        palette[-1],
    ]
    assert state(overlay).background_fill_color == theme.TOKENS[mode]["card"]


def test_the_legend_never_holds_more_than_eight_sizes(make_family):
    runs = make_family(sizes=tuple(1e6 * 1.2**k for k in range(30)), seeds=(0,), records=16)
    overlay = elements.raw_curves(on_progress(runs))
    assert len(bundles(overlay)) == 30
    assert len(labels(overlay)) == elements.LEGEND_ENTRIES
    assert len(state(overlay).legend[0].items) == elements.LEGEND_ENTRIES


def test_runs_without_a_size_are_drawn_too(make_family):
    runs = make_family(noise=0.01)
    size = runs["model_size"].to_numpy().copy()
    size[0] = np.nan
    overlay = elements.raw_curves(on_progress(runs.assign_coords(model_size=("run", size))))
    assert len(lines(overlay)) == runs.sizes["run"]


def test_residuals_are_means_over_the_seeds_of_a_size(runs):
    report = collapse_report(runs, offset="zero")
    drawn = [
        path["y"]
        for bundle in bundles(elements.residual_curves(report))
        for path in bundle.split(datatype="dictionary")
    ]
    sizes = report.curves["model_size"].to_numpy()
    each = residual(report.curves).to_numpy()
    means = [each[sizes == size].mean(axis=0) for size in np.unique(sizes)]
    np.testing.assert_allclose(drawn, means, atol=1e-7)


def test_deviation_panel_holds_both_and_stops_before_the_end(runs):
    report = collapse_report(runs)
    curves = {
        layer.label: layer
        for layer in elements.deviation_panel(report)
        if isinstance(layer, hv.Curve)
    }
    delta = curves["Δ, spread across runs"].dimension_values("y")
    np.testing.assert_array_equal(delta, report.deviation.to_numpy()[:-1])
    np.testing.assert_array_equal(
        curves["σ, seed noise"].dimension_values("y"), report.noise_floor.to_numpy()[:-1]
    )


def test_without_seeds_no_noise_is_drawn(make_family):
    report = collapse_report(make_family(seeds=(0,)), offset="zero")
    assert labels(elements.deviation_panel(report)) == ["Δ, spread across runs"]
    assert "± σ" not in labels(elements.residual_curves(report))


def test_power_law_passes_through_what_it_was_fitted_to(runs):
    report = collapse_report(runs)
    overlay = elements.power_law_fit(report, on_progress(runs))
    points = next(layer for layer in overlay if isinstance(layer, hv.Points))
    assert len(points) == runs.sizes["run"]
    level = next(layer for layer in overlay if isinstance(layer, hv.HLine))
    assert level.data == report.offset.fit.L0.estimate
    state(overlay)


def test_power_law_needs_a_fit(runs):
    with pytest.raises(DataError, match="was not fitted"):
        elements.power_law_fit(collapse_report(runs, offset="zero"), on_progress(runs))


def test_large_families_are_thinned_and_keep_their_end(make_family):
    runs = make_family(sizes=tuple(1e6 * 1.01**k for k in range(200)), seeds=(0, 1, 2), records=16)
    curves = on_progress(runs, points=256)
    kept = elements.thinned(curves)
    assert kept.size <= 120_000 < curves.size
    assert float(kept["progress"][-1]) == 1.0

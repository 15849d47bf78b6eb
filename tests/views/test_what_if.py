"""The What-if page: its model gives the library's numbers and says what it does not know."""

from __future__ import annotations

import numpy as np
import panel as pn
import pytest

from workbench.datasets import load_quickstart
from workbench.errors import ArgumentError
from workbench.forecast import SLIMPAJAMA_LLAMA
from workbench.laws.noisy_quadratic import noisy_quadratic
from workbench.recipes import NamedSchedule
from workbench.store import open_store
from workbench.views import WhatIf
from workbench.views.source import no_runs
from workbench.views.what_if_code import python_code
from workbench.views.what_if_model import BY_HAND, FITTED, PUBLISHED, WhatIfModel
from workbench.views.what_if_words import constants_html, mode_html

PROGRESS = np.arange(1, 257) / 256


@pytest.fixture(scope="module")
def quickstart():
    return load_quickstart()


@pytest.fixture
def model(quickstart):
    return WhatIfModel(quickstart)


def test_it_begins_at_the_largest_matched_setting(model):
    assert (model.tau_value, model.tpp, model.model_size) == (0.224, 20, 67_600)
    assert model.schedule() == NamedSchedule("linear", 0.1)
    assert model.constants == FITTED


def test_numbers_are_the_librarys(model):
    model.param.update(tau=-1.0, shape="cosine", decay=0.4, final=0.05, start=2.0, floor=0.5)
    factors = NamedSchedule("cosine", 0.1, 0.4, 0.05).factors(256)
    expected = model.data.fit.fit.predict(PROGRESS, tau=0.1, tpp=20, lr_factor=factors)
    np.testing.assert_array_equal(model.predicted()["upper"], expected["upper"])
    mode = noisy_quadratic(factors, tau=0.1, kappa=2 * 0.1 * 100, floor=1.0)
    np.testing.assert_array_equal(model.parts()["normalized_loss"], mode)


def test_final_loss_is_known_where_runs_have_the_settings(model):
    at_home = model.final_loss()
    assert at_home.loss.lower <= at_home.loss.estimate <= at_home.loss.upper
    assert at_home.beyond == pytest.approx(1, abs=0.01)
    model.size = 6.0
    assert model.final_loss().loss.estimate < at_home.loss.estimate
    model.shape = "cosine"
    assert model.final_loss() is None


def test_a_drawing_begins_from_the_schedule_that_stood_there(model):
    model.param.update(decay=0.3, final=0.2)
    before = model.factors()
    model.shape = BY_HAND
    assert model.points == "0:0 10:100 70:100 100:20"
    assert np.abs(model.factors() - before).mean() < 0.01
    model.points = "0:0 50:100 100:0"
    model.shape = "linear"
    model.shape = BY_HAND
    assert model.points == "0:0 50:100 100:0"
    model.param.update(shape="cosine", points="0:100 100:0")
    model.param.update(shape=BY_HAND, points="0:50 100:100")
    assert model.points == "0:50 100:100"
    model.points = "nonsense"
    with pytest.raises(ArgumentError, match="nonsense"):
        model.predicted()


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 5.5},
        {"size": 5.5, "constants": PUBLISHED},
        {"tau": -0.5, "horizon": 2.0, "shape": BY_HAND, "points": "0:0 30:80 100:10"},
    ],
)
def test_python_on_the_page_gives_the_same_numbers(tmp_path, quickstart, settings):
    open_store(tmp_path / "s", create=True).add_runs(quickstart, family="quickstart")
    page = WhatIf(tmp_path / "s")
    page.model.param.update(**settings)
    scope: dict[str, object] = {}
    exec(python_code(page.model, str(tmp_path / "s")), scope)
    for name in ("normalized_loss", "lower", "upper"):
        np.testing.assert_array_equal(scope["curve"][name], page.model.predicted()[name])
    np.testing.assert_array_equal(scope["mode"]["bias"], page.model.parts()["bias"])
    final = page.model.final_loss()
    assert (final is None) == ("shape" in settings)
    assert final is None or scope["loss"] == final.loss


def test_without_runs_the_published_constants_stand_in_and_it_says_so():
    page = WhatIf(no_runs())
    assert page.model.fit is SLIMPAJAMA_LLAMA
    assert "Published: 60 Llama-like runs" in page.controls._constants_text.html
    assert "No runs yet" in page._about.html
    assert "from workbench.forecast import SLIMPAJAMA_LLAMA as fit" in page._copy.html
    assert isinstance(page.__panel__(), pn.viewable.Viewable)
    assert "href" not in page.header.object


def test_runs_without_tau_are_said_not_to_move_the_curve(make_family):
    model = WhatIfModel(make_family(tau=np.nan, noise=0.01, records=80))
    assert model.data.fit.still == ("tau",)
    assert "do not record τ" in constants_html(model.data, FITTED)
    assert "were 0.2" in mode_html(model.data)
    before = model.predicted()
    model.tau = 0.0
    np.testing.assert_array_equal(before["normalized_loss"], model.predicted()["normalized_loss"])
    model.constants = PUBLISHED
    assert not np.allclose(before["normalized_loss"], model.predicted()["normalized_loss"])


def test_runs_whose_learning_rate_is_unknown_are_drawn_but_not_fitted(make_family):
    model = WhatIfModel(make_family(schedule="secret", noise=0.01))
    assert model.data.fit is None
    assert len(model.data.settings) == 4
    assert "whose learning rate is known, and this family has 0" in model.data.problem
    assert model.constants == PUBLISHED


def test_another_family_begins_anew_but_an_address_sets_both(make_family):
    runs = make_family(family=np.repeat(["a", "b"], 6), tau=np.repeat([0.1, 0.4], 6), noise=0.01)
    model = WhatIfModel(runs)
    model.family = "b"
    assert model.tau_value == pytest.approx(0.4)
    model.param.update(family="a", tau=-0.3)
    assert model.tau == -0.3
    assert model.data.n_runs == 6


def test_new_finished_runs_are_taken_over(tmp_path, make_family):
    store = open_store(tmp_path / "s", create=True)
    page = WhatIf(store)
    assert page.model.constants == PUBLISHED
    store.add_runs(make_family(noise=0.01, tau=0.4), family="late")
    page.poll()
    assert (page.model.constants, page.model.tau_value) == (FITTED, 0.4)
    assert not page._about_card.visible
    assert len(page._runs.data["name"]) == 4

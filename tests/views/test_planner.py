"""The Planner shows what the library computes, and says what does not go together."""

from __future__ import annotations

import numpy as np
import panel as pn
import pytest

from workbench.errors import ArgumentError, DataError
from workbench.forecast.planned import predict_planned
from workbench.recipes import (
    CompressionTradeoff,
    Overrides,
    find_recipe,
    plan_run,
    training_days,
)
from workbench.schema import take_runs
from workbench.views import Planner
from workbench.views.planner_model import PlannerModel
from workbench.views.source import no_runs

DECADE_OF_80 = float(np.log10(80))


@pytest.fixture
def ladder(make_family):
    """Five sizes at 20 tokens per parameter; τ is the celerity law's there."""
    return make_family(sizes=(1e6, 3e6, 1e7, 3e7, 1e8), tau=0.1744, noise=0.001)


def test_recipe_is_the_librarys():
    model = PlannerModel(no_runs())
    model.param.update(size=8.0, horizon=DECADE_OF_80, recipe="power-lines")
    assert model.plan() == plan_run(1e8, tpp=80, recipe="power-lines")


def test_what_is_typed_takes_the_recipes_place():
    model = PlannerModel(no_runs())
    model.param.update(batch="512k", warmup="0.05")
    given = Overrides(batch_size=512e3, warmup_fraction=0.05)
    assert model.plan() == plan_run(1e9, tpp=20, overrides=given)
    assert "--batch-size 512000 --warmup-fraction 0.05" in model.command()


def test_no_warm_up_can_be_asked_for():
    model = PlannerModel(no_runs())
    model.warmup = "0"
    assert model.plan() == plan_run(1e9, tpp=20, overrides=Overrides(warmup_fraction=0.0))
    for text in ("many", "1", "nan", "-0.1"):
        model.warmup = text
        with pytest.raises(ArgumentError, match="share of the run from 0 to below 1"):
            model.plan()


def test_python_on_the_page_gives_the_same_plan():
    model = PlannerModel(no_runs())
    model.param.update(size=8.5, batch="1M")
    lines = model.python().splitlines()
    scope: dict[str, object] = {}
    exec(lines[0], scope)
    assert eval(lines[1], scope) == model.plan()


@pytest.mark.parametrize(("field", "text"), [("batch", "many"), ("warmup", "1.5"), ("batch", "-1")])
def test_a_field_that_holds_no_number_is_one_sentence_on_the_page(field, text):
    planner = Planner(no_runs())
    planner.model.param.update(**{field: text})
    with pytest.raises(ArgumentError, match=text.strip("-")):
        planner.model.plan()
    shown = planner._text["recipe"].html
    assert "do not go together" in shown
    assert text.strip("-") in shown
    planner.model.param.update(**{field: ""})
    assert "do not go together" not in planner._text["recipe"].html


def test_predicted_loss_is_the_librarys_on_the_runs_at_the_plans_controls(ladder):
    model = PlannerModel(ladder)
    model.param.update(size=8.5)
    plan = model.plan()
    near = np.abs(ladder["tpp"].to_numpy() / plan.tpp - 1) <= 0.05
    expected = predict_planned(plan, take_runs(ladder, near))
    assert model.predicted(plan) == expected
    assert expected.extrapolation.fit.n_points == 5


@pytest.mark.parametrize("change", [{"horizon": DECADE_OF_80}, {"recipe": "power-lines"}])
def test_no_loss_is_predicted_from_runs_at_other_controls(make_family, change):
    model = PlannerModel(make_family(tau=0.05, noise=0.001))
    model.param.update(**change)
    with pytest.raises(DataError, match="no linear run near"):
        model.predicted(model.plan())


def test_an_empty_store_plans_all_the_same():
    planner = Planner(no_runs())
    assert "No final loss predicted. The store holds no runs yet." in (planner._text["recipe"].html)


def test_trade_and_time_are_the_librarys():
    model = PlannerModel(no_runs())
    model.param.update(horizon=float(np.log10(234)), devices=64, utilisation=0.5)
    plan = model.plan()
    trade = model.trade(plan)
    own = CompressionTradeoff().size_ratio_for_tpp(plan.tpp)
    assert trade.here == (plan.tpp, float(CompressionTradeoff().compute_ratio(own)), own)
    assert trade.here[1] == pytest.approx(1.67, abs=0.01)
    assert model.days(plan) == training_days(
        plan.flops, accelerator="H100 SXM", count=64, utilisation=0.5
    )
    tpp, tau = model.law()
    np.testing.assert_allclose(tau[7], find_recipe("celerity").tau(tpp=tpp[7]))


def test_training_days_by_hand_and_its_errors():
    days = training_days(312e12 * 86_400 * 3, accelerator="A100", count=2, utilisation=0.5)
    assert days == pytest.approx(3)
    for wrong in ({"accelerator": "abacus"}, {"count": 0}, {"utilisation": 1.2}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            training_days(1.0, **({"accelerator": "A100", "count": 1, "utilisation": 0.4} | wrong))


def test_map_holds_the_stores_runs(ladder):
    planner = Planner(ladder)
    shown = planner.figures._sources["runs"].data
    np.testing.assert_array_equal(shown["tpp"], ladder["tpp"].to_numpy())
    np.testing.assert_array_equal(shown["tau"], ladder["tau"].to_numpy())


def test_a_notebook_cell_has_no_links_to_pages_that_are_not_served():
    planner = Planner(no_runs())
    assert "href" not in planner.header.object
    assert isinstance(planner.__panel__(), pn.viewable.Viewable)

from __future__ import annotations

import pytest

from workbench.recipes import timescale
from workbench.schema import RUN_FIELDS, derive, make_runs
from workbench.training import load_spec, parse_spec, plan_family


@pytest.fixture(scope="module")
def quickstart():
    return plan_family(load_spec("quickstart"))


def test_decay_follows_from_tau(quickstart):
    for run in quickstart.runs:
        tau = timescale(
            peak_lr=run.peak_lr,
            weight_decay=run.weight_decay,
            batch_size=float(run.batch_size),
            tokens_total=float(run.tokens_total),
        )
        assert tau == pytest.approx(run.tau, rel=1e-12)


def test_tokens_follow_from_tpp_to_half_a_step(quickstart):
    for run in quickstart.runs:
        assert abs(run.tokens_total - run.tpp * run.model_size) <= run.batch_size / 2


def test_batch_grows_with_the_model_so_that_all_sizes_take_as_many_steps(quickstart):
    steps = [run.total_steps for run in quickstart.runs]
    assert max(steps) / min(steps) < 1.03


def test_batch_may_be_fixed():
    group = {"width": [8, 16], "tau": 0.2, "tpp": 20}
    spec = {"family": "f", "batch": {"rule": "fixed", "sequences": 4}, "group": [group]}
    assert {run.sequences for run in plan_family(parse_spec(spec)).runs} == {4}


def test_names_tell_runs_apart():
    group = {"width": 8, "tau": 0.2, "tpp": 20, "schedule": "wsd"}
    others = [group | {"decay_fraction": 0.4}, group | {"warmup_fraction": 0.2}]
    spec = parse_spec({"family": "f", "group": [group, *others, group | {"data_seed": 3}]})
    runs = plan_family(spec).runs
    assert len({run.run_id for run in runs}) == 4
    assert runs[-1].data_seed == 3
    assert runs[0].decay_fraction == 0.2


def test_coordinates_are_the_schema_s_and_agree_with_one_another(quickstart):
    run = quickstart.runs[0]
    coords = run.coordinates()
    assert set(coords) - set(RUN_FIELDS) == {"optimizer", "parameterisation", "task"}
    bare = {name: [coords[name]] for name in ("model_size", "batch_size", "total_steps", "peak_lr")}
    records = {"step": [1], "train_loss": [1.0]}
    bare |= {"run_id": ["a"], "status": ["done"], "weight_decay": [coords["weight_decay"]]}
    derived = derive(make_runs(bare, records, row_size=[1]))
    assert derived["tau"].item() == pytest.approx(coords["tau"])
    assert derived["tokens_total"].item() == coords["tokens_total"]

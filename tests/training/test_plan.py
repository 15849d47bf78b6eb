from __future__ import annotations

import pytest

from workbench.recipes import timescale
from workbench.schema import RUN_FIELDS, derive, make_runs
from workbench.training import load_spec, parse_spec, plan_family, preset_names
from workbench.training.fault_section import FAULT_RULES


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


def one(group, **sections):
    """Plan one group of a family of fixed batches."""
    base = {"family": "f", "batch": {"rule": "fixed", "sequences": 4}}
    return plan_family(parse_spec(base | sections | {"group": [group]})).runs


GROUP = {"width": [8, 16], "tau": 0.2, "tpp": 20}


@pytest.mark.parametrize(
    ("batch", "power_of_size"),
    [
        ({"rule": "model_size"}, 1.0),
        ({"rule": "model_size", "exponent": 0.5}, 0.5),
        ({"rule": "tokens"}, 0.5),
        ({"rule": "tokens", "exponent": 0.383}, 0.383),
        ({"rule": "fixed"}, 0.0),
    ],
)
def test_batches_follow_their_rule(batch, power_of_size):
    group = GROUP | {"width": [32, 64, 128]}
    runs = one(group, batch=batch | {"sequences": 64, "at_width": 32})
    for run in runs:
        ideal = 64 * (run.model_size / runs[0].model_size) ** power_of_size
        assert abs(run.sequences - ideal) <= 0.5


def test_a_batch_that_follows_tokens_knows_tpp_too():
    group = GROUP | {"width": 32, "tpp": [20, 80]}
    short, long = one(group, batch={"rule": "tokens", "sequences": 64, "at_width": 32})
    assert (short.sequences, long.sequences) == (64, 128)


@pytest.mark.parametrize(("rule", "power"), [("fixed", 0), ("sqrt", 0.5), ("linear", 1)])
def test_rates_follow_the_batch_by_their_rule(rule, power):
    group = GROUP | {"width": 8, "sequences": [4, 16]}
    usual, larger = one(group, optimizer={"batch_rule": rule})
    assert usual.base_lr == 0.016
    assert larger.base_lr == pytest.approx(0.016 * 4**power)


def test_tokens_follow_a_data_exponent():
    runs = one(GROUP | {"width": [16, 64]}, horizon={"exponent": 1.04, "at_width": 16})
    small, large = runs
    assert small.tpp == pytest.approx(20)
    assert large.tpp == pytest.approx(20 * (large.model_size / small.model_size) ** 0.04)
    assert large.tokens_total == pytest.approx(large.tpp * large.model_size, rel=0.01)


def test_a_weight_decay_gives_tau_and_keeps_its_rate_over_widths():
    small, large = one({"width": [16, 64], "weight_decay": 0.7, "tpp": 20})
    for run in (small, large):
        expected = timescale(
            peak_lr=run.peak_lr,
            weight_decay=run.weight_decay,
            batch_size=float(run.batch_size),
            tokens_total=float(run.tokens_total),
        )
        assert run.tau == pytest.approx(expected)
    assert small.peak_lr * small.weight_decay == pytest.approx(large.peak_lr * large.weight_decay)
    assert small.tau / large.tau == pytest.approx(large.total_steps / small.total_steps)


def test_one_timescale_by_rate_by_decay_and_by_batch():
    group = {"width": 16, "tpp": 20, "weight_decay": 0.4}
    usual = one(group | {"sequences": 16})[0]
    by_rate = one(group | {"sequences": 16, "peak_lr": 0.064})[0]
    by_decay = one(group | {"sequences": 16, "weight_decay": 1.6})[0]
    by_batch = one(group | {"sequences": 4})[0]
    for run in (by_rate, by_decay, by_batch):
        assert run.tau == pytest.approx(usual.tau / 4)
    assert len({run.run_id for run in (usual, by_rate, by_decay, by_batch)}) == 4


def test_a_recipe_gives_tau_from_tpp():
    for run in one(GROUP | {"tau": "power-lines", "tpp": [20, 80]}):
        assert run.tau == pytest.approx(1.084 * run.tpp**-0.527)
        assert "taupower-lines" in run.run_id


def test_anything_may_be_listed():
    group = GROUP | {
        "width": 16,
        "depth": [1, 2],
        "beta2": [0.9, 0.99],
        "peak_lr": [0.01, 0.02],
        "parameterisation": ["completep", "standard"],
    }
    runs = one(group)
    assert len({run.run_id for run in runs}) == len(runs) == 16
    assert {run.shape.depth for run in runs} == {1, 2}
    assert {run.beta2 for run in runs} == {0.9, 0.99}
    assert {run.coordinates()["parameterisation"] for run in runs} == {"completep", "standard"}
    # Betas are one number for a whole batch, rates are one a row.
    assert len({run.batch_key for run in runs}) == 8
    standard = [run for run in runs if run.shape.parameterisation == "standard"]
    assert {run.peak_lr for run in standard} == {0.01, 0.02}


def test_every_preset_plans_and_sizes_are_what_they_say():
    sizes = {
        name: [run.model_size for run in plan_family(load_spec(name)).runs]
        for name in preset_names()
    }
    assert max(sizes["full"]) / min(sizes["full"]) == pytest.approx(11.2, abs=0.1)
    assert min(sizes["full-gpu"]) < 1e6
    assert max(sizes["full-gpu"]) > 3e8
    kinds = {run.fault.kind for run in plan_family(load_spec("fault")).runs if run.fault}
    assert kinds == set(FAULT_RULES)

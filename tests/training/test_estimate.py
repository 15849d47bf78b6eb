from __future__ import annotations

import math

import pytest

from workbench.errors import ArgumentError
from workbench.training import load_spec, parse_spec, plan_family
from workbench.training.estimate import describe_runs, estimate_family, plan_rows

RATE = 1e11


def estimate(name="quickstart", **options):
    plan = plan_family(load_spec(name))
    return plan, estimate_family(plan, **{"workers": 2, "flop_per_second": RATE} | options)


def test_it_adds_up():
    plan, found = estimate()
    assert found.runs == len(plan.runs) == 17
    assert found.flops == plan.flops
    assert found.run_steps == sum(run.total_steps for run in plan.runs)
    assert found.tokens == sum(run.tokens_total for run in plan.runs)
    # At least the training, and the evaluations are less than half of it.
    trained = sum(run.cost for run in plan.runs) / RATE / 2
    assert trained < found.seconds < 1.5 * trained
    assert found.cost is None


def test_no_number_of_workers_beats_the_longest_run():
    plan, many = estimate(workers=1000)
    longest = max(run.cost for run in plan.runs) / RATE
    assert longest < many.seconds < 2 * longest


def test_cost_is_paid_for_all_workers():
    _, found = estimate(price_per_hour=3.6)
    assert found.cost == pytest.approx(2 * found.seconds * 1e-3)


def test_rate_and_device_are_said():
    _, timed = estimate(flop_per_second=None)
    assert "timed here" in timed.notes[0]
    assert 0.01 < timed.seconds < 1e5
    _, taken = estimate("full-gpu", device="cuda", flop_per_second=None)
    assert "taken, not measured" in taken.notes[0]
    assert "The longest run sees the streamed text" in taken.notes[1]
    assert "devices" in str(taken)


def test_noise_and_evaluation_take_time():
    spec = load_spec("schedules")
    plain = spec.model_copy(
        update={"evaluation": spec.evaluation.model_copy(update={"noise_batches": 0})}
    )
    slow, fast = (
        estimate_family(plan_family(s), workers=1, flop_per_second=RATE) for s in (spec, plain)
    )
    assert slow.seconds > 1.05 * fast.seconds


def test_larger_families_need_more_room():
    _, small = estimate("smoke")
    _, large = estimate("full")
    assert large.memory > small.memory > 1e8
    assert large.disk > 10 * small.disk
    _, card = estimate("full-gpu", device="cuda", workers=1)
    assert card.memory > 24 * card.largest


def test_text_that_runs_out_is_said():
    task = {"name": "text"}
    group = {"width": 8, "tau": 0.2, "tpp": 40}
    plan = plan_family(parse_spec({"family": "f", "task": task, "group": [group]}))
    found = estimate_family(plan, workers=1, flop_per_second=RATE)
    epochs = plan.runs[0].tokens_total / (54_677 * 0.9)
    assert f"{epochs:.2g} times" in found.notes[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, found 0"),
        ({"price_per_hour": -1.0}, "price must be positive"),
        ({"flop_per_second": math.inf}, "flop_per_second must be positive"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ArgumentError, match=message):
        estimate(**options)


def test_the_table_has_a_line_a_run():
    plan = plan_family(load_spec("fourier"))
    rows = plan_rows(plan)
    lines = describe_runs(rows).splitlines()
    assert len(lines) == 1 + len(plan.runs)
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith(plan.runs[0].run_id)
    assert lines[1].endswith("inf")

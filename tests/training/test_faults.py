from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.errors import ArgumentError
from workbench.training import build_task, parse_spec, plan_family
from workbench.training.engine import RowBatch
from workbench.training.fault_section import FAULT_RULES, Fault
from workbench.training.faults import _KINDS, fault_interventions

MARKOV = {
    "family": "hurt",
    "task": {"vocab": 16},
    "model": {"context": 8},
    "batch": {"rule": "fixed", "sequences": 4},
    "evaluation": {"points": 4, "sequences": 16},
}
FOURIER = MARKOV | {
    "task": {"name": "fourier", "modes": 20},
    "model": {"kind": "mlp", "depth": 2},
    "batch": {"rule": "fixed", "sequences": 16},
    "optimizer": {"peak_lr": 0.001},
}
AT = 0.5


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def family(kind, base=MARKOV, **settings):
    """Return spec and plans: a healthy run, the same run with a fault, a healthy run of luck."""
    fault = {"name": "broken", "kind": kind, "at": AT} | settings
    group = {"width": 8, "tau": 0.3, "tpp": 1}
    groups = [group | {"fault": ["none", "broken"]}, group | {"seed": 1}]
    spec = parse_spec(base | {"group": groups, "fault": [fault]})
    return spec, plan_family(spec).runs


def curves(spec, plans, task, resume_at=None):
    def make():
        return RowBatch(plans, task, optimizer=spec.optimizer, evaluation=spec.evaluation)

    batch, losses = make(), []
    while batch.active:
        losses.append(batch.advance())
        if batch.step == resume_at and batch.active:
            state, batch = batch.state(), make()
            batch.restore(state)
    train = np.stack([record.train_loss for record in losses])
    return train, np.stack([record.eval_loss for record in losses])


@pytest.mark.parametrize("base", [MARKOV, FOURIER], ids=["markov", "fourier"])
@pytest.mark.parametrize("kind", sorted(FAULT_RULES))
def test_a_fault_changes_its_row_from_its_step_on_and_no_other_row(kind, base):
    # A drift begins with one target in hundreds; at full size it shows at once.
    spec, plans = family(kind, base, **({"size": 1.0} if kind == "slow_drift" else {}))
    task = build_task(spec)
    healthy, hurt, other = range(3)
    train, held_out = curves(spec, plans, task)
    first = int(AT * plans[0].total_steps)  # index of the first step that is hurt
    np.testing.assert_array_equal(train[:first, hurt], train[:first, healthy])
    assert (train[first + 1 :, hurt] != train[first + 1 :, healthy]).all()
    assert held_out[-1, hurt] != held_out[-1, healthy]
    for row in (healthy, other):
        alone, ends = curves(spec, [plans[row]], task)
        np.testing.assert_array_equal(train[:, row], alone[:, 0])
        assert held_out[-1, row] == ends[-1, 0]


@pytest.mark.parametrize("kind", sorted(FAULT_RULES))
def test_a_run_that_resumes_meets_the_same_fault(kind):
    spec, plans = family(kind)
    task = build_task(spec)
    straight, _ = curves(spec, plans, task)
    for resume_at in (int(AT * plans[0].total_steps), int(AT * plans[0].total_steps) + 3):
        resumed, _ = curves(spec, plans, task, resume_at=resume_at)
        np.testing.assert_array_equal(straight, resumed)


def test_every_kind_has_a_rule_and_an_effect():
    assert set(FAULT_RULES) == set(_KINDS)


def test_what_happened_is_recorded_with_the_run():
    _, (healthy, hurt, _) = family("learning_rate_glitch", size=3)
    assert hurt.run_id == "hurt-w8-linear-tau0.3-tpp1-broken-s0"
    assert "fault" not in healthy.coordinates()
    found = hurt.coordinates()
    assert found["fault"] == "learning_rate_glitch"
    assert (found["fault_at"], found["fault_size"]) == (AT, 3)
    assert found["fault_until"] == pytest.approx(AT + 0.01)
    unsized = family("nan")[1][1].coordinates()
    assert "fault_size" not in unsized
    assert unsized["fault_until"] == AT


def test_a_fault_that_ends_leaves_later_steps_alone():
    fault = Fault(name="a", kind="corrupted_shard", at=0.2, until=0.3)
    assert fault.steps(100) == (21, 30)
    spec, plans = family("corrupted_shard", until=0.6)
    task = build_task(spec)
    effect = fault_interventions(plans, task)[1]
    batch = task.batch(0, sequences=4, seed=0)
    first, last = plans[1].fault.steps(plans[1].total_steps)
    assert effect.batch(first - 1, batch) is batch
    assert effect.batch(last + 1, batch) is batch
    assert not np.array_equal(effect.batch(last, batch).targets, batch.targets)
    assert spec.fault[0].end == 0.6


def test_loss_bias_concerns_one_batch_size_only():
    spec, plans = family("loss_bias", sequences=5)
    assert fault_interventions(plans, build_task(spec)) == {}
    spec, plans = family("loss_bias", sequences=4)
    assert set(fault_interventions(plans, build_task(spec))) == {1}


def test_duplicated_data_are_those_just_seen():
    spec, plans = family("duplicated_data", size=0.1)
    task = build_task(spec)
    effect = fault_interventions(plans, task)[1]
    first, _ = plans[1].fault.steps(plans[1].total_steps)
    period = round(0.1 * plans[1].total_steps)
    own = [task.batch(step, sequences=4, seed=0).inputs for step in range(first + 2 * period)]
    for step in range(first, first + 2 * period):
        given = effect.batch(step, task.batch(step - 1, sequences=4, seed=0)).inputs
        source = first - 1 - period + (step - first) % period
        np.testing.assert_array_equal(given, own[source])


def test_shifted_labels_of_text_are_the_inputs():
    spec, plans = family("label_shift")
    task = build_task(spec)
    effect = fault_interventions(plans, task)[1]
    batch = task.batch(40, sequences=4, seed=0)
    shifted = effect.batch(plans[1].total_steps, batch)
    np.testing.assert_array_equal(shifted.targets[:, 1:], batch.inputs[:, 1:])
    assert shifted.surprise is None


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "nan", "size": 2}, "of kind 'nan' takes no size"),
        ({"kind": "optimizer_reset", "until": 0.9}, "takes no until"),
        ({"kind": "label_shift", "sequences": 4}, "takes no sequences"),
        ({"kind": "slow_drift", "size": 3}, "share of at most 1, found 3"),
        ({"kind": "slow_drift", "until": 0.2}, "ends at 0.2, not after its start 0.5"),
        ({"kind": "slow_drift", "at": 1}, "fault number 1 at is wrong"),
        ({"kind": "flood"}, "fault number 1 kind is wrong"),
        ({"kind": "nan", "name": "none"}, "'none' means no fault"),
        ({"kind": "nan", "name": "b"}, "group number 1 names fault 'broken'; known are none, b"),
    ],
)
def test_bad_faults_are_told_in_one_paragraph(fault, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        family(**fault)
    assert "\n" not in str(caught.value)


def test_one_name_for_one_fault():
    group = {"width": 8, "tau": 0.3, "tpp": 1}
    twice = [{"name": "a", "kind": "nan", "at": 0.1}] * 2
    with pytest.raises(ArgumentError, match="'a' is given twice"):
        parse_spec(MARKOV | {"group": [group], "fault": twice})

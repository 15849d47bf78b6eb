"""Simulated runs of which the truth is known: what is alarmed, when, and as what."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.watch.conftest import STEPS, WATCHED
from workbench.errors import ArgumentError, DataError
from workbench.watch import Monitor, monitor_run
from workbench.watch.simulate import PASSING


def test_a_healthy_run_is_left_alone_and_a_bad_shard_is_its_data(watched):
    report = watched().report()
    assert report.alarms == ()
    assert report.state == "healthy"
    shard = [a for a in report.artefacts if abs(a.progress - 0.7) < 0.01]
    assert len(shard) == 1
    assert shard[0].kind == "data"
    assert not shard[0].fault


def test_a_slow_ramp_is_caught_long_before_the_raw_loss_shows_it(watched):
    """The bar of the paper's case: +0.5 % by 70 % from 60 % on, growing further."""
    for rng in range(4):
        report = watched("ramp", rng=rng).report()
        first = report.faults[0]
        assert first.kind == "drift"
        assert 0.6 < first.progress <= 0.70
        assert report.onset.progress == pytest.approx(0.6, abs=0.05)
        assert report.onset.lower <= 0.605
        assert report.onset.upper >= 0.595
        raw = report.baselines["raw_rise"]
        assert raw is None or raw / STEPS >= first.progress + 0.15


def test_jumps_drifts_and_spikes_are_told_apart(watched):
    jump = watched("jump", size=0.008).report().faults[0]
    assert (jump.kind, jump.recovered) == ("jump", None)
    assert jump.size == pytest.approx(0.008, rel=0.3)
    falling = watched("repeated_data", size=0.01).report().faults[0]
    assert falling.kind == "drift"
    assert falling.size < 0


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_flagged_and_not_fatal(watched, fault):
    report = watched(fault, size=0.01).report()
    assert report.alarms
    assert all(a.kind == "spike" and a.recovered is not None for a in report.alarms)
    assert report.state == "flagged"


def test_a_divergence_is_fatal_and_stops_after_patience(family, reference):
    monitor = Monitor(reference, total_steps=STEPS, model_size=WATCHED, patience=0.01)
    loss = family.loss(WATCHED)
    stopped = None
    for step, value in enumerate(loss.tolist(), start=1):
        factor = 1 + 2 * max(step - 600, 0) / 20
        monitor.update(step, value * min(factor, 3))
        if monitor.should_stop:
            stopped = step
            break
    assert stopped is not None
    assert stopped - 600 <= 0.02 * STEPS
    report = monitor.report()
    assert report.state == "lost"
    assert report.faults[-1].kind in ("divergence", "jump", "drift")
    assert "divergence" in {a.kind for a in report.faults}


def test_a_loss_that_comes_back_from_a_divergence_was_a_spike(family):
    monitor = Monitor(None, total_steps=STEPS, patience=0.05)
    for step, value in enumerate(family.loss(WATCHED).tolist(), start=1):
        monitor.update(step, value * (1.5 if 600 <= step < 620 else 1))
        assert not monitor.should_stop
    (alarm,) = monitor.alarms
    assert (alarm.kind, alarm.fatal) == ("spike", False)
    assert 620 <= alarm.recovered < 660


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_a_loss_that_is_no_number_stops_at_once(reference, bad):
    monitor = Monitor(reference, total_steps=STEPS, model_size=WATCHED)
    monitor.update(1, 5.0)
    (alarm,) = monitor.update(2, bad)
    assert (alarm.kind, alarm.fatal) == ("nan", True)
    assert monitor.should_stop
    assert monitor.update(3, bad) == []


def test_standing_still_is_a_stall(watched, reference):
    assert "stall" in {a.kind for a in watched("stall").report().alarms}
    monitor = Monitor(reference, total_steps=STEPS, model_size=WATCHED)
    for step in range(1, 20):
        monitor.update(step, 5.0 - 0.01 * step, time=10.0 * step)
    assert monitor.idle(now=250.0) == []
    (alarm,) = monitor.idle(now=400.0)
    assert (alarm.kind, alarm.note) == ("stall", "silent for 210 s")
    assert monitor.idle(now=500.0) == []


def test_what_happened_near_an_onset_is_named(family, reference):
    monitor = Monitor(reference, total_steps=STEPS, model_size=WATCHED)
    for step, value in enumerate(family.loss(WATCHED).tolist(), start=1):
        if step == 700:
            monitor.update(690, value)  # restarted ten steps back
        size = 4096.0 if step < 700 else 8192.0
        monitor.update(step, value * (1.01 if step >= 700 else 1), batch_size=size)
    kinds = [note.kind for note in monitor.annotations]
    assert kinds == ["restart", "batch"]
    jump = monitor.report().faults[0]
    assert "restarted from step 690" in jump.note
    assert "batch size 4096 became 8192" in jump.note


def test_an_update_takes_far_less_than_a_millisecond(family, reference):
    monitor = Monitor(reference, total_steps=STEPS, model_size=WATCHED)
    loss = family.loss(WATCHED).tolist()
    start = time.process_time()
    for step, value in enumerate(loss, start=1):
        monitor.update(step, value)
    assert (time.process_time() - start) / STEPS < 1e-3


def test_the_alignment_points_to_the_final_loss(family, reference):
    run = family.dataset([family.loss(WATCHED)], ["big"], [WATCHED])
    half = run.isel(obs=slice(0, STEPS // 2)).assign(row_size=("run", [STEPS // 2]))
    report = monitor_run(half, reference=reference)
    final = float(np.mean(run["train_loss"].to_numpy()[-20:]))
    estimate, lower, upper = report.final_loss
    assert lower < estimate < upper
    assert estimate == pytest.approx(final, rel=0.01)


def test_blind_spots_are_stated_with_numbers(watched):
    report = watched().report()
    assert 0 < report.sensitivity["jump"] < 0.01
    assert any("before 10 % of training" in text for text in report.blind_spots)
    assert any("slower than" in text for text in report.blind_spots)


def test_the_report_is_plain_json(watched):
    data = watched("jump").report().to_dict()
    assert {"run_id", "false_alarm", "alarms", "onset", "raw_loss_alarm", "verdict"} <= set(data)
    assert {"step", "progress", "kind", "statistic", "threshold"} <= set(data["alarms"][0])
    assert set(data["onset"]) == {"progress", "lower", "upper"}
    assert data["verdict"].startswith("run is fault: jump")


def test_bad_arguments_are_said(reference, family_runs):
    with pytest.raises(DataError, match="planned length of run 'run' is unknown"):
        Monitor(reference, model_size=WATCHED)
    with pytest.raises(ArgumentError, match="chance per run"):
        Monitor(None, total_steps=10, false_alarm=2)
    with pytest.raises(ArgumentError, match="One run is watched at a time, found 4"):
        monitor_run(family_runs, reference=reference)
    member = family_runs.isel(run=[0], obs=slice(0, STEPS))
    with pytest.raises(ArgumentError, match="member of the reference"):
        monitor_run(member, reference=reference)

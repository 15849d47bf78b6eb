"""Simulated faults: what the monitor sees and when, beside the rules other tools use.

python benchmarks/fault_bench.py [--runs N]

Families of five sizes are simulated (`workbench.watch.simulate`); the largest size is watched with
a reference made of the smaller ones. Where runs share their data all of them cross a bad shard at
70 %, the healthy ones too. Faults begin between 35 and 85 % of training, those of the
specification at 60 %. Detected means an alarm after the onset that is no data artefact (a spike
counts), called by the worst alarm; a fault that passes must be flagged and must not be fatal.
Delays are shares of training.
False alarms are those of healthy runs, and alarms before the onset. The baselines run on the same
records; the raw-loss rise is also given with the threshold that keeps it quiet on healthy runs.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from statistics import median

import numpy as np
from machine import keep
from scipy.stats import beta

from workbench.watch import Monitor, MonitorReport, Reference
from workbench.watch.baselines import RawRise
from workbench.watch.simulate import FAULTS, PASSING, Family, FaultName, Noise, inject

SIZES = (1e7, 3e7, 1e8, 3e8)
WATCHED = 1e9
SHARD = 0.03
SPECIFIED: tuple[FaultName, ...] = ("ramp", "ramp_by_the_end")
NOISES = {
    "as recorded repeats (own 0.12 %, data shared)": (Noise(), True),
    "twice the noise": (Noise(own=0.0024, level=0.0016), True),
    "other data in each run (1.2 %)": (Noise(own=0.0012), False),
}


def watch(family: Family, reference: Reference, loss: np.ndarray) -> MonitorReport:
    """Watch one simulated loss until it ends or is lost."""
    monitor = Monitor(
        reference,
        total_steps=family.steps,
        model_size=WATCHED,
        tau=0.2,
        schedule="linear",
        warmup_fraction=0.02,
    )
    for step, value in enumerate(loss.tolist(), start=1):
        monitor.update(step, value)
    return monitor.report()


def raw_excess(loss: np.ndarray, before: float) -> list[tuple[float, float]]:
    """Return (progress, largest excess so far) of the smoothed loss over its lowest."""
    rule, out = RawRise(), []
    for k, value in enumerate(loss.tolist(), start=1):
        if math.isfinite(value):
            rule.update(k, k / len(loss), value)
        out.append((k / len(loss), rule.largest))
    return out


def one(family: Family, reference: Reference, fault: FaultName, rng: np.random.Generator) -> dict:
    """Simulate one run, watch it, and say what was seen."""
    at = 0.6 if fault in SPECIFIED else float(rng.uniform(0.35, 0.85))
    size = 0.005 if fault in SPECIFIED else float(rng.uniform(0.004, 0.012))
    loss = inject(family.loss(WATCHED), fault, at=at, size=size, rng=rng)
    report = watch(family, reference, loss)
    after = [a for a in report.alarms if a.progress > at]
    before = [a for a in report.alarms if a.progress <= at or fault == "healthy"]
    first = after[0] if after and fault != "healthy" else None
    worst = next((a for a in after if a.fatal), next((a for a in after if a.fault), first))
    onset = worst.onset if first and worst else None
    return {
        "fault": fault,
        "at": at,
        "false": bool(before),
        "delay": first.progress - at if first else None,
        "kind": worst.kind if first and worst else None,
        "onset_error": onset.progress - at if onset else None,
        "onset_covered": bool(onset.lower <= at + 1e-3 and at - 1e-3 <= onset.upper)
        if onset
        else None,
        "fatal": any(a.fatal for a in report.alarms),
        "baselines": {
            name: None if step is None else step / family.steps
            for name, step in report.baselines.items()
        },
        "raw": raw_excess(loss, at),
    }


def caught(rows: list[dict], alarm: str, limit: float) -> tuple[float, float, float | None]:
    """Return detection rate, false-alarm rate and median delay of a baseline."""
    found, false, delays = 0, 0, []
    for row in rows:
        if alarm == "raw_calibrated":
            place = next((x for x, excess in row["raw"] if excess > limit), None)
        else:
            place = row["baselines"][alarm]
        if place is None:
            continue
        if row["fault"] == "healthy" or place <= row["at"]:
            false += 1
        else:
            found += 1
            delays.append(place - row["at"])
    return found / len(rows), false / len(rows), median(delays) if delays else None


def summary(rows: list[dict], limit: float) -> dict:
    """Return the line of one fault."""
    delays = [row["delay"] for row in rows if row["delay"] is not None]
    errors = [abs(r["onset_error"]) for r in rows if r["onset_error"] is not None]
    covered = [r["onset_covered"] for r in rows if r["onset_covered"] is not None]
    kinds = defaultdict(int)
    for row in rows:
        if row["kind"]:
            kinds[row["kind"]] += 1
    line: dict = {
        "runs": len(rows),
        "detected": round(len(delays) / len(rows), 3),
        "within_10_percent": round(sum(d <= 0.1 for d in delays) / len(rows), 3),
        "median_delay": round(median(delays), 4) if delays else None,
        "median_onset_error": round(median(errors), 4) if errors else None,
        "onset_within_5_percent": round(sum(e <= 0.05 for e in errors) / len(errors), 3)
        if errors
        else None,
        "onset_interval_covers": round(sum(covered) / len(covered), 3) if covered else None,
        "false_alarms": sum(row["false"] for row in rows),
        "called": dict(kinds),
        "fatal": sum(row["fatal"] for row in rows),
    }
    for name in ("rolling_z", "spike_killer", "raw_rise", "raw_calibrated"):
        rate, false, delay = caught(rows, name, limit)
        line[name] = {
            "detected": round(rate, 3),
            "false": round(false, 3),
            "median_delay": None if delay is None else round(delay, 4),
        }
    return line


def bench(name: str, noise: Noise, same_data: bool, runs: int, seed: int) -> dict:
    """Run every fault on families with this noise."""
    rng = np.random.default_rng(seed)
    rows = []
    families = 4
    for k in range(families):
        family = Family(noise=noise, rng=seed + k, same_data=same_data, shard=SHARD)
        reference = Reference.from_runs(family.runs(SIZES, seeds=2))
        for fault in FAULTS:
            for _ in range(runs * (9 if fault == "healthy" else 1) // families):
                rows.append(one(family, reference, fault, rng))
    quiet = [row for row in rows if row["fault"] == "healthy"]
    limit = max(row["raw"][-1][1] for row in quiet)
    false = sum(row["false"] for row in quiet)
    out: dict = {
        "noise": name,
        "runs": len(rows),
        "healthy_runs": len(quiet),
        "healthy_alarmed": false,
        "healthy_alarmed_upper_95": round(float(beta.ppf(0.95, false + 1, len(quiet) - false)), 4),
        "raw_rise_calibrated_to": round(limit, 5),
        "faults": {
            fault: summary([r for r in rows if r["fault"] == fault], limit) for fault in FAULTS
        },
    }
    passing = [r for r in rows if r["fault"] in PASSING]
    out["passing_called_fatal"] = sum(r["fatal"] for r in passing)
    return out


def overhead() -> dict:
    """Measure the time of one update."""
    family = Family(rng=99)
    reference = Reference.from_runs(family.runs(SIZES, seeds=2))
    loss = family.loss(WATCHED).tolist()
    monitor = Monitor(reference, total_steps=family.steps, model_size=WATCHED)
    times = []
    for step, value in enumerate(loss, start=1):
        start = time.perf_counter()
        monitor.update(step, value)
        times.append(time.perf_counter() - start)
    micro = 1e6 * np.array(times)
    return {
        "mean_us": round(float(micro.mean()), 1),
        "p99_us": round(float(np.quantile(micro, 0.99)), 1),
        "largest_us": round(float(micro.max()), 1),
    }


def main() -> None:
    """Run every noise and keep the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=12, help="runs a fault and noise")
    runs = parser.parse_args().runs
    tables = []
    for k, (name, (noise, same_data)) in enumerate(NOISES.items()):
        tables.append(bench(name, noise, same_data, runs, 1000 * k))
        table = tables[-1]
        print(f"{name}: {table['healthy_alarmed']} of {table['healthy_runs']} healthy alarmed")
        for fault, line in table["faults"].items():
            print(
                f"  {fault:22} {line['detected']:5.0%} delay {line['median_delay']} "
                f"onset {line['median_onset_error']} cover {line['onset_interval_covers']} "
                f"false {line['false_alarms']} {line['called']} | z {line['rolling_z']} "
                f"kill {line['spike_killer']['detected']} raw {line['raw_rise']} "
                f"calibrated {line['raw_calibrated']}"
            )
    cost = overhead()
    print(cost)
    total = sum(table["runs"] for table in tables)
    print(keep("fault_bench", {"runs": total, "update": cost, "tables": tables}, "numpy", "scipy"))


if __name__ == "__main__":
    main()

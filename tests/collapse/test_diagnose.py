from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from workbench.collapse import collapse_report, diagnose
from workbench.curves import normalize_by
from workbench.errors import ArgumentError, DataError
from workbench.schema import conform, make_runs, select_runs

X = np.arange(1, 101) / 100


def shape(tau, tpp):
    """A curve whose bend depends on τ and, in another place, on TPP."""
    bend = 0.05 * np.log(tau / 0.2) * np.sin(np.pi * X)
    return X**-0.1 + bend - 0.03 * np.log(tpp / 20) * (1 - X) ** 3


def curves(rows, *, noise=1e-4, rng=0):
    """Return normalised curves of runs given as dictionaries of coordinates."""
    generator = np.random.default_rng(rng)
    usual = {
        "model_size": 1e6,
        "seed": 0.0,
        "tau": 0.2,
        "tpp": 20.0,
        "schedule": "linear",
        "batch_size": 1e5,
        "warmup_fraction": 0.01,
    }
    full = [usual | row for row in rows]
    loss = np.array([3 * shape(r["tau"], r["tpp"]) + r.get("fault", 0) for r in full])
    loss *= 1 + noise * generator.standard_normal(loss.shape)
    coords = {name: ("run", [row[name] for row in full]) for name in usual}
    coords["run_id"] = ("run", [f"r{i}" for i in range(len(full))])
    return normalize_by(
        xr.DataArray(loss, dims=("run", "progress"), coords={**coords, "progress": X})
    )


FAMILY = [{"model_size": 2.0**k * 1e6, "seed": s} for k in range(4) for s in (0.0, 1.0)]


@pytest.mark.parametrize(
    ("odd", "others", "first"),
    [
        ({"tau": 0.8}, [{"tau": 0.8}, {"tpp": 80.0}], "tau"),
        ({"tpp": 80.0}, [{"tpp": 80.0}, {"tau": 0.8}], "tpp"),
        ({"tau": 0.4}, [{"tau": 0.8}], "tau"),
        ({"tau": 0.8, "batch_size": 4e5}, [{"tau": 0.8}, {"batch_size": 4e5}], "tau"),
        ({"tau": 0.8, "tpp": 25.0}, [{"tau": 0.8}, {"tpp": 25.0}], "tau"),
    ],
)
def test_the_coordinate_that_bends_the_curve_comes_first(odd, others, first):
    found = diagnose(curves([*FAMILY, odd, *others]), "r8")
    best = found.causes[0]
    assert best.coordinate == first
    assert best.explained > 0.8
    assert best.lower <= best.explained <= best.upper
    assert best.alone
    assert {c.coordinate for c in found.causes} == set(odd)
    assert all(c.explained < 0.3 for c in found.causes[1:])
    assert set(found.family) >= {f"r{i}" for i in range(8)}
    assert "r8" not in found.family


def test_a_fault_is_not_blamed_on_a_coordinate():
    fault = 0.05 * np.maximum(X - 0.6, 0)
    found = diagnose(curves([*FAMILY, {"fault": fault}]), "r8")
    assert found.causes == ()
    assert "none of them explains" in str(found)
    beside = diagnose(curves([*FAMILY, {"fault": fault, "tau": 0.3}, {"tau": 0.3}]), "r8")
    assert beside.causes[0].explained < 0.8


def test_what_no_other_run_shows_is_said():
    found = diagnose(curves([*FAMILY, {"schedule": "cosine", "tau": 0.8}]), "r8")
    assert [c.explained for c in found.causes] == [None, None]
    assert str(found).count("no other run shows what that does") == 2


def test_coordinates_that_move_together_are_not_told_apart():
    odd = {"tau": 0.8, "batch_size": 4e5}
    found = diagnose(curves([*FAMILY, odd, odd | {"seed": 1.0}]), "r8")
    assert {c.coordinate for c in found.causes} == {"tau", "batch_size"}
    assert set(found.causes[0].tied_with) & {"tau", "batch_size"}
    assert not found.causes[0].alone
    assert "not told apart from" in str(found)


def test_a_curve_model_ranks_without_neighbours():
    def model(runs):
        loss = np.array(
            [shape(t, k) for t, k in zip(runs.tau.values, runs.tpp.values, strict=True)]
        )
        return xr.DataArray(loss, dims=("run", "progress"), coords={"progress": X})

    odd = {"tau": 0.8, "tpp": 25.0}
    found = diagnose(curves([*FAMILY, odd]), "r8", models={"surrogate": model})
    judged = [c for c in found.causes if c.source == "surrogate"]
    assert [c.coordinate for c in judged] == ["tau", "tpp"]
    assert judged[0].explained > 0.9
    assert "by surrogate" in str(found)


def test_the_order_of_runs_does_not_matter():
    ell = curves([*FAMILY, {"tau": 0.8}, {"tau": 0.8}, {"tpp": 80.0}])
    one = diagnose(ell, "r8").causes[0]
    two = diagnose(ell.isel(run=np.random.default_rng(0).permutation(11)), "r8").causes[0]
    assert two.explained == pytest.approx(one.explained)
    assert two.coordinate == one.coordinate


def test_bad_requests_say_the_fix():
    with pytest.raises(ArgumentError, match="No run 'r99' among the 8 curves"):
        diagnose(curves(FAMILY), "r99")
    with pytest.raises(DataError, match="Widen --where"):
        diagnose(curves(FAMILY[:1]), "r0")


def test_warmup_is_taken_from_steps_where_only_those_are_known():
    ell = curves([*FAMILY, {}, {}]).drop_vars("warmup_fraction")
    steps = np.where(np.isin(ell["run_id"], ["r8", "r9"]), 100.0, 10.0)
    ell = ell.assign_coords(warmup_steps=("run", steps), total_steps=("run", np.full(10, 1000.0)))
    assert [c.coordinate for c in diagnose(ell, "r8").causes] == ["warmup_fraction"]


def test_report_looks_at_neighbours_outside_the_selection():
    rows = [*FAMILY, {"tau": 0.8}, {"tau": 0.8, "model_size": 2e6}]
    ell = curves(rows)
    runs = conform(
        make_runs(
            {n: ell[n].to_numpy().tolist() for n in ell.coords if ell[n].dims == ("run",)}
            | {"total_steps": [100.0] * 10, "family": ["made"] * 10},
            {"step": np.tile(np.arange(1, 101), 10), "eval_loss": 3 * ell.to_numpy().ravel()},
            row_size=[100] * 10,
        )
    )
    chosen = select_runs(runs, ["run_id=r0,r1,r2,r3,r4,r5,r6,r7,r8"])
    alone = collapse_report(chosen, offset="zero", quality=True)
    assert alone.worst_run["run_id"] == "r8"
    assert alone.diagnosis.causes[0].explained is None
    wide = collapse_report(chosen, offset="zero", quality=True, neighbours=runs)
    assert wide.diagnosis.causes[0].coordinate == "tau"
    assert wide.diagnosis.causes[0].explained > 0.8
    assert "τ 0.8 (family 0.2) explains" in str(wide)


def test_public_runs_off_in_one_coordinate_are_explained_by_it(shared_curves):
    """Cosine runs: τ .8 at the family's TPP, then twice the TPP at the family's τ."""
    runs = select_runs(shared_curves("wsd_cosine"), ["schedule=cosine"])
    report = collapse_report(runs, loss="eval_loss", offset="zero", smoothing=0.03)
    for steps, first in ((25000, "tau"), (50000, "tpp")):
        name = next(
            str(r)
            for r in report.curves["run_id"].to_numpy()
            if "124m_slimpajama_llama_norm_nlayers12_nhead12_lr0.0005_sched_cos" in str(r)
            and f"iter{steps}_" in str(r)
        )
        best = diagnose(report.curves, name).causes[0]
        assert best.coordinate == first
        assert best.explained > 0.7

"""The pieces of a report: hashes, tables, companions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.collapse import collapse_report
from workbench.curves import on_progress
from workbench.reports.companions import companions, known_floor
from workbench.reports.provenance import family_hash, hardware, run_hashes
from workbench.reports.tables import (
    answers_table,
    left_out_table,
    lines,
    numbers_table,
    parameters_table,
    runs_table,
    table,
    verdict_card,
)
from workbench.schema import make_runs, take_runs


def test_hashes_do_not_depend_on_the_order_of_runs(make_family):
    runs = make_family(noise=0.01)
    turned = take_runs(runs, np.arange(runs.sizes["run"])[::-1])
    assert run_hashes(runs) == run_hashes(turned)
    assert family_hash(run_hashes(runs)) == family_hash(run_hashes(turned))


@pytest.mark.parametrize("name", ["eval_loss", "tau"])
def test_hashes_change_with_any_value(make_family, name):
    runs = make_family(noise=0.01)
    changed = runs.copy(deep=True)
    changed[name][0] = np.nextafter(float(changed[name][0]), 9)
    before, after = run_hashes(runs), run_hashes(changed)
    first = str(runs["run_id"].to_numpy()[0])
    assert [n for n in before if before[n] != after[n]] == [first]


def test_hashes_ignore_what_was_not_recorded(make_family):
    runs = make_family()
    n_run, n_obs = runs.sizes["run"], runs.sizes["obs"]
    payload = np.array([0x7FF8000000000123], dtype="<u8").view("<f8")  # a NaN with other bits
    wider = runs.assign(grad_norm=("obs", np.full(n_obs, payload[0])))
    wider = wider.assign_coords(beta1=("run", np.full(n_run, np.nan)), note=("run", [""] * n_run))
    assert run_hashes(wider) == run_hashes(runs)


def test_hardware_says_kind_and_not_name():
    import platform

    assert hardware()["cpu_count"] > 0
    assert platform.node() not in map(str, hardware().values())


@given(st.text(alphabet="<>&\"'ab /=", min_size=1))
def test_text_of_the_data_never_becomes_markup(text):
    page = table(("a",), [(text,)], label=text).text + lines(text).text
    assert page.count("<") == 2 * (page.count("</"))  # only our own tags, all of them closed


def test_a_script_in_a_run_name_is_shown_not_run(make_family):
    runs = make_family(noise=0.01)
    names = runs["run_id"].to_numpy().astype("<U40")
    names[0] = "<script>alert(1)</script>"
    runs = runs.assign_coords(run_id=("run", names))
    report = collapse_report(runs)
    page = runs_table(report, on_progress(runs)).text + answers_table(report).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_tables_without_seeds_claim_nothing(make_family):
    report = collapse_report(make_family(seeds=(0,)), offset="zero")
    page = numbers_table(report).text + answers_table(report).text + verdict_card(report).text
    assert "no seeds" in page
    assert "cannot be said" in page
    assert "nan" not in page


def test_left_out_runs_are_named_with_their_reason(make_family):
    runs = make_family()
    whole = np.array(runs["row_size"])
    keep = np.arange(runs.sizes["obs"]) >= whole[0] // 2  # drops the first half of the first run
    names = [str(n) for n in runs.variables if runs[n].dims == ("run",) and n != "row_size"]
    whole[0] -= whole[0] // 2
    cut = make_runs(
        {n: runs[n].to_numpy() for n in names},
        {n: runs[n].to_numpy()[keep] for n in ("step", "eval_loss")},
        row_size=whole,
    )
    page = left_out_table(collapse_report(cut)).text
    assert str(runs["run_id"].to_numpy()[0]) in page
    assert "begins at" in page
    assert "Nothing: every selected run" in left_out_table(collapse_report(runs)).text


def test_parameters_are_readable():
    page = parameters_table({"where": ["tpp>18", "seed=0"], "loss": None, "points": 256}).text
    assert "tpp&gt;18 and seed=0" in page
    assert "not given" in page


@pytest.mark.parametrize("offset", ["zero", "fit", 1.5])
def test_companions_reuse_the_report_and_add_the_other(make_family, offset):
    runs = make_family(noise=0.01)
    report = collapse_report(runs, offset=offset)
    asked = []

    def judge(at):
        asked.append(at)
        return collapse_report(runs, offset=at)

    both = companions(report, judge)
    assert both.zero.offset.value == 0
    assert both.fitted.offset.fit is not None
    assert offset not in asked
    assert any(shown is report for _, shown in both.titled())
    assert next(title for title, _ in both.titled()) == "Normalised, no offset"


def test_companions_say_why_there_is_no_fit(make_family):
    runs = make_family(sizes=(1e6, 2e6))
    both = companions(
        collapse_report(runs, offset="zero"), lambda at: collapse_report(runs, offset=at)
    )
    assert both.fitted is None
    assert "3 or more sizes" in both.why_not
    assert len(both.titled()) == 1


def test_a_floor_that_all_runs_state_is_used(make_family):
    runs = make_family(noise=0.01, irreducible_loss=1.7)
    assert known_floor(runs) == 1.7


@pytest.mark.parametrize("values", [np.nan, [1.7, 1.8], [1.7, np.nan]])
def test_a_floor_that_is_unknown_or_not_one_is_not_used(make_family, values):
    runs = make_family(sizes=(1e6, 2e6), seeds=(0,), irreducible_loss=values)
    assert known_floor(runs) is None
    assert known_floor(make_family()) is None


def test_figures_do_not_ask_for_a_graphics_card(make_family):
    from workbench.reports.figures import figure
    from workbench.views.elements import deviation_panel

    report = collapse_report(make_family(noise=1e-2), offset="zero")
    text = figure(deviation_panel(report), title="Δ", caption="").text
    assert '"output_backend":"webgl"' not in text.replace(" ", "")

"""A log imported while it grows gives what one import at the end gives, or one error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import DataError
from workbench.schema import make_runs
from workbench.store.digest import digests
from workbench.store.growth import grow


def records(steps, **columns):
    steps = np.asarray(list(steps), np.int64)
    return {"step": steps} | {n: np.asarray(v, np.float64) for n, v in columns.items()}


def loss(steps, shift=0.0):
    return [shift + 3 / (1 + step) for step in steps]


def log(steps, shift=0.0, **columns):
    steps = list(steps)
    return records(steps, train_loss=loss(steps, shift), **columns)


def same(left, right):
    names = {n for part in (left, right) for n in part}
    return all(
        np.array_equal(
            left.get(n, np.full(len(left["step"]), np.nan)),
            right.get(n, np.full(len(right["step"]), np.nan)),
            equal_nan=True,
        )
        for n in names
    )


def test_more_of_the_same_log_is_added():
    assert same(grow("a", log(range(5)), log(range(9))), log(range(9)))


def test_nothing_new_is_told_from_the_object():
    stored = log(range(9))
    assert grow("a", stored, log(range(9))) is stored
    assert grow("a", stored, log(range(5))) is stored  # an older copy takes nothing back
    bare = log(range(9), eval_loss=[np.nan] * 9)
    assert grow("a", stored, bare) is stored


def test_an_evaluation_logged_later_fills_its_column():
    nan = [np.nan] * 4
    full = log(range(4), eval_loss=[nan[0], 2.0, nan[0], 1.0])
    assert same(grow("a", log(range(4)), full), full)
    assert same(grow("a", log(range(4), eval_loss=nan), full), full)
    both = grow("a", full, log(range(6)))
    assert both["eval_loss"][[1, 3]].tolist() == [2.0, 1.0]
    assert len(both["step"]) == 6


def test_a_rotated_log_holds_only_its_end():
    assert same(grow("a", log(range(8)), log(range(6, 12))), log(range(12)))
    assert same(grow("a", log(range(8)), log(range(8, 12))), log(range(12)))


@pytest.mark.parametrize(
    ("stored", "stated", "said"),
    [
        (log(range(9)), log(range(9), 1e-12), "train_loss at step 0 is 3 there and 3.00000000"),
        (log(range(9)), log(range(20), 0.5), "at step 0"),  # another training, however long
        (log(range(0, 90, 10)), log(range(5, 95, 10)), "lacks step 10"),
        (log(range(0, 90, 10)), log([1, 2, 3]), "lacks step 1"),
        (log(range(5, 9)), log(range(4)), "lacks step 0"),
        (log(range(0, 90, 10)), log([0, 20, 90]), "lacks step 10"),
    ],
)
def test_other_records_are_refused(stored, stated, said):
    with pytest.raises(DataError, match="in the store already, with other records") as error:
        grow("a", stored, stated)
    assert said in str(error.value)


def test_one_edited_record_is_no_attempt_even_in_a_log_that_has_grown():
    edited = log(range(20))
    edited["train_loss"][6] += 1e-9
    with pytest.raises(DataError, match="train_loss at step 6"):
        grow("a", log(range(10)), edited)


def restarted(at, end, shift=0.1):
    """Return a log taken up again at step `at`: the values from there on are others."""
    first, again = log(range(at)), log(range(at, end), shift)
    return {name: np.concatenate([first[name], again[name]]) for name in first}


def test_a_later_attempt_wins_where_it_is_plain():
    stored = log(range(10))
    assert same(grow("a", stored, restarted(7, 15)), restarted(7, 15))
    assert same(grow("a", stored, log(range(7, 15), 0.1)), restarted(7, 15))  # a log of its own


def test_another_training_that_began_alike_is_refused():
    # The same seed gives the same first losses; that makes it no attempt at the same run.
    with pytest.raises(DataError, match="with other records"):
        grow("a", log(range(10)), restarted(2, 15))
    with pytest.raises(DataError, match="with other records"):
        grow("a", log(range(10)), log(range(2, 15), 0.1))


def timed(part, start):
    return part | {"wall_time": start + np.arange(len(part["step"]), dtype=float)}


def test_wall_times_tell_an_attempt_however_early_it_began():
    stored = timed(log(range(10)), 0)
    whole = restarted(2, 6)
    whole["wall_time"] = np.array([0, 1, 100, 101, 102, 103.0])
    grown = grow("a", stored, whole)
    assert grown["train_loss"].tolist() == loss(range(2)) + loss(range(2, 6), 0.1) + loss(
        range(6, 10)
    )
    tail = timed(log(range(7, 15), 0.1), 100)
    assert len(grow("a", stored, tail)["step"]) == 15
    for times in ([50, 51, 100, 101, 102, 103.0], [0, 1, 2, 3, 4, 5.0]):
        whole["wall_time"] = np.array(times)
        with pytest.raises(DataError, match="with other records"):
            grow("a", stored, whole)


def test_at_a_step_both_attempts_logged_only_the_later_record_stays():
    stored = log(range(10), eval_loss=[np.nan] * 8 + [2.0, np.nan])
    grown = grow("a", stored, restarted(7, 15))
    assert np.isnan(grown["eval_loss"]).all()
    early = log(range(10), eval_loss=[2.0] + [np.nan] * 9)
    assert grow("a", early, restarted(7, 15))["eval_loss"][0] == 2.0


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=2, max_size=60),
    st.data(),
)
def test_importing_in_parts_is_importing_once_or_an_error(lines, data):
    """Lines are (step, which columns); a step written again wins, as readers have it."""
    cut = data.draw(st.integers(1, len(lines) - 1))

    def read(part):
        last = {}
        for i, (step, which) in enumerate(part):
            last[step] = (float(i), float(which) if which else np.nan)
        steps = sorted(last)
        return records(
            steps, train_loss=[last[s][0] for s in steps], eval_loss=[last[s][1] for s in steps]
        )

    early, late = read(lines[:cut]), read(lines)
    try:
        grown = grow("a", early, late)
    except DataError:
        assert len({step for step, _ in lines}) < len(lines)  # only where something was rewritten
    else:
        assert set(late["step"]) == set(grown["step"])
        known = ~np.isnan(late["eval_loss"])
        assert grown["train_loss"].tolist() == late["train_loss"].tolist()
        assert grown["eval_loss"][known].tolist() == late["eval_loss"][known].tolist()


def as_runs(parts):
    names = dict.fromkeys(n for part in parts.values() for n in part)
    columns = {
        n: np.concatenate([p.get(n, np.full(len(p["step"]), np.nan)) for p in parts.values()])
        for n in names
    }
    return make_runs(
        {"run_id": list(parts)}, columns, row_size=[len(p["step"]) for p in parts.values()]
    )


def test_a_store_grows_as_its_logs_do(store, tmp_path):
    store.add_runs(as_runs({"a": log(range(4)), "b": log(range(4), 1), "c": log(range(3))}))
    late = as_runs({"b": log(range(9), 1), "a": log(range(4)), "d": log(range(2)), "c": log([3])})
    result = store.add_runs(late)
    assert result.added == ("d",)
    assert result.grown == ("b", "c")
    assert result.unchanged == ("a",)
    assert result.restated == ()
    once = as_runs(
        {"a": log(range(4)), "b": log(range(9), 1), "c": log(range(4)), "d": log(range(2))}
    )
    assert store.check() == ()
    assert store.table().set_index("run_id")["n_records"].to_dict() == dict(a=4, b=9, c=4, d=2)
    assert digests(store.runs()) == _stored_once(tmp_path / "once", once)
    assert store.add_runs(late).grown == ()


def _stored_once(path, runs):
    from workbench.store import open_store

    fresh = open_store(path, create=True)
    fresh.add_runs(runs)
    found = digests(fresh.runs())
    fresh.close()
    return found


def test_one_run_that_changed_refuses_the_whole_import(store):
    store.add_runs(as_runs({"a": log(range(4)), "b": log(range(4), 1)}))
    before = store.revision()
    with pytest.raises(DataError, match="Run 'b' is in the store already"):
        store.add_runs(as_runs({"a": log(range(8)), "b": log(range(8), 2)}))
    assert store.revision() == before


def test_a_recorded_run_can_grow_by_its_log(store):
    writer = store.start_run("a", family="")
    writer.append(step=range(4), train_loss=loss(range(4)))
    writer.finish("failed")
    assert store.add_runs(as_runs({"a": log(range(9))})).grown == ("a",)
    assert store.runs()["row_size"].item() == 9
    assert store.check() == ()
    running = store.start_run("b", family="")
    running.append(step=0, train_loss=1.0)
    with pytest.raises(DataError, match="'running'; nothing was changed"):
        store.add_runs(as_runs({"b": log(range(9))}))

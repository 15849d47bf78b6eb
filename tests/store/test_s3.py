"""Curves on S3: what only an object store can do, and what it can do to us."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from workbench.errors import ArgumentError, CollapseWarning, DataError
from workbench.schema import run_names
from workbench.store import open_store, s3
from workbench.store.digest import digests
from workbench.store.s3 import S3Tier
from workbench.store.s3_place import parse_place

pytestmark = pytest.mark.s3


@pytest.fixture
def place(object_store):
    return object_store.place()


@pytest.fixture
def store(tmp_path, place):
    opened = open_store(tmp_path / "runs", create=True, curves=place)
    yield opened
    opened.close()


@pytest.fixture
def frail(start_object_store, tmp_path):
    """An object store of its own that may go down, with a store that has two runs on it."""
    own = start_object_store()
    return own, open_store(tmp_path / "frail", create=True, curves=own.place())


def branches(store):
    return {name.partition(".")[2] for name in repository(store).list_branches()} - {""}


def repository(store):
    return store._curves._repository()


def with_keep(store, days):
    """Return the store as one whose generations are kept for so many days."""
    again = open_store(store.address.root)
    again._curves._where = replace(again._curves._where, keep_days=days)
    return again


def test_the_path_is_enough_later_and_the_place_must_not_change(store, place, few_runs):
    store.add_runs(few_runs(2))
    again = open_store(store.address.root)
    assert again._curves.place == store._curves.place
    assert again.runs().sizes["run"] == 2
    assert open_store(store.address.root, curves=place).runs().sizes["run"] == 2
    with pytest.raises(ArgumentError, match="not where curves= says"):
        open_store(store.address.root, curves="s3://bucket/elsewhere")
    assert not list(store.address.root.glob("curves-*"))


def test_a_place_belongs_to_one_store(store, place, few_runs, tmp_path):
    store.add_runs(few_runs(1))
    with pytest.raises(ArgumentError, match="holds the curves of another store"):
        open_store(tmp_path / "second", create=True, curves=place)
    assert not (tmp_path / "second").exists()


def test_a_missing_bucket_makes_no_store(object_store, tmp_path):
    text = object_store.place().replace("curves-of-tests", "no-such-bucket")
    with pytest.raises(DataError, match="could not be made in s3://no-such-bucket/"):
        open_store(tmp_path / "s", create=True, curves=text)
    assert not (tmp_path / "s").exists()


def test_each_generation_is_one_commit_and_main_follows(store, few_runs):
    for i in range(3):
        store.add_runs(few_runs(1, prefix=f"p{i}-"))
    history = store.history()
    assert [entry.generation for entry in history] == [1, 2, 3]
    assert len({entry.snapshot for entry in history}) == 3
    assert repository(store).lookup_branch("main") == history[-1].snapshot
    for entry in history:
        commit = repository(store).lookup_snapshot(entry.snapshot)
        assert commit.metadata["generation"] == entry.generation
        assert len(list(repository(store).ancestry(snapshot_id=entry.snapshot))) == 2


def test_main_does_not_go_back(store, few_runs, monkeypatch):
    announce, late = store._curves.announce, []
    monkeypatch.setattr(store._curves, "announce", late.append)
    store.add_runs(few_runs(1, prefix="a"))
    open_store(store.address.root).add_runs(few_runs(1, prefix="b"))
    (first,) = late
    announce(first)
    assert repository(store).lookup_branch("main") == store.history()[-1].snapshot


def test_a_commit_the_registry_never_named_is_not_read_and_goes_later(store, few_runs, monkeypatch):
    store.add_runs(few_runs(1))

    def killed(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # between the commit and the registry
        patched.setattr("workbench.store.publish._commit", killed)
        with pytest.raises(KeyboardInterrupt):
            store.add_runs(few_runs(2))
    assert sum("generation-2" in name for name in branches(store)) == 1
    assert run_names(store.runs()) == ["r0"]
    assert store.check() == ()
    assert store.add_runs(few_runs(3)).added == ("r1", "r2")
    assert sum("generation-2" in name for name in branches(store)) == 2  # kept for keep_days
    again = with_keep(store, 0)
    again.add_runs(few_runs(4))
    assert sum("generation-2" in name for name in branches(store)) == 1
    assert {entry.generation for entry in again.history()} == {2, 3}
    assert again.runs(at=2).sizes["run"] == 3
    assert again.check() == ()


def test_old_generations_go_and_their_objects_with_them(
    store, place, object_store, few_runs, monkeypatch
):
    monkeypatch.setattr(s3, "COLLECT_EVERY", 1)
    monkeypatch.setattr(s3, "COLLECT_MARGIN", timedelta(0))
    for i in range(3):
        store.add_runs(few_runs(1, prefix=f"p{i}-"))
    assert len(object_store.objects(place, "snapshots")) == 4
    short = with_keep(store, 0)
    short.add_runs(few_runs(1, prefix="new"))
    assert [entry.generation for entry in short.history()] == [3, 4]
    assert len(object_store.objects(place, "snapshots")) == 3  # with the empty one
    assert short.runs(at=3).sizes["run"] == 3
    assert short.runs().sizes["run"] == 4
    assert short.check() == ()
    with pytest.raises(DataError, match=r"Generation 2 is not kept .* generation 3 to 4"):
        short.runs(at=2)


def test_a_reader_of_a_generation_that_goes_gets_its_data_or_an_error(store, few_runs, monkeypatch):
    def add(to, prefix):  # long enough to lie in chunks of their own
        to.add_runs(few_runs(1, prefix=prefix, records=200))

    for i in range(2):
        add(store, f"p{i}-")
    before = digests(store.runs(at=1))
    read, pending = store._curves.open, [3, 2]

    def slow(*which):
        opened = read(*which)
        while pending:  # two generations come while this one is read
            short = with_keep(store, 0)
            add(short, f"new{pending.pop()}-")
        return opened

    monkeypatch.setattr(store._curves, "open", slow)
    assert digests(store.runs(at=1)) == before  # its objects are younger than the margin
    monkeypatch.setattr(s3, "COLLECT_EVERY", 1)
    monkeypatch.setattr(s3, "COLLECT_MARGIN", timedelta(0))
    pending += [5, 4]
    with pytest.raises(DataError, match="removed while it was read"):
        store.runs(at=3)
    pending += [7, 6]
    assert store.runs().sizes["run"] == 8  # the present state is read again instead


@pytest.mark.parametrize("part", ["chunks", "manifests", "snapshots"])
def test_a_missing_object_is_an_error(store, place, object_store, few_runs, part):
    store.add_runs(few_runs(40, records=50))
    client, bucket = object_store.client(), parse_place(place).bucket
    tip = store.history()[-1].snapshot
    for key in object_store.objects(place, part):
        if part == "snapshots" and not key.endswith(tip):
            continue
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        client.delete_object(Bucket=bucket, Key=key)
        with pytest.raises(DataError, match="cannot be read"):
            open_store(store.address.root).runs()
        assert open_store(store.address.root).check() != ()
        client.put_object(Bucket=bucket, Key=key, Body=body)
    assert open_store(store.address.root).check() == ()


def test_a_damaged_object_is_never_read_as_data(store, place, object_store, few_runs):
    store.add_runs(few_runs(40, records=50, width=np.arange(40)))
    client, bucket = object_store.client(), parse_place(place).bucket
    expected, rng = digests(store.runs()), np.random.default_rng(0)
    tip, errors = store.history()[-1].snapshot, 0
    kinds = ("chunks", "manifests", f"snapshots/{tip}")
    for key in [key for kind in kinds for key in object_store.objects(place, kind)]:
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        for number in range(6):
            bad = bytearray(body)
            bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
            bad = bad[: rng.integers(len(bad))] if number == 0 else bad
            client.put_object(Bucket=bucket, Key=key, Body=bytes(bad))
            try:
                found = digests(open_store(store.address.root).runs())
            except DataError:
                errors += 1
            else:  # a bit that says nothing of the data
                assert found == expected, (key, number)
        client.put_object(Bucket=bucket, Key=key, Body=body)
    assert errors > 40
    assert open_store(store.address.root).check() == ()


@pytest.mark.slow
@pytest.mark.parametrize("taken", [1, 9])  # before the first chunk, before the branch moves
def test_a_server_that_stops_while_publishing_loses_nothing(frail, few_runs, taken):
    server, store = frail
    store.add_runs(few_runs(2, records=200))
    before = digests(store.runs())
    server.say(f"down after {taken}")
    with pytest.raises(DataError, match="could not be written in s3://"):
        store.add_runs(few_runs(5, records=200))
    server.say("up")
    assert digests(open_store(store.address.root).runs()) == before
    assert store.check() == ()
    assert len(store.add_runs(few_runs(5, records=200)).added) == 3
    assert store.check() == ()


@pytest.mark.slow
def test_a_server_that_stops_after_the_commit_harms_nothing(frail, few_runs, monkeypatch):
    server, store = frail
    store.add_runs(few_runs(1))
    monkeypatch.setattr(
        store._curves, "publish", lambda _aside: server.say("down")
    )  # inside the registry's transaction
    with pytest.warns(CollapseWarning, match="Generation 2 is published, and clearing up"):
        store.add_runs(few_runs(2))
    with pytest.raises(DataError, match="cannot be read"):
        store.runs()
    server.say("up")
    assert store.runs().sizes["run"] == 2
    assert store.check() == ()
    monkeypatch.undo()
    store.add_runs(few_runs(3))
    assert repository(store).lookup_branch("main") == store.history()[-1].snapshot


@pytest.mark.slow
def test_runs_are_recorded_while_the_server_is_down(frail):
    server, store = frail
    server.say("down")
    writer = open_store(store.address.root).start_run("a", family="f")
    writer.append(step=[0, 1], train_loss=[2.0, 1.0])
    writer.finish()
    assert store.runs()["train_loss"].to_numpy().tolist() == [2.0, 1.0]
    with pytest.raises(DataError, match="could not be written"):
        store.consolidate()
    assert store.runs()["train_loss"].to_numpy().tolist() == [2.0, 1.0]
    server.say("up")
    assert store.consolidate() == 1
    assert store.runs()["train_loss"].to_numpy().tolist() == [2.0, 1.0]
    assert store.check() == ()


def test_no_credentials_in_registry_or_messages(store, place, few_runs, object_store):
    store.add_runs(few_runs(1, records=200))  # fewer lie within a manifest
    store.close()
    secrets = [os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]]
    registry = b"".join(path.read_bytes() for path in store.address.root.iterdir())
    assert not any(secret.encode() in registry for secret in secrets)
    for key in object_store.objects(place, "chunks"):
        object_store.client().delete_object(Bucket=parse_place(place).bucket, Key=key)
    with pytest.raises(DataError) as caught:
        open_store(store.address.root).runs()
    told = "".join(traceback.format_exception(caught.value))
    assert not any(secret in told for secret in secrets)
    assert "\n" not in str(caught.value)


def test_a_secret_the_server_repeats_is_hidden(aws_credentials):
    from workbench.store.object_errors import said

    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    text = f"  x outcome\n  | \n  | context:\n  |    0: f\n  | \n  `-> cause, with {secret}\n\n"
    assert said(Exception(text)) == "outcome: cause, with ***"


def test_a_branch_deleted_by_hand_is_found(store, few_runs):
    store.add_runs(few_runs(1))
    store.add_runs(few_runs(2))
    (name,) = [n for n in repository(store).list_branches() if ".generation-1." in n]
    repository(store).delete_branch(name)
    (problem,) = store.check()
    assert "generation 1 (snapshot" in problem
    assert "has no branch" in problem
    result = store.repair()
    assert result == type(result)(("Generation 1 has a branch again.",), ())
    assert store.runs(at=1).sizes["run"] == 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_of_a_process_that_used_s3_is_told_and_does_not_hang(store, few_runs):
    store.add_runs(few_runs(1))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            store.runs()
        except DataError as error:
            status = 0 if "forked" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_icechunk_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "icechunk", None)
    with pytest.raises(DataError, match=r"collapse-workbench\[s3\]"):
        S3Tier(parse_place("s3://bucket/p")).open(1, "SNAPSHOT")


def test_a_place_that_cannot_be_reached_is_one_sentence_and_no_log_of_a_library(tmp_path):
    pytest.importorskip("icechunk", reason="curves on S3 need it")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "ICECHUNK"))}
    code = (
        "import sys; from workbench.store import open_store\nopen_store(sys.argv[1], create=True, "
    )
    code += "curves='s3://bucket/p?endpoint=http://127.0.0.1:1')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s")],
        env=environment | {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "could not be made in s3://bucket/p" in done.stderr
    assert "WARN" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "s").exists()

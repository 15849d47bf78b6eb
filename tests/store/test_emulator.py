"""The emulator keeps the promises of S3 that the tests of curves on S3 rest on."""

from __future__ import annotations

import threading

import pytest

from tests.store.conftest import BUCKET

pytestmark = pytest.mark.s3
OK, MISSING, REFUSED = 200, 404, 412


def put(client, key, body=b"x", **condition):
    """Return the status of a PUT."""
    from botocore.exceptions import ClientError

    try:
        answer = client.put_object(Bucket=BUCKET, Key=key, Body=body, **condition)
    except ClientError as error:
        answer = error.response
    return answer["ResponseMetadata"]["HTTPStatusCode"]


def test_an_object_is_made_once(object_store):
    client = object_store.client()
    assert put(client, "once", b"first", IfNoneMatch="*") == OK
    assert put(client, "once", b"second", IfNoneMatch="*") == REFUSED
    assert client.get_object(Bucket=BUCKET, Key="once")["Body"].read() == b"first"


def test_a_stale_etag_changes_nothing(object_store):
    client = object_store.client()
    put(client, "tagged", b"first")
    tag = client.head_object(Bucket=BUCKET, Key="tagged")["ETag"]
    assert put(client, "tagged", b"second", IfMatch=tag) == OK
    assert put(client, "tagged", b"third", IfMatch=tag) == REFUSED
    assert put(client, "absent", b"third", IfMatch=tag) == MISSING
    assert client.get_object(Bucket=BUCKET, Key="tagged")["Body"].read() == b"second"


def winners(object_store, kind, *, rounds, threads=8):
    """Return how many of racing conditional writes were accepted, per round."""
    client = object_store.client()
    clients = [object_store.client() for _ in range(threads)]
    counts = []
    for number in range(rounds):
        key = f"{kind}-{number}"
        condition = {"IfNoneMatch": "*"}
        if kind == "update":
            put(client, key, b"start")
            condition = {"IfMatch": client.head_object(Bucket=BUCKET, Key=key)["ETag"]}
        gate, statuses = threading.Barrier(threads), []

        def race(own, key=key, gate=gate, condition=condition, statuses=statuses):
            gate.wait()
            statuses.append(put(own, key, str(id(own)).encode() * 20, **condition))

        racing = [threading.Thread(target=race, args=(own,)) for own in clients]
        for thread in racing:
            thread.start()
        for thread in racing:
            thread.join()
        counts.append(statuses.count(OK))
    return counts


@pytest.mark.parametrize("kind", ["create", "update"])
def test_of_racing_conditional_writes_one_wins(object_store, kind):
    assert winners(object_store, kind, rounds=40) == [1] * 40


def test_what_was_stored_is_there_after_the_server_was_down(start_object_store):
    from botocore.exceptions import BotoCoreError

    own = start_object_store()
    client = own.client()
    put(client, "kept", b"first")
    own.say("down after 1")
    assert put(client, "last") == OK
    with pytest.raises(BotoCoreError):
        put(client, "refused")
    with pytest.raises(BotoCoreError):
        put(own.client(), "refused")
    own.say("up")
    assert put(client, "kept", IfNoneMatch="*") == REFUSED
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert keys == ["kept", "last"]

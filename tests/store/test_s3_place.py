from __future__ import annotations

import pytest

from workbench.errors import ArgumentError
from workbench.store import open_store
from workbench.store.s3_place import S3Place, new_place, parse_place


def test_a_place_is_read_and_recorded():
    text = "s3://bucket/team/curves?endpoint=http://127.0.0.1:9000&region=eu-1&keep_days=7"
    place = parse_place(text)
    expected = S3Place("bucket", "team/curves", "http://127.0.0.1:9000", "eu-1", 7)
    assert place == expected
    assert str(place) == "s3://bucket/team/curves"
    made = new_place(text)
    assert made.store
    assert parse_place(made.recorded) == made
    assert parse_place("s3://bucket/p/") == S3Place("bucket", "p")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file:///tmp/curves", "lost up to 18 % of acknowledged commits"),
        ("icechunk:///tmp/curves", "lost up to 18 % of acknowledged commits"),
        ("gs://bucket/p", "must lie on S3"),
        ("/some/folder", "must lie on S3"),
        ("s3://bucket", "names no bucket and prefix"),
        ("s3://Bucket_x/p", "names no bucket and prefix"),
        ("s3://bucket/p?endpoint=host:9000", "no address of a server"),
        ("s3://bucket/p?endpoint=http://host:port", "no address of a server"),
        ("s3://bucket/p?speed=9", "unknown option 'speed'"),
        ("s3://bucket/p?keep_days=0", "at least 1"),
        ("s3://bucket/p?store=abc", "leave store= away"),
    ],
)
def test_other_places_are_refused(tmp_path, text, said):
    with pytest.raises(ArgumentError, match=said):
        open_store(tmp_path / "s", create=True, curves=text)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIAHUSH:hushhush@bucket/p",
        "s3://bucket/p?endpoint=http://AKIAHUSH:hushhush@host:9000",
        "s3://bucket/p?access_key_id=AKIAHUSH&secret_access_key=hushhush",
        "s3://bucket/p?session_token=hushhush",
    ],
)
def test_credentials_are_refused_and_not_repeated(text):
    with pytest.raises(ArgumentError, match="AWS_SECRET_ACCESS_KEY") as caught:
        parse_place(text)
    assert "hush" not in str(caught.value).lower()


def test_a_store_says_where_its_curves_are(tmp_path):
    open_store(tmp_path / "s", create=True).close()
    with pytest.raises(ArgumentError, match=r"keeps its curves in .*not where curves= says"):
        open_store(tmp_path / "s", curves="s3://bucket/p")

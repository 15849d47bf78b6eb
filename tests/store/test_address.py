from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from workbench.errors import ArgumentError
from workbench.store.address import to_address

SECRET = "pa:ss/w@rd%"
URL = "postgresql://me:pa%3Ass%2Fw%40rd%25@db.example:5433/curves"


def shown(address):
    return " ".join([str(address), repr(address), f"{address}", repr(address.url), address.name])


@pytest.mark.parametrize(
    "text", [URL, URL.replace("postgresql:", "postgres:"), f"{URL}?sslmode=require&curves=/a/b"]
)
def test_an_url_keeps_its_password_to_itself(text):
    address = to_address(text)
    assert address.url.password == SECRET
    assert address.name == "curves"
    assert str(address).startswith("postgresql://me:***@db.example:5433/curves")
    assert not any(part in shown(address) for part in (SECRET, "pa%3A", "w@rd", "w%40rd"))
    copy = pickle.loads(pickle.dumps(address))
    assert copy == address
    assert copy.url.password == SECRET


def test_a_password_in_the_query_is_one_too():
    address = to_address("postgresql:///curves?host=/run/pg&password=hidden&user=me")
    assert address.url.password == "hidden"
    assert "hidden" not in shown(address)
    assert "password" not in address.url.query


def test_the_place_of_the_curves_is_taken_from_the_url_or_given_apart():
    address = to_address(f"{URL}?curves=/shared/a b")
    assert address.curves == "/shared/a b"
    assert "curves" not in address.url.query
    assert to_address(URL, curves="/x").curves == "/x"
    assert to_address(address) == address
    with pytest.raises(ArgumentError, match="names curves= twice"):
        to_address(address_text := f"{URL}?curves=/a", curves="/b")
    assert address_text


def test_without_its_password_it_opens_nothing_new():
    text, password = to_address(f"{URL}?sslmode=require").apart()
    assert text == "postgresql://me@db.example:5433/curves?sslmode=require"
    assert password == SECRET
    assert to_address(text).apart() == (text, None)
    assert to_address("runs").apart() == ("runs", None)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:top@secret@host/db",
        "postgresql://me:topsecret@host:port/db",
        "postgresql://me:topsecret@host",
        "mysql://me:topsecret@host/db",
        "postgresql://me@host/db?sslpassword=topsecret",
        Path("postgresql://me:topsecret@host/db"),
    ],
)
def test_an_url_that_cannot_be_does_not_tell_its_password(text):
    with pytest.raises(ArgumentError) as raised:
        to_address(text)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert "postgresql://" in str(raised.value)


def test_folders_are_folders(tmp_path):
    for path in (tmp_path, os.fspath(tmp_path), "runs", "a:b", "C:/runs"):
        address = to_address(path)
        assert address.url is None
        assert str(address) == os.fspath(path)
    assert to_address(tmp_path).name == tmp_path.name

from __future__ import annotations

import http.client
import json
import re
import socket
import urllib.error
import urllib.request

import pytest

from workbench.apps import start
from workbench.errors import ArgumentError
from workbench.store import open_store
from workbench.views.explorer import Explorer

pytestmark = pytest.mark.filterwarnings(
    "ignore:The inplace keyword in DataFrame.reset_index:DeprecationWarning"
)


@pytest.fixture
def store(tmp_path, make_family):
    path = tmp_path / "store"
    open_store(path, create=True).add_runs(make_family(), family="made")
    return path


def test_a_store_anywhere_is_served_with_its_health(new_address, make_family, monkeypatch):
    address = new_address("team")
    opened = open_store(address, create=True)
    opened.add_runs(make_family(), family="made")
    opened.start_run("gone", family="made")
    monkeypatch.setattr("workbench.store.snapshot.LEASE_SECONDS", -1.0)
    with start(address, port=0) as server:
        health = json.loads(fetch(server.url + "health")[1])
        assert (health["ok"], health["runs"], health["lost"]) == (True, 13, ["gone"])
        status, page = fetch(server.url)
        assert status == 200
        assert "cannot be opened" not in page
        assert "w%40rd" not in page
    explorer = Explorer(opened)
    assert explorer._title == opened.name
    opened.close()


def test_a_run_that_falls_silent_is_called_lost_while_the_page_is_open(store, monkeypatch):
    opened = open_store(store)
    writer = opened.start_run("gone", family="made")
    writer.append(step=[1, 2, 3], eval_loss=[4.0, 3.5, 3.2])
    explorer = Explorer(opened)
    assert "12 done, 1 running" in explorer.header.object
    revision = opened.revision()
    monkeypatch.setattr("workbench.store.snapshot.LEASE_SECONDS", -1.0)
    explorer.poll()
    assert "12 done<em>, 1 lost: not heard of any more" in explorer.header.object
    assert opened.revision() == revision
    opened.close()


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.read().decode()


def test_page_and_health_answer_until_stopped(store):
    with start(store, port=0) as server:
        status, health = fetch(server.url + "health")
        assert json.loads(health) == {"ok": True, "runs": 12, "revision": 1, "lost": []}
        assert status == 200
        status, page = fetch(server.url)
        assert status == 200
        assert "<title>Collapse</title>" in page
        assert "http://cdn" not in page
        assert "https://" not in page.replace("https://www.w3.org", "")
        url = server.url
    with pytest.raises(urllib.error.URLError):
        fetch(url + "health")


def test_taken_port_is_named_with_the_fix(store):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ArgumentError, match=f"port {port} .*--port {port + 1}"):
            start(store, port=port)


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.7", "example.org"])
def test_open_address_needs_a_login_or_the_word(store, address):
    with pytest.raises(ArgumentError, match="--insecure"):
        start(store, port=0, address=address)


def test_password_is_asked_for(store):
    with start(store, port=0, password="secret") as server:
        _, page = fetch(server.url)
        assert 'type="password"' in page
        assert "bk-" not in page


def test_missing_store_is_an_argument_error(tmp_path):
    with pytest.raises(ArgumentError, match="no store"):
        start(tmp_path / "nowhere", port=0)


@pytest.mark.parametrize(("origin", "code"), [("evil.example", 403), (None, 101)])
def test_only_our_own_origin_may_open_the_websocket(store, origin, code):
    with start(store, port=0) as server:
        _, page = fetch(server.url)
        token = re.search(r'"token":"([^"]+)"', page)[1]
        own = f"127.0.0.1:{server.port}"
        headers = {
            "Origin": f"http://{origin or own}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": f"bokeh, {token}",
        }
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/ws", headers=headers)
        assert connection.getresponse().status == code
        connection.close()

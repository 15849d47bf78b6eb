"""Serve the Explorer over HTTP: on this machine only, unless asked otherwise."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any

import panel as pn
from bokeh.server.server import Server
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from workbench.apps.pages import Rights, page_makers
from workbench.errors import ArgumentError, WorkbenchError
from workbench.store import Address, Store, open_store

PORT = 5006
_START_SECONDS = 60.0


class RunningServer:
    """A dashboard served by a thread of this process; made by `start`.

    Use it as a context manager, or call `stop`.
    """

    def __init__(
        self, store: Store, *, port: int, address: str, rights: Rights, options: dict[str, Any]
    ) -> None:
        self._store, self._rights = store, rights
        self._address, self._port, self._options = address, port, options
        self._loop: IOLoop | None = None
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="workbench-server", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            msg = f"The server did not start within {_START_SECONDS:.0f} s."
            raise WorkbenchError(msg)
        if self._failure is not None:
            raise self._failure

    @property
    def port(self) -> int:
        """Return the port listened on."""
        return self._port

    @property
    def url(self) -> str:
        """Return the address to open in a browser."""
        host = "127.0.0.1" if self._address in ("0.0.0.0", "::") else self._address
        return f"http://[{host}]:{self._port}/" if ":" in host else f"http://{host}:{self._port}/"

    def wait(self) -> None:
        """Block until the server stops or the user interrupts."""
        try:
            while self._thread.is_alive():
                self._thread.join(1.0)
        except KeyboardInterrupt:
            self.stop()

    def stop(self) -> None:
        """Stop serving; does nothing when already stopped."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.add_callback(self._loop.stop)
            self._thread.join(_START_SECONDS)

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        loop = IOLoop.current()
        try:
            server = self._server(loop)
        except BaseException as error:  # handed to the thread that asked for the server
            self._failure = error
            self._ready.set()
            return
        self._loop = loop
        loop.add_callback(self._ready.set)
        try:
            loop.start()
        finally:
            server.stop()
            self._store.close()
            loop.close(all_fds=True)

    def _server(self, loop: IOLoop) -> Server:
        health = (r"/health", HealthHandler, {"store": self._store})
        pages = page_makers(self._store.address, self._rights)
        server: Server = pn.io.server.get_server(
            pages,
            port=self._port,
            address=self._address,
            loop=loop,
            title={path: "Collapse" for path in pages},
            extra_patterns=[health],
            **self._options,
        )
        server.start()
        return server


class HealthHandler(RequestHandler):
    """Answers ``/health``: JSON ``{"ok": true, "runs": n, "revision": r, "lost": [...]}``.

    ``lost`` names the runs that say they are running and have not been heard of for a while. 503
    when the store cannot be read.
    """

    def initialize(self, store: Store) -> None:
        """Take the store to look at."""
        self._store = store

    def get(self) -> None:
        """Count the runs."""
        try:
            answer: dict[str, Any] = {
                "ok": True,
                "runs": len(self._store.table()),
                "revision": self._store.revision(),
                "lost": sorted(self._store.lost()),
            }
        except WorkbenchError as error:
            self.set_status(503)
            answer = {"ok": False, "error": str(error)}
        self.write(answer)


def start(
    store: str | os.PathLike[str] | Address,
    *,
    port: int = PORT,
    address: str = "127.0.0.1",
    insecure: bool = False,
    password: str | None = None,
    origins: Sequence[str] = (),
) -> RunningServer:
    """Serve a store's dashboard from a thread and return at once.

    Parameters
    ----------
    store : path, str or Address
        Folder or URL of the store.
    port : int
        Port to listen on; 0 takes a free one.
    address : str
        Address to bind.
    insecure : bool
        Serve an address that others can reach without asking for a login.
    password : str, optional
        Ask visitors for this password (any user name).
    origins : sequence of str
        Further ``host:port`` that may open the page's websocket, such as a proxy's.

    Returns
    -------
    RunningServer
        Answers ``/`` (the Explorer) and ``/health``.

    Raises
    ------
    ArgumentError
        If there is no such store, the port is taken, or others could reach `address` without a
        login.
    """
    opened = open_store(store)
    if not _is_loopback(address) and not insecure and password is None:
        msg = (
            f"--address {address} can be reached by others and no login is asked for. Keep "
            "127.0.0.1 (and tunnel with ssh), set a password, or say --insecure."
        )
        raise ArgumentError(msg)
    port = _free_port(address, port)
    options: dict[str, Any] = {"websocket_origin": [*_origins(address, port), *origins]}
    if password is not None:
        options |= {"basic_auth": password, "cookie_secret": secrets.token_hex(32)}
    private = _is_loopback(address)
    rights = Rights(write=private or password is not None, paths=private and password is None)
    return RunningServer(opened, port=port, address=address, rights=rights, options=options)


def serve(
    store: str | os.PathLike[str] | Address,
    *,
    port: int = PORT,
    address: str = "127.0.0.1",
    insecure: bool = False,
    password: str | None = None,
    origins: Sequence[str] = (),
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve a store's dashboard until interrupted; `announce` is told the address once it answers.

    The other parameters and errors are those of `start`.
    """
    with start(
        store, port=port, address=address, insecure=insecure, password=password, origins=origins
    ) as server:
        if announce is not None:
            announce(server.url)
        server.wait()


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _free_port(address: str, port: int) -> int:
    """Return `port`, or a free one for 0; fail before the server does, with the fix."""
    if not 0 <= port <= 65535:
        msg = f"port must be between 0 (any free one) and 65535, found {port}. Choose one in there."
        raise ArgumentError(msg)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            msg = (
                f"port {port} on {address} cannot be used: {error.strerror or error}. Choose "
                f"another one with --port {port + 1}, or stop what listens there."
            )
            raise ArgumentError(msg) from None
        return int(probe.getsockname()[1])


def _origins(address: str, port: int) -> list[str]:
    """Return who may open the websocket: this machine's own names, never just anyone."""
    names = {"localhost", "127.0.0.1"}
    if not _is_loopback(address):
        names |= {address, socket.gethostname(), socket.getfqdn()}
        names |= {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    # Bokeh's list takes names and IPv4 addresses only.
    return sorted(f"{name}:{port}" for name in names if ":" not in name)

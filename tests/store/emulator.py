"""An S3 server for the tests: moto's, with writes that are conditional also when they race.

``python emulator.py`` prints its port and serves until its standard input ends. Each line there is
a command, answered by a line: ``up``, ``down`` (no connection is accepted and none is answered),
and ``down after N`` (N more objects are taken, and then it is down). What was stored stays.

moto looks at If-None-Match and If-Match first and stores the object afterwards, so that two
requests of its threaded server can both pass; S3 promises that only one does. One lock around each
request makes that true here; ``test_emulator.py`` shows it.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import BaseWSGIServer, make_server


class Emulator:
    def __init__(self, port: int, *, locked: bool = True) -> None:
        self.port = port
        self.left: int | None = None  # objects to take before going down
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock() if locked else None
        self._server: BaseWSGIServer | None = None

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if self._lock is None:
            return self._app(environ, start)
        with self._lock:
            writes = environ["REQUEST_METHOD"] == "PUT"
            if self.left is not None and (self.left <= 0 if writes else self.left < 0):
                return self._hang_up(environ)
            if writes and self.left is not None:
                self.left -= 1
            return list(self._app(environ, start))

    def _hang_up(self, environ: dict[str, Any]) -> Iterable[bytes]:
        self.left = -1
        self._stop_listening()
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return []

    def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()  # waits for `serve_forever`, which then closes the socket

    def up(self) -> None:
        self.left = None
        self._server = make_server(
            "127.0.0.1", self.port, self, threaded=True, request_handler=MotoRequestHandler
        )
        self.port = self._server.server_port
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        with self._lock or threading.Lock():
            self.left = -1
            self._stop_listening()


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    emulator = Emulator(0, locked="unlocked" not in sys.argv)
    if "unlocked" in sys.argv:
        sys.setswitchinterval(1e-6)
    emulator.up()
    print(json.dumps(emulator.port), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["up"]:
                emulator.up()
            case ["down"]:
                emulator.down()
            case ["down", "after", number]:
                emulator.left = int(number)
        print("done", flush=True)


if __name__ == "__main__":
    main()

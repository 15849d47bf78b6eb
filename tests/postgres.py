"""A real PostgreSQL server for the tests: find one or install it, start it, stop it.

Run as a script it makes sure there is one: the system's if present, Debian's package where this
user may install it. Without one the tests that need it are skipped, with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

PASSWORD = "pa:ss/w@rd%"
"""With every character that a URL has to escape."""

_ESCAPED = "pa%3Ass%2Fw%40rd%25"
_SETTINGS = {
    "fsync": "off",  # a test's data need not outlive a power cut
    "full_page_writes": "off",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
}
_START_SECONDS = 60.0


def find_postgres() -> Path | None:
    """Return the folder of the server's programs, None if there is none."""
    known = shutil.which("postgres")
    if known:
        return Path(known).resolve().parent
    versions = [
        path.parent
        for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")
        if path.parent.parent.name.isdecimal()
    ]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


def ensure_postgres() -> Path | None:
    """Return the folder of the server's programs, installing them if this user may."""
    if find_postgres() is None and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in ("update -qq", "install -y -qq --no-install-recommends postgresql"):
            call = ["apt-get", *command.split()]
            subprocess.run(call, check=False, env=quiet, stdout=subprocess.DEVNULL)
    return find_postgres()


class PostgresServer:
    """A server of our own on loopback, on data that is thrown away.

    Parameters
    ----------
    programs : Path
        From `find_postgres`.
    **settings : str
        Of the server, such as ``fsync="on"``.
    """

    def __init__(self, programs: Path, **settings: str) -> None:
        self._programs = programs
        self._settings = _SETTINGS | settings
        self._names = (f"store{number}" for number in count())
        self._process: subprocess.Popen[bytes] | None = None
        # Not under pytest's own folder, which the server's user may not enter.
        self._folder = Path(tempfile.mkdtemp(prefix="workbench-postgres-"))
        self._data = self._folder / "data"
        self.port = 0
        # The server refuses to run as root, and has a user of its own where a package put it.
        self._user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        if self._user:
            shutil.chown(self._folder, **self._user)
        self._make()

    def _make(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        if self._user:
            shutil.chown(secret, **self._user)
        command = [self._programs / "initdb", "--pgdata", self._data, "--username=tester"]
        rest = ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-sync"]
        command += [*rest, "--locale=C.UTF-8", "--no-instructions"]
        subprocess.run(
            command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL, **self._user
        )

    def start(self) -> None:
        """Start it, on the port it had, and wait until it answers."""
        for _ in range(5):  # a free port may be taken by another before the server has it
            self.port = self.port or _free_port()
            options = [f"-c{name}={value}" for name, value in self._settings.items()]
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [self._programs / "postgres", "-D", self._data, f"-p{self.port}", *options],
                    cwd=self._folder,
                    stdout=log,
                    stderr=log,
                    **self._user,
                )
            if self._answers():
                return
            self.port = 0
        raise RuntimeError((self._folder / "log").read_text(encoding="utf-8", errors="replace"))

    def _answers(self) -> bool:
        ask = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + _START_SECONDS
        while self._process is not None and self._process.poll() is None:
            if subprocess.run(ask, check=False).returncode == 0:
                return True
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return False

    def stop(self, *, kill: bool = False) -> None:
        """Stop it: in order, or at once as a crash would."""
        if self._process is not None:
            # SIGQUIT ends every session without writing anything out.
            self._process.send_signal(signal.SIGQUIT if kill else signal.SIGINT)
            self._process.wait(timeout=_START_SECONDS)
            self._process = None

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop(kill=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str, *, password: str | None = _ESCAPED) -> str:
        """Return the URL of a database; without a password when it is None."""
        login = "tester" if password is None else f"tester:{password}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside of any store and return its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def make_database(self) -> str:
        """Make an empty database and return its name."""
        name = next(self._names)
        self.sql(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and end the sessions on it."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def version(programs: Path) -> str:
    """Return the server's version, such as 15.14."""
    command = [programs / "postgres", "--version"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"\d+(\.\d+)*", said)
    return found[0] if found else said.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    programs = ensure_postgres()
    found = "not here, its tests are skipped" if programs is None else version(programs)
    sys.stdout.write(f"PostgreSQL: {found}\n")

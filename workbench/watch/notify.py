"""Tell people and programs of alarms: a webhook, a command, the terminal."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from workbench.errors import ArgumentError, CollapseWarning
from workbench.text import plain, without_password
from workbench.watch.alarms import Alarm

TERMINAL = "terminal"
COMMAND = "command:"
_SECONDS = 10.0


def event_of(alarm: Alarm, *, run_id: str) -> dict[str, Any]:
    """Return what is sent: ``run_id``, ``text`` for people, and the alarm's own numbers."""
    content: dict[str, Any] = plain({"run_id": run_id, "text": f"{run_id}: {alarm}"})
    numbers: dict[str, Any] = plain(alarm.to_dict())
    return content | numbers


class Notifier:
    """Sends alarms to targets from a thread of its own, so that no training waits for a server.

    A target that cannot be reached is warned of with `CollapseWarning`; it never ends the watch.

    Parameters
    ----------
    targets : sequence of str
        ``terminal`` writes a line to stderr; ``http://…`` and ``https://…`` get the event as a JSON
        document by POST; ``command:PROGRAM ARGUMENTS`` is started, without a shell, with the JSON
        document on its standard input.

    Raises
    ------
    ArgumentError
        If a target is none of these.
    """

    def __init__(self, targets: tuple[str, ...] | list[str]) -> None:
        for target in targets:
            web = target.startswith(("http://", "https://"))
            ran = target.startswith(COMMAND) and target.removeprefix(COMMAND).strip()
            if not (web or ran or target == TERMINAL):
                msg = (
                    f"--notify takes http(s)://…, {COMMAND}PROGRAM or {TERMINAL}, "
                    f"found {without_password(target)!r}."
                )
                raise ArgumentError(msg)
        self.targets = tuple(targets)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="workbench-notify")
        self._sent: list[tuple[str, Future[None]]] = []

    def send(self, alarm: Alarm, *, run_id: str) -> None:
        """Send an alarm to every target; returns at once."""
        event = event_of(alarm, run_id=run_id)
        for target in self.targets:
            self._sent.append((target, self._pool.submit(_deliver, target, event)))
        self._sent = [pair for pair in self._sent if not self._failed(*pair)]

    def close(self) -> None:
        """Wait until everything was sent, or could not be."""
        self._pool.shutdown(wait=True)
        self._sent = [pair for pair in self._sent if not self._failed(*pair)]

    def _failed(self, target: str, sent: Future[None]) -> bool:
        """Tell whether a delivery is over; warn where it went wrong."""
        if not sent.done():
            return False
        error = sent.exception()
        if error is not None:
            text = f"{without_password(target)} could not be told of an alarm: {error}"
            warnings.warn(text, CollapseWarning, stacklevel=3)
        return True


def _deliver(target: str, event: dict[str, Any]) -> None:
    if target == TERMINAL:
        sys.stderr.write(f"{event['text']}\n")
        sys.stderr.flush()
        return
    body = json.dumps(event, ensure_ascii=False).encode()
    if target.startswith(COMMAND):
        words = shlex.split(target.removeprefix(COMMAND))
        subprocess.run(words, input=body, check=True, timeout=_SECONDS, stdout=subprocess.DEVNULL)
        return
    request = Request(target, data=body, headers={"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=_SECONDS) as answer:
            answer.read()
    except URLError as error:
        raise OSError(str(error.reason)) from error

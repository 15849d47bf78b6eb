"""Record a training run from any loop: three lines, nothing lost that was acknowledged."""

from __future__ import annotations

import os
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Self

import numpy as np

from workbench.errors import ArgumentError, DataError
from workbench.store.attributes import clean_points
from workbench.store.store import Store, open_store
from workbench.store.writer import EndStatus

FLUSH_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0


class Recorder:
    """Log one run into a store.

    Points are buffered and flushed once a second by a thread of its own, so that the last point
    before a long evaluation, a hang or a kill is in the store too; looking at the clock in `log`
    would hold it back until the next call.

    Parameters
    ----------
    store : path or Store
        Store folder, made when missing, or an open store.
    family : str
        Runs that share a recipe.
    run_id : str, optional
        Unique name; one is made up when none is given. The name of an unfinished run resumes it as
        a new attempt.
    **hyperparameters : number or text
        ``model_size``, ``tau``, ``tpp``, ``total_steps``, ``peak_lr``, … or any name of your own.

    Raises
    ------
    DataError
        If the run has already been completed.

    Examples
    --------
    >>> with Recorder("runs", family="mine", total_steps=2) as rec:  # doctest: +SKIP
    ...     rec.log(1, train_loss=4.2)
    ...     rec.log(2, train_loss=3.9)
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | Store,
        *,
        family: str,
        run_id: str | None = None,
        **hyperparameters: Any,
    ) -> None:
        opened = store if isinstance(store, Store) else open_store(store, create=True)
        self.run_id = run_id or f"{family}-{uuid.uuid4().hex[:8]}"
        self._writer = opened.start_run(self.run_id, family=family, attributes=hyperparameters)
        self._points: list[tuple[int, dict[str, float]]] = []
        self._known: set[tuple[str, ...]] = set()
        self._buffer = threading.Lock()
        self._writing = threading.Lock()
        self._alive = time.monotonic()
        self._ended = threading.Event()
        self._error: DataError | ArgumentError | None = None
        self._thread = threading.Thread(target=self._flush_regularly, daemon=True)
        self._thread.start()

    def log(self, step: int, **values: float) -> None:
        """Buffer one record; values of the same step logged by several calls become one.

        Parameters
        ----------
        step : int
            Optimiser step.
        **values : float
            ``train_loss``, ``eval_loss`` [nats/token], ``tokens``, ``learning_rate``, … or any
            name of your own. Anything ``float`` takes, a tensor of one element too.

        Raises
        ------
        ArgumentError
            If a value is not a number.
        DataError
            If the run was taken over by another process, or the store cannot be written.
        """
        self._raise_late()
        try:
            point = (int(step), {name: float(value) for name, value in values.items()})
        except (TypeError, ValueError):
            msg = f"step and values must be numbers, found step={step!r}, {values!r}."
            raise ArgumentError(msg) from None
        names = tuple(values)
        if point[0] < 0 or names not in self._known:
            clean_points(point[0], point[1])  # what cannot be kept fails here, not in the thread
            self._known.add(names)
        with self._buffer:
            self._points.append(point)

    def flush(self) -> None:
        """Write what is buffered; when this returns every point logged before is in the store."""
        self._raise_late()
        self._write()

    def close(self, status: EndStatus = "done") -> None:
        """Flush and end the run as `status`; further calls do nothing."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        self._raise_late()
        self._write()
        self._writer.finish(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close("done")
            return
        try:
            self.close("stopped" if issubclass(kind, KeyboardInterrupt) else "failed")
        except (DataError, ArgumentError) as second:
            if error is not None:  # the block's own error is the one to show
                error.add_note(f"The run {self.run_id!r} could not be closed: {second}")

    def _write(self) -> None:
        with self._writing:
            with self._buffer:
                taken, self._points = self._points, []
            if not taken:
                return
            try:
                self._writer.append(**_columns(taken))
                self._alive = time.monotonic()
            except DataError:
                with self._buffer:  # not written: keep them for the next attempt to flush
                    self._points = taken + self._points
                raise

    def _flush_regularly(self) -> None:
        while not self._ended.wait(FLUSH_SECONDS):
            try:
                if self._points:
                    self._write()
                elif time.monotonic() - self._alive > HEARTBEAT_SECONDS:
                    self._writer.heartbeat()
                    self._alive = time.monotonic()
            except (DataError, ArgumentError) as error:
                self._error = error
                return

    def _raise_late(self) -> None:
        if self._error is not None:
            raise self._error


def _columns(points: list[tuple[int, dict[str, float]]]) -> dict[str, Any]:
    names = dict.fromkeys(name for _, values in points for name in values)
    columns: dict[str, Any] = {
        name: np.array([values.get(name, np.nan) for _, values in points]) for name in names
    }
    return {"step": np.array([step for step, _ in points], dtype=np.int64), **columns}

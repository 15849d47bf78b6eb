"""Record a training run from any loop: three lines, nothing lost that was acknowledged."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import uuid
import warnings
from types import TracebackType
from typing import Any, Self

import numpy as np

from workbench.errors import ArgumentError, CollapseWarning, DataError
from workbench.store.attributes import clean_points
from workbench.store.ranks import process_rank
from workbench.store.scalars import Point, hold, release
from workbench.store.store import Store, open_store
from workbench.store.writer import EndStatus, RunWriter
from workbench.text import plural

FLUSH_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0
BUFFER_POINTS = 200_000
_STEP_LIMIT = 2**53


class Recorder:
    """Log one run into a store.

    Points are buffered and flushed once a second by a thread of its own, so that the last point
    before a long evaluation, a hang or a kill is in the store too; looking at the clock in `log`
    would hold it back until the next call.

    A store that cannot be written (a full disk, a folder that went away, a server that is down,
    another process that took the run over) never ends the training: `log` keeps the points, warns
    once with `CollapseWarning`, and the thread tries again every second. Beyond ``BUFFER_POINTS``
    of them the newest are dropped and counted in `lost`. `flush` and `close` tell: they raise
    unless every point is in the store.

    Parameters
    ----------
    store : path or Store
        Store folder, made when missing, or an open store.
    family : str
        Runs that share a recipe.
    run_id : str, optional
        Unique name; one is made up when none is given. The name of an unfinished run resumes it as
        a new attempt, whose points win over those the attempts before logged at the same steps.
    rank : int, optional
        Of this process; only 0 records, in the others every call does nothing. Default: what
        ``torch.distributed``, torchrun, srun or mpirun say. Give 0 where the tasks of one srun are
        independent runs.
    **hyperparameters : number or text
        ``model_size``, ``tau``, ``tpp``, ``total_steps``, ``peak_lr``, … or any name of your own.

    Attributes
    ----------
    run_id : str
        Name of the run; "" where this process does not record and none was given.
    last_step : int or None
        Largest step that the attempts before left in the store, to compare a checkpoint with; None
        for a new run, and where this process does not record.
    recording : bool
        Whether this process records. A copy sent to another process, or a forked child such as a
        worker of a DataLoader, does not.
    lost : int
        Values and points dropped so far.

    Raises
    ------
    DataError
        If the run has already been completed.

    Notes
    -----
    A program that ends without `close` has its points flushed and the run ended: as failed after
    an uncaught error, else as stopped, because only `close` says that it came to its end.

    Examples
    --------
    >>> with Recorder("runs", family="mine", total_steps=2) as rec:  # doctest: +SKIP
    ...     rec.log(1, train_loss=4.2)
    ...     rec.log(2, train_loss=3.9)
    """

    last_step: int | None
    _pid: int | None

    def __init__(
        self,
        store: str | os.PathLike[str] | Store,
        *,
        family: str,
        run_id: str | None = None,
        rank: int | None = None,
        **hyperparameters: Any,
    ) -> None:
        self._stand_by(run_id or "")
        if (process_rank() if rank is None else rank) != 0:
            return
        opened = store if isinstance(store, Store) else open_store(store, create=True)
        self.run_id = run_id or f"{family}-{uuid.uuid4().hex[:8]}"
        self._writer: RunWriter = opened.start_run(
            self.run_id, family=family, attributes=hyperparameters
        )
        self.last_step = opened.last_step(self.run_id)
        self._points: list[Point] = []
        self._waiting: list[Point] = []
        self._batch: dict[str, Any] | None = None
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._buffer = threading.Lock()
        self._writing = threading.Lock()
        self._alive = time.monotonic()
        self._ended = threading.Event()
        self._trouble: Exception | None = None
        self._unsaid: str | None = None
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._flush_regularly, daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)

    def _stand_by(self, run_id: str) -> None:
        self.run_id = run_id
        self.last_step = None
        self.lost = 0
        self._pid = None
        self._closed = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (self.run_id,)

    @property
    def recording(self) -> bool:
        """Whether this process records the run."""
        return self._pid == os.getpid() and not self._closed

    def log(self, step: int, **values: Any) -> None:
        """Buffer one record; values of the same step logged by several calls become one.

        Parameters
        ----------
        step : int
            Optimiser step.
        **values : number
            ``train_loss``, ``eval_loss`` [nats/token], ``tokens``, ``learning_rate``, … or any
            name of your own. Anything ``float`` takes; of a tensor on an accelerator the value it
            has now is kept, without waiting for the device.

        Raises
        ------
        ArgumentError
            If a value is not a number, or a name cannot be logged.
        DataError
            If the recorder has been closed.
        """
        unusual = self._pid != os.getpid() or self._closed or self._unsaid
        if unusual and not self._may_log():
            return
        try:
            whole = int(step)
            held = [hold(value) for value in values.values()]
        except (TypeError, ValueError, OverflowError):
            whole, held = -1, []
        names = tuple(values)
        known = self._names.get(names)
        if known is None or not 0 <= whole < _STEP_LIMIT or whole != step:
            known = self._names[names] = _checked(step, values)
        point = (whole, dict(zip(known, held, strict=True)))
        with self._buffer:
            if len(self._points) + len(self._waiting) < BUFFER_POINTS:
                self._points.append(point)
                return
        self._make_room(point)

    def flush(self) -> None:
        """Write what is buffered; when this returns every point logged before is in the store.

        Raises
        ------
        DataError
            If the store cannot be written, or the run was taken over; the points are kept.
        """
        if self.recording:
            self._write()

    def close(self, status: EndStatus = "done") -> None:
        """Flush and end the run as `status`; once that worked, further calls do nothing.

        Raises
        ------
        DataError
            If points are not in the store. Where they still wait, it may be called again.
        """
        if not self.recording:
            return
        self._ended.set()
        self._thread.join()
        self._write()
        self._writer.finish(status)
        self._closed = status
        atexit.unregister(self._at_exit)
        if self.lost:
            msg = (
                f"Run {self.run_id!r} is closed as {status!r}, but {plural(self.lost, 'point')} of "
                "it were dropped while the store could not be written; the rest is there. "
                "Import them from another log of the training if there is one."
            )
            raise DataError(msg)

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
            self.close(status_after(kind))
        except (DataError, ArgumentError) as second:
            if error is not None:  # the block's own error is the one to show
                error.add_note(f"The run {self.run_id!r} could not be closed: {second}")

    def _may_log(self) -> bool:
        """Tell whether this process records; say once what the caller should know."""
        if self._closed:
            msg = (
                f"Run {self.run_id!r} was closed as {self._closed!r} and takes no more points. "
                "Log before close(), or start another Recorder."
            )
            raise DataError(msg)
        if self._pid is None:
            return False
        said, self._unsaid = self._unsaid, None
        if self._pid != os.getpid():
            self._pid = None
            said = (
                f"Run {self.run_id!r} is recorded by the process that started it; what this child "
                "process logs (a worker of a DataLoader?) is dropped. Log in the training loop."
            )
        if said:
            warnings.warn(said, CollapseWarning, stacklevel=3)
        return self._pid is not None

    def _make_room(self, point: Point) -> None:
        """Take a point that finds the buffer full: write first, or drop it if that fails."""
        if self._trouble is None:
            try:
                self._write()
            except DataError:
                pass
            else:
                with self._buffer:
                    self._points.append(point)
                return
        if not self.lost:
            self._unsaid = (
                f"The buffer of run {self.run_id!r} is full: {BUFFER_POINTS} points wait for the "
                f"store, further ones are dropped until it can be written again. {self._trouble}"
            )
        self.lost += 1

    def _write(self) -> None:
        with self._writing:
            try:
                self._write_waiting()
            except Exception as error:  # whatever it is, the training goes on
                self._note(error)
                if isinstance(error, DataError):
                    raise
                msg = f"Run {self.run_id!r} cannot be written: {error!r}. Its points are kept."
                raise DataError(msg) from error
            self._trouble = None

    def _write_waiting(self) -> None:
        with self._buffer:
            fresh, self._points = self._points, []
            self._waiting += fresh
        self.lost += release(fresh)
        # A batch whose write failed may be there all the same (an answer that got lost), so it is
        # written again as it was, under its number, before anything else.
        while self._batch is not None or self._waiting:
            if self._batch is None:
                with self._buffer:
                    taken, self._waiting = self._waiting, []
                self._batch = _columns(taken)
            self._writer.append(**self._batch)
            self._batch = None
            self._alive = time.monotonic()

    def _flush_regularly(self) -> None:
        while not self._ended.wait(FLUSH_SECONDS):
            try:
                if self._points or self._waiting or self._batch:
                    self._write()
                elif time.monotonic() - self._alive > HEARTBEAT_SECONDS:
                    self._writer.heartbeat()
                    self._alive = time.monotonic()
                    self._trouble = None
            except Exception as error:  # the thread must live as long as the training
                self._note(error)

    def _note(self, error: Exception) -> None:
        if self._trouble is None:
            self._unsaid = (
                f"Run {self.run_id!r} cannot be written at the moment; its points are kept, up to "
                f"{BUFFER_POINTS}, and tried again every {FLUSH_SECONDS:g} s. {error}"
            )
        self._trouble = error

    def _at_exit(self) -> None:
        try:
            self.close(status_after(type(getattr(sys, "last_value", None))))
        except (DataError, ArgumentError) as error:
            warnings.warn(str(error), CollapseWarning, stacklevel=1)


def status_after(error: type | None) -> EndStatus:
    """Return how a run ends that was left by an error, or without a word (None)."""
    stopped = (KeyboardInterrupt, SystemExit)
    if error is None or not issubclass(error, BaseException) or issubclass(error, stopped):
        return "stopped"
    return "failed"


def _elsewhere(run_id: str) -> Recorder:
    """Make what a copy of a recorder is in another process: one that does nothing."""
    copy = Recorder.__new__(Recorder)
    copy._stand_by(run_id)
    return copy


def _checked(step: object, values: dict[str, Any]) -> tuple[str, ...]:
    """Return the canonical names of values that can be kept; else raise as the call deserves."""
    try:
        whole = int(step)  # type: ignore[call-overload]
        for value in values.values():
            hold(value)
    except (TypeError, ValueError, OverflowError):
        msg = f"step and values must be numbers, found step={step!r}, {values!r}."
        raise ArgumentError(msg) from None
    if whole != step or not 0 <= whole < _STEP_LIMIT:
        msg = f"step must be a whole number from 0, found {step!r}. Log the optimiser step."
        raise ArgumentError(msg)
    return tuple(clean_points(whole, dict.fromkeys(values, 0.0)))[1:]


def _columns(points: list[Point]) -> dict[str, Any]:
    names = dict.fromkeys(name for _, values in points for name in values)
    columns: dict[str, Any] = {
        name: np.array([values.get(name, np.nan) for _, values in points]) for name in names
    }
    return {"step": np.array([step for step, _ in points], dtype=np.int64), **columns}

"""State of the Explorer without a GUI: what is selected, how it is normalised, what it shows.

Every number the page writes can be had from here, by the library's own functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import param
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse import (
    TRAIN_SMOOTHING,
    WINDOW_START,
    CollapseReport,
    Normalisation,
    collapse_report,
    residual,
    two_normalisations,
)
from workbench.curves import POINTS, XAxis, is_complete, smooth, x_scale
from workbench.errors import ArgumentError
from workbench.schema import OPEN_STATUSES, LossName, run_names, take_runs
from workbench.views.browser_columns import colour_choices, x_axes
from workbench.views.first_offset import first_offset, fitted_track
from workbench.views.matched_groups import matched_groups
from workbench.views.run_table import FILTERS, losses_of, run_table
from workbench.views.selection import carry_over, read_selection, write_selection

View = Literal["Raw", "Normalised", "Residual"]
VIEWS: tuple[View, ...] = ("Raw", "Normalised", "Residual")
EVERYTHING, OWN = "All runs", "Own selection"
LARGEST_SMOOTHING = 0.1


class ExplorerModel(param.Parameterized):
    """Selection, normalisation and view of a set of runs.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs in the schema; may hold no runs yet.
    points : int
        Points of progress each curve is resampled to.
    """

    loss = param.Selector(objects=["eval_loss", "train_loss"], doc="Which loss is drawn.")
    x = param.Selector(default="progress", objects=["progress"], doc="What the x-axis counts.")
    view = param.Selector(default="Normalised", objects=list(VIEWS), doc="What the y-axis shows.")
    divide = param.Boolean(default=True, doc="Divide by the final loss.")
    smoothing = param.Number(
        default=0.0, bounds=(0, LARGEST_SMOOTHING), doc="Window as a share of the run."
    )
    colour_by = param.Selector(default="model_size", objects=["model_size"], doc="Curve colour.")
    offset = param.Parameter(default="fit", doc='"fit", "zero" or a number [nats/token].')
    position = param.Number(default=0.0, bounds=(0, 1), doc="Offset as a place on its track.")
    chosen = param.List(default=[], item_type=str, doc="run_id of the highlighted runs.")
    group = param.Selector(default=EVERYTHING, objects=[EVERYTHING], doc="Matched group.")
    family = param.List(default=[], doc="Allowed families.")
    model_size = param.List(default=[], doc="Allowed sizes, as labels.")
    tau = param.List(default=[], doc="Allowed τ, as labels.")
    tpp = param.List(default=[], doc="Allowed tokens per parameter, as labels.")
    schedule = param.List(default=[], doc="Allowed schedules.")
    seed = param.List(default=[], doc="Allowed seeds, as labels.")
    selection = param.String(default="", doc="The filters as text; empty for the matched group.")
    settled = param.Integer(default=0, doc="Counts up when the fit or the data have changed.")

    def __init__(self, runs: xr.Dataset, *, points: int = POINTS) -> None:
        super().__init__()
        self._points = points
        self._quiet = False
        self._undo: tuple[str, list[str]] | None = None
        self._touched = False
        self._widths: dict[str, float] = {}
        self.all_runs = runs
        self.lost: frozenset[str] = frozenset()
        self._choose_loss(runs)
        self.table = run_table(runs, loss=self.loss, points=points)
        self._offer_choices()
        self.group = self._default_group()
        self._apply_group()
        self.track, self.fit_problem = fitted_track(self.curves())
        self.offset = first_offset(self.track, self.curves())
        self._place_offset()
        for names, react in (
            (list(FILTERS), self._filters_changed),
            (["offset"], self._offset_changed),
            (["loss", "smoothing"], self._loss_changed),
            (["group"], self._group_changed),
            (["selection"], self._selection_changed),
        ):
            self.param.watch(react, names)

    # -- what is selected ---------------------------------------------------------------------

    @property
    def only(self) -> dict[str, tuple[str, ...]]:
        """Return the allowed labels of every filter."""
        return {name: tuple(getattr(self, name)) for name in FILTERS}

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Return which drawable runs the filters keep, shape (run,)."""
        return self.table.keeps(self.only)

    @property
    def offset_value(self) -> float:
        """Return the offset [nats/token] the page subtracts."""
        return self.track.offset_at(self.position)

    @property
    def last_filter(self) -> str:
        """Return the name of the filter changed last, "" when none was."""
        return self._undo[0] if self._undo else ""

    def undo_filter(self) -> None:
        """Take back the last change of a filter."""
        if self._undo is not None:
            name, before = self._undo
            self._undo = None
            self.param.update(**{name: before})
            self._undo = None

    def show_all(self) -> None:
        """Drop every filter."""
        self.group = EVERYTHING
        self._group_changed()

    # -- numbers ------------------------------------------------------------------------------

    def curves(self) -> xr.DataArray:
        """Return the smoothed curves of the kept runs, DataArray (run, progress) [nats/token]."""
        kept = self.table.curves.isel(run=np.flatnonzero(self.kept))
        return smooth(kept, width=self.smoothing) if kept.sizes["run"] else kept

    def report(self) -> CollapseReport:
        """Return the library's report on the kept runs at the current offset.

        Raises
        ------
        DataError
            If fewer than two finished runs can be compared.
        """
        return collapse_report(
            take_runs(self.table.runs, self.kept),
            loss=self.loss,
            offset=self._report_offset(),
            x=self.x,
            points=self._points,
            smoothing=self.smoothing,
        )

    def _report_offset(self) -> float | Literal["fit"]:
        estimate = self.track.estimate
        value = self.offset_value
        return "fit" if estimate is not None and value == estimate.value else value

    def residuals(self, report: CollapseReport) -> dict[str, float]:
        """Return each compared run's largest distance to the mean curve beyond 20 %, by run_id."""
        late = residual(report.curves)
        late = abs(late.where(late["progress"] >= WINDOW_START)).max("progress")
        return dict(zip(map(str, late["run_id"].to_numpy()), late.to_numpy(), strict=True))

    def normalisations(self) -> tuple[Normalisation, Normalisation] | None:
        """Return L/L(1) beside excess loss of the kept, finished runs; None where H is unknown."""
        curves = self.curves()
        if not curves.sizes["run"]:
            return None
        return two_normalisations(curves.isel(run=np.flatnonzero(is_complete(curves))))

    def x_positions(self) -> xr.DataArray:
        """Return where each kept run's points lie on the x-axis, DataArray (run, progress)."""
        curves = self.curves()
        axis: XAxis = self.x
        return curves["progress"] * x_scale(curves, axis)

    def counts(self) -> Mapping[str, int]:
        """Return how many of all runs are done, running, lost and in any other state."""
        status = self.all_runs["status"].to_numpy().astype(str)
        open_ones = np.isin(status, OPEN_STATUSES)
        lost = int((open_ones & np.isin(run_names(self.all_runs), list(self.lost))).sum())
        done, running = int((status == "done").sum()), int(open_ones.sum()) - lost
        other = len(status) - done - running - lost
        return {"done": done, "running": running, "lost": lost, "other": other}

    # -- new data -----------------------------------------------------------------------------

    def set_runs(self, runs: xr.Dataset) -> None:
        """Take a newer version of the runs; the selection follows the runs, new ones join it."""
        before = self.table
        self.all_runs = runs
        with self.silently():
            self._choose_loss(runs)
        self.table = run_table(runs, loss=self.loss, points=self._points, before=before)
        with self.silently():
            self._offer_choices()
            if self._touched and before.n_runs:
                self.param.update(**carry_over(self.only, before, self.table))
            else:
                self.group = self._default_group()
                self._apply_group()
        self._settle()

    # -- reactions ----------------------------------------------------------------------------

    @contextmanager
    def silently(self) -> Iterator[None]:
        """Change parameters without reactions, when the caller sees to the consequences."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _choose_loss(self, runs: xr.Dataset) -> None:
        found = losses_of(runs) if runs.sizes["run"] else ()
        self.param.loss.objects = list(found) or ["eval_loss", "train_loss"]
        if self.loss not in self.param.loss.objects or not self._widths:
            self.loss = self.param.loss.objects[0]
            self.smoothing = self._default_smoothing(self.loss)
            self._widths = {self.loss: self.smoothing} if found else {}

    @staticmethod
    def _default_smoothing(loss: LossName) -> float:
        return TRAIN_SMOOTHING if loss == "train_loss" else 0.0

    def _offer_choices(self) -> None:
        self.param.x.objects = list(x_axes(self.table))
        self.param.colour_by.objects = list(colour_choices(self.table))
        self.param.group.objects = [*matched_groups(self.table), EVERYTHING, OWN]
        for name in ("x", "colour_by", "group"):
            if getattr(self, name) not in self.param[name].objects:
                setattr(self, name, self.param[name].default)

    def _default_group(self) -> str:
        return str(self.param.group.objects[0])

    def _apply_group(self) -> None:
        """Allow exactly the labels that occur in the group; sizes and seeds stay whole."""
        rows = matched_groups(self.table).get(self.group)
        values = {}
        for name in FILTERS:
            choices = self.table.choices[name]
            here = choices if rows is None else set(self.table.labels[name][rows])
            free = name in ("model_size", "seed") or rows is None
            values[name] = list(choices) if free else [c for c in choices if c in here]
        with self.silently():
            self.param.update(**values)

    def _filters_changed(self, *events: Any) -> None:
        if self._quiet:
            return
        self._touched = True
        self._undo = (str(events[-1].name), list(events[-1].old))
        with self.silently():
            self.group = OWN
            self.selection = write_selection(self.only, self.table)
        self._settle()

    def _selection_changed(self, event: Any) -> None:
        """Take filters from the address of the page; labels that do not exist are dropped."""
        if self._quiet or not event.new:
            return
        try:
            values = read_selection(event.new, self.table)
        except ArgumentError:
            with self.silently():
                self.selection = event.old
            raise
        self._touched = True
        with self.silently():
            self.group = OWN
            self.param.update(**values)
        self._settle()

    def _group_changed(self, *_: Any) -> None:
        if self._quiet or self.group == OWN:
            return
        self._touched = True
        self._undo = None
        self._apply_group()
        with self.silently():
            default = self.group == self._default_group()
            self.selection = "" if default else write_selection(self.only, self.table)
        self._settle()

    def _loss_changed(self, *events: Any) -> None:
        """Each loss keeps its own smoothing, unless both were set at once."""
        if self._quiet:
            return
        changed = {event.name: event for event in events}
        if "loss" in changed:
            own = "smoothing" in changed
            width = changed["smoothing"].old if own else self.smoothing
            self._widths[changed["loss"].old] = width
            self.table = run_table(self.all_runs, loss=self.loss, points=self._points)
            with self.silently():
                self._offer_choices()
                if not own:
                    default = self._default_smoothing(self.loss)
                    self.smoothing = self._widths.get(self.loss, default)
        self._settle()

    def _settle(self, *_: Any) -> None:
        if self._quiet:
            return
        self.track, self.fit_problem = fitted_track(self.curves())
        self._place_offset()
        self.settled += 1

    def _place_offset(self) -> None:
        """Put the handle where the offset, as the user gave it, now lies on the track."""
        with self.silently():
            if self.offset == "fit":
                self.position = self.track.fitted or 0.0
            elif self.offset == "zero":
                self.position = 0.0
            else:
                self.position = self.track.position_of(float(self.offset))

    def rest(self) -> None:
        """Take the slider's place for the offset, once it rests.

        While it moves only ``position`` changes, so a move costs nothing beyond its own message.
        """
        value = self.offset_value
        estimate = self.track.estimate
        fitted = estimate is not None and value == estimate.value
        with self.silently():
            self.offset = "zero" if value == 0 else "fit" if fitted else value

    def _offset_changed(self, event: Any) -> None:
        if self._quiet:
            return
        if event.new not in ("fit", "zero"):
            try:
                valid = 0 <= float(event.new) < float("inf")
            except (TypeError, ValueError):
                valid = False
            if not valid:
                with self.silently():
                    self.offset = event.old
                msg = f"offset must be 'fit', 'zero' or a number ≥ 0, found {event.new!r}."
                raise ArgumentError(msg)
        self._place_offset()

"""Run a shipped notebook on a store and publish the page and its manifest.

The notebooks live inside the package, as reviewed percent scripts, so that an installed wheel has
them; the ``.ipynb`` exists only while a report is built.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.collapse import WINDOW_START, Offset
from workbench.curves import POINTS, XAxis
from workbench.errors import ArgumentError, DataError, WorkbenchError
from workbench.schema import LossName, parse_filter
from workbench.store import Address, open_store
from workbench.store.address import to_address
from workbench.text import plain

if TYPE_CHECKING:
    from nbformat import NotebookNode

ReportName = Literal["collapse"]
REPORTS: Mapping[ReportName, tuple[str, str]] = {
    "collapse": ("collapse_report.py", "Do these runs collapse onto one curve?"),
}
"""Every report: its notebook and the title of its page."""


@dataclass(frozen=True)
class ReportResult:
    """A built report.

    Parameters
    ----------
    html, manifest : Path
        The page, which needs no network, and what it was made from.
    verdict : str
        Its answer in words.
    seconds : float
        Time it took [s].
    """

    html: Path
    manifest: Path
    verdict: str
    seconds: float


def build_report(
    name: ReportName,
    *,
    store: str | os.PathLike[str] | Address,
    out: str | os.PathLike[str],
    where: Sequence[str] = (),
    offset: Offset = "fit",
    loss: LossName | None = None,
    x: XAxis = "progress",
    points: int = POINTS,
    smoothing: float | None = None,
    start: float = WINDOW_START,
    progress: bool = True,
) -> ReportResult:
    """Build a report: run its notebook in a fresh kernel, write the page and its manifest.

    Parameters
    ----------
    name : {"collapse"}
        Which report.
    store : path, str or Address
        Folder or URL of the store with the runs; a password in it does not reach the report.
    out : path
        Folder for ``<name>.html`` and ``manifest.json``; made if need be. Both files appear
        complete or not at all.
    where : sequence of str
        Filters ``NAME OP VALUE``, all of which must hold.
    offset, loss, x, points, smoothing, start
        Those of ``collapse_report``.
    progress : bool
        Whether to show a bar on stderr.

    Returns
    -------
    ReportResult

    Raises
    ------
    ArgumentError
        If an argument cannot be, such as an unknown report, coordinate or store.
    DataError
        If the notebook fails on the data; names the notebook and the error of its cell.
    """
    _require_possible(name, store, out, where)
    shown, password = to_address(store).apart()
    parameters = {
        "store": shown,
        "where": list(where),
        "loss": loss,
        "offset": offset if isinstance(offset, str) else float(offset),
        "x": x,
        "points": points,
        "smoothing": smoothing,
        "start": start,
    }
    began, clock = datetime.now(UTC), time.perf_counter()
    source, title = REPORTS[name]
    secret = {} if password is None else {"PGPASSWORD": str(password)}
    notebook, result = _run(name, source, parameters, progress, secret)
    page = _page(notebook, title)
    seconds = time.perf_counter() - clock
    manifest = {
        "report": name,
        "title": title,
        "created": f"{began:%Y-%m-%dT%H:%M:%SZ}",
        "seconds": round(seconds, 3),
        **result,
        "notebook": {"name": source, "sha256": _sha256(_source(source))},
        "files": {f"{name}.html": _sha256(page)},
    }
    html, listing = Path(out) / f"{name}.html", Path(out) / "manifest.json"
    _publish({html: page, listing: json.dumps(plain(manifest), indent=2, ensure_ascii=False)})
    return ReportResult(html, listing, str(result["verdict"]), seconds)


def _require_possible(
    name: str,
    store: str | os.PathLike[str] | Address,
    out: str | os.PathLike[str],
    where: Sequence[str],
) -> None:
    """Refuse at once what would fail only after seconds in the kernel."""
    if name not in REPORTS:
        msg = f"Unknown report {name!r}. There are: {', '.join(REPORTS)}."
        raise ArgumentError(msg)
    if Path(out).exists() and not Path(out).is_dir():
        msg = f"--out must be a folder, found the file {os.fspath(out)}. Name another one."
        raise ArgumentError(msg)
    for text in where:
        parse_filter(text)
    open_store(store).close()


def _source(name: str) -> str:
    return files("workbench.reports").joinpath("notebooks", name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _run(
    name: str,
    source: str,
    parameters: Mapping[str, Any],
    progress: bool,
    secret: Mapping[str, str],
) -> tuple[NotebookNode, dict[str, Any]]:
    """Run the notebook with typed parameters; its errors come back as the workbench's own."""
    import jupytext
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    from workbench.reports.kernel import this_interpreter
    from workbench.reports.render import result_of

    with tempfile.TemporaryDirectory(prefix="wb-") as scratch:
        try:
            done = execute_notebook(
                jupytext.reads(_source(source), fmt="py:percent"),
                None,
                parameters=dict(parameters),
                kernel_name="python3",
                language="python",
                progress_bar=progress,
                report_mode=True,
                kernel_manager_class=this_interpreter(Path(scratch), secret),
            )
        except PapermillExecutionError as error:
            raise _own_error(name, source, error.ename, error.evalue) from error
        except RuntimeError as error:
            msg = f"The kernel of report {name!r} ({source}) died: {error}. Try fewer runs."
            raise DataError(msg) from error
    result = result_of(done)
    if result is None:
        msg = f"The notebook {source} of report {name!r} ended without an answer."
        raise DataError(msg)
    return done, result


def _own_error(name: str, source: str, kind: str, text: str) -> WorkbenchError:
    where = f"Report {name!r} ({source}) stopped:"
    said = " ".join(text.split())
    if kind == ArgumentError.__name__:
        return ArgumentError(f"{where} {said}")
    return DataError(f"{where} {said}" if kind == DataError.__name__ else f"{where} {kind}: {said}")


def _page(notebook: NotebookNode, title: str) -> str:
    from workbench.reports.render import render

    return render(notebook, title=title)


def _publish(contents: Mapping[Path, str]) -> None:
    """Write every file beside its place first, then move them; a failure leaves nothing new."""
    written: list[tuple[Path, Path]] = []
    try:
        for path, text in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False
            ) as file:
                written.append((Path(file.name), path))
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for draft, path in written:
            draft.chmod(0o644)
            draft.replace(path)
    except BaseException:
        for draft, _ in written:
            draft.unlink(missing_ok=True)
        raise

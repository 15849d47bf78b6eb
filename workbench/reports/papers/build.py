"""Run the notebooks of the papers, in parallel and only where something changed; make the page.

A finished figure is kept under ``parts/`` by a hash of all it was made from, so a build that was
stopped goes on where it was, and one with nothing to do is instant.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from workbench.errors import ArgumentError, DataError
from workbench.reports.build import _publish, _sha256
from workbench.reports.papers.changes import changes_since
from workbench.reports.papers.curves import Curves, find_curves
from workbench.reports.papers.entry import Entry, Scale
from workbench.reports.papers.registry import ENTRIES, find_entry
from workbench.text import plain

_SCIENCE = ("schema", "recipes", "curves", "laws", "collapse", "forecast")
_SHARED = ("charts", "claims", "interactive", "notebook", "printing", "curves", "entry", "printed")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PATH = re.compile(r"(?:/[^\s/:\"']+)+/((?:site-packages|workbench)/)")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class PapersResult:
    """A built report of the papers.

    Parameters
    ----------
    html, manifest : Path
        The page, which needs no network, and what it was made from.
    parts : mapping of str to mapping
        By name of a box: its status and, where it was built, its claims.
    changes : tuple of str
        What differs from the build before.
    ran : tuple of str
        Boxes whose notebook ran in this build.
    seconds : float
        Time it took [s].
    """

    html: Path
    manifest: Path
    parts: Mapping[str, Mapping[str, Any]]
    changes: tuple[str, ...]
    ran: tuple[str, ...]
    seconds: float

    @property
    def failed(self) -> tuple[str, ...]:
        """Boxes whose notebook failed."""
        return tuple(name for name, part in self.parts.items() if part["status"] == "failed")

    @property
    def verdict(self) -> str:
        """How many boxes were built and how many claims held."""
        built = [part for part in self.parts.values() if part["status"] == "built"]
        claims = [claim["status"] for part in built for claim in part["claims"]]
        held, not_held = claims.count("held"), claims.count("did not hold")
        return (
            f"{len(built)} of {len(self.parts)} boxes built; {held} claims held, {not_held} did "
            f"not, {len(claims) - held - not_held} not testable here."
        )


@dataclass(frozen=True)
class _Job:
    """One figure to make: what it is made from and the hash of that."""

    entry: Entry
    source: str
    parameters: Mapping[str, Any]
    curves: tuple[Curves, ...]
    hashes: Mapping[str, str]
    folder: str
    key: str


def build_papers(
    *,
    out: str | os.PathLike[str],
    names: Sequence[str] = (),
    scale: Scale = "quick",
    data: str | os.PathLike[str] | None = None,
    processes: int | None = None,
    progress: bool = True,
) -> PapersResult:
    """Build the report of the papers, or of some of their boxes.

    Parameters
    ----------
    out : path
        Folder for ``papers.html``, ``manifest.json`` and ``parts/``; made if need be.
    names : sequence of str
        Boxes, such as ``bergsma-fig-5``; by default all.
    scale : {"quick", "full"}
        Which parameters.
    data : path, optional
        Folder with the user's copies of public curves; see `find_curves`.
    processes : int, optional
        Notebooks that run at once; by default one a core.
    progress : bool
        Whether to show a bar on stderr.

    Returns
    -------
    PapersResult
        Also where notebooks failed: their boxes carry the traceback, the others are complete.

    Raises
    ------
    ArgumentError
        If there is no such box, folder or number of processes.
    """
    entries = [find_entry(name) for name in names] or list(ENTRIES.values())
    target = Path(out)
    if target.exists() and not target.is_dir():
        msg = f"--out must be a folder, found the file {os.fspath(out)}. Name another one."
        raise ArgumentError(msg)
    if processes is not None and processes < 1:
        msg = f"processes must be at least 1, found {processes}."
        raise ArgumentError(msg)
    began, clock = datetime.now(UTC), time.perf_counter()
    parts: dict[str, dict[str, Any]] = {}
    jobs: list[_Job] = []
    for entry in entries:
        made = _job(entry, scale, data)
        kept = _kept(target, made) if isinstance(made, _Job) else made
        if kept is None and isinstance(made, _Job):
            jobs.append(made)
        parts[entry.name] = kept or {}
    workers = processes or os.cpu_count() or 1
    parts.update(_run_all(jobs, target, workers, progress))
    ran = tuple(job.entry.name for job in jobs)
    return _finish(target, parts, scale, began, clock, ran)


def _job(entry: Entry, scale: Scale, data: str | os.PathLike[str] | None) -> _Job | dict[str, Any]:
    """Return what there is to do for a box, or why there is nothing."""
    from workbench.reports.papers.notebook import source_of

    if not entry.make:
        return {"status": "not remade", "reason": f"Not remade: it {entry.needs}."}
    try:
        curves = tuple(_found(data, name) for name in entry.data)
    except DataError as error:
        return {"status": "no data", "reason": str(error)}
    source, parameters = source_of(entry), entry.parameters(scale)
    hashes = {one.name: one.sha256() for one in curves}
    code = [_code(name) for name in _SCIENCE]
    code += [_sha256(_papers(f"{name}.py")) for name in (*_SHARED, entry.make.split(".")[0])]
    content = {"source": source, "parameters": parameters, "data": hashes, "code": code}
    key = _sha256(json.dumps(content | {"versions": _versions()}, sort_keys=True))
    folder = "" if data is None else os.fspath(Path(data).resolve())
    return _Job(entry, source, parameters, curves, hashes, folder, key)


def _found(data: str | os.PathLike[str] | None, name: str) -> Curves:
    if data is None:
        msg = (
            f"It needs the curves {name}, of which no copy may be shipped: name the folder that "
            "holds yours with --data."
        )
        raise DataError(msg)
    return find_curves(data, name)


def _papers(name: str) -> str:
    return files("workbench.reports.papers").joinpath(name).read_text(encoding="utf-8")


@cache
def _code(room: str) -> str:
    """Return the hash of all modules of one room of the package."""
    folder = Path(str(files("workbench").joinpath(room)))
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()


@cache
def _versions() -> dict[str, str]:
    try:
        from workbench.reports.provenance import versions

        return versions(and_also=("matplotlib",))
    except ImportError as error:
        msg = (
            f"Reports need libraries that are not installed ({error}). Install them: pip install "
            "'collapse-workbench[report]'."
        )
        raise DataError(msg) from error


def _part_path(out: Path, name: str) -> Path:
    return out / "parts" / f"{name}.json"


def _kept(out: Path, job: _Job) -> dict[str, Any] | None:
    """Return the part of an earlier build that was made from the same things."""
    try:
        part = json.loads(_part_path(out, job.entry.name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return part if isinstance(part, dict) and part.get("key") == job.key else None


def _run_all(
    jobs: Sequence[_Job], out: Path, workers: int, progress: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run notebooks, yield each part once it is on disk or has failed."""
    from tqdm import tqdm

    pool = ThreadPoolExecutor(max_workers=max(1, min(workers, len(jobs) or 1)))
    waiting: dict[Future[dict[str, Any]], _Job] = {pool.submit(_run, job): job for job in jobs}
    try:
        with tqdm(total=len(jobs), unit="figure", disable=not progress or not jobs) as bar:
            for future in as_completed(waiting):
                name = waiting[future].entry.name
                part = future.result()
                if part["status"] == "built":
                    _publish({_part_path(out, name): json.dumps(part, ensure_ascii=False)})
                bar.set_postfix_str(name if part["status"] == "built" else f"{name} failed")
                bar.update()
                yield name, part
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _run(job: _Job) -> dict[str, Any]:
    """Run one notebook in a kernel of its own; a failure is a part too."""
    import jupytext
    from jupyter_core.utils import ensure_event_loop
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    from workbench.reports.kernel import this_interpreter
    from workbench.reports.render import result_of

    clock = time.perf_counter()
    loop = ensure_event_loop()  # that of this thread, which nobody else would close
    given = dict(job.parameters) | ({"data": job.folder} if job.curves else {})
    failed = {"status": "failed", "key": job.key, "parameters": dict(job.parameters)}
    with tempfile.TemporaryDirectory(prefix="wb-") as scratch:
        try:
            done = execute_notebook(
                jupytext.reads(job.source, fmt="py:percent"),
                None,
                parameters=given,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                kernel_manager_class=this_interpreter(Path(scratch), {}),
            )
        except PapermillExecutionError as error:
            reason = f"The notebook stopped: {error.ename}: {' '.join(error.evalue.split())}"
            return failed | {"reason": reason, "traceback": _shown(error.traceback)}
        except RuntimeError as error:
            return failed | {"reason": f"The kernel of the notebook died: {error}."}
        finally:
            loop.close()
    result = result_of(done)
    if result is None:
        return failed | {"reason": "The notebook ended without an answer."}
    return {
        "status": "built",
        "key": job.key,
        "parameters": dict(job.parameters),
        "data": dict(job.hashes),
        "seconds": round(time.perf_counter() - clock, 3),
        **result,
    }


def _shown(traceback: Sequence[str]) -> str:
    """Return a traceback without colours and without the folders of this machine."""
    return _PATH.sub(r"\1", _ANSI.sub("", "\n".join(traceback)))


def _finish(
    out: Path,
    parts: Mapping[str, dict[str, Any]],
    scale: Scale,
    began: datetime,
    clock: float,
    ran: tuple[str, ...],
) -> PapersResult:
    """Publish page and manifest, unless they are there and would say the same."""
    from workbench.reports.papers.page import papers_page
    from workbench.reports.provenance import hardware

    html, listing = out / "papers.html", out / "manifest.json"
    before = _manifest(listing)
    boxes = {name: _listed(part) for name, part in parts.items()}
    content = {
        "report": "papers",
        "scale": scale,
        "boxes": boxes,
        "versions": _versions(),
        "hardware": hardware(),
        "page": _page_code(),
    }
    same = {key: before.get(key) for key in content} == plain(content)
    changes = () if same else changes_since(before.get("boxes") or {}, boxes)
    if not (same and html.is_file() and _sha256_of(html) == before.get("sha256")):
        date = f"{began:%Y-%m-%d %H:%M} UTC"
        listed = [str(text) for text in before.get("changes", [])] if same else changes
        made = {"Built": date, **_versions(), **hardware()}
        page = papers_page(parts, scale=scale, changes=listed, made=made)
        manifest = {
            "created": f"{began:%Y-%m-%dT%H:%M:%SZ}",
            "seconds": round(time.perf_counter() - clock, 3),
            **content,
            "changes": list(listed),
            "sha256": _sha256(page),
        }
        text = json.dumps(plain(manifest), indent=2, ensure_ascii=False)
        _publish({html: page, listing: text})
    return PapersResult(html, listing, parts, changes, ran, time.perf_counter() - clock)


def _listed(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the manifest says of a part: all but its pictures."""
    return {k: v for k, v in part.items() if k not in ("charts", "tables")}


def _manifest(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("report") == "papers" else {}


def _page_code() -> str:
    """Return the hash of what turns parts into a page."""
    return _sha256("".join(_papers(name) for name in ("page.py", "papers.css", "papers.js")))


def _sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

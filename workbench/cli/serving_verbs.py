"""Verbs that run for a while: demo, serve."""

from __future__ import annotations

import webbrowser
from typing import Annotated

from cyclopts import Parameter

from workbench.cli.app import app, emit, say
from workbench.cli.options import AsJson, StorePath, store_path
from workbench.collapse import CollapseReport, collapse_report, largest_matched
from workbench.datasets import load_quickstart
from workbench.schema import select_runs, take_runs
from workbench.store import open_store
from workbench.text import without_password

DEMO_STORE = "runs-demo"
SHIPPED, FRESH = "quickstart", "trained-here"
FRESH_SEEDS = 10
"""Seeds of the fresh family start here, so that none repeats a shipped run."""

Port = Annotated[int, Parameter(help="Port of the dashboard.")]


@app.command
def serve(
    *,
    store: StorePath = None,
    port: Port = 5006,
    address: Annotated[
        str, Parameter(help="Address to bind; others than this machine's own need --insecure.")
    ] = "127.0.0.1",
    browser: Annotated[bool, Parameter(help="Open a browser.")] = False,
    insecure: Annotated[
        bool, Parameter(negative="", help="Serve an open address without a login.")
    ] = False,
) -> None:
    """Serve the dashboard on a store until Ctrl-C; answers / and /health."""
    from workbench.apps import start

    path = store_path(store)
    open_store(path)
    with start(path, port=port, address=address, insecure=insecure) as server:
        emit(None, f"Dashboard: {server.url}  (Ctrl-C stops it)", as_json=False)
        if browser:
            webbrowser.open(server.url)
        server.wait()


@app.command
def demo(
    *,
    quick: Annotated[
        bool, Parameter(negative="", help="Train the small family only, about a minute.")
    ] = False,
    store: Annotated[str, Parameter(help="Store of the demo.")] = DEMO_STORE,
    port: Port = 5006,
    browser: Annotated[bool, Parameter(help="Open a browser.")] = True,
    json: AsJson = False,
) -> None:
    """Serve the shipped family at once, train a fresh one beside it, then keep serving."""
    from workbench.apps import start
    from workbench.training import load_spec, train_family

    demo_store = open_store(store, create=True)
    if SHIPPED not in set(demo_store.table()["family"]):
        demo_store.add_runs(load_quickstart(), family=SHIPPED)
    with start(store, port=port) as server:
        say(f"Dashboard: {server.url}  (Ctrl-C stops it)")
        if browser:
            webbrowser.open(server.url)
        spec = load_spec("quickstart" if quick else "demo").with_other_seeds(FRESH_SEEDS)
        result = train_family(spec, store, family=FRESH)
        report = _matched_report(store, FRESH)
        data = {
            "address": server.url,
            "store": without_password(store),
            "family": FRESH,
            "seconds": result.seconds,
            "collapse": report.to_dict(),
        }
        human = (
            f"Family {FRESH!r} is trained ({result.seconds:.0f} s). {report.verdict}\n"
            f"Still serving {server.url}; Ctrl-C stops it."
        )
        emit(data, human, as_json=json)
        server.wait()


def _matched_report(store: str, family: str) -> CollapseReport:
    """Report the largest matched group of a family, with no offset."""
    runs = select_runs(open_store(store).runs(), [f"family={family}", "status=done"])
    _, rows = largest_matched(runs)
    return collapse_report(take_runs(runs, rows), offset="zero")

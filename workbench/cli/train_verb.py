"""The verb that makes runs: train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from workbench.cli.app import app, emit, say
from workbench.cli.options import AsJson, StorePath, store_path
from workbench.cli.train_ask import Ask, tell_plan, tell_presets, tell_schema, tell_toml
from workbench.errors import ArgumentError
from workbench.text import plural, without_password


@Parameter(name="*")
@dataclass(frozen=True)
class Launch:
    """Who trains, where, and how often that is made safe."""

    launcher: Annotated[
        Literal["local", "dask"], Parameter(help="Processes of this machine, or a Dask cluster.")
    ] = "local"
    scheduler: Annotated[
        str | None,
        Parameter(
            help="With dask: tcp://HOST:PORT, or slurm for queued workers; default: this machine."
        ),
    ] = None
    processes: Annotated[
        int | None, Parameter(help="Workers to start; default: one a core, or a CUDA device.")
    ] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Parameter(help="Where to compute; one worker a device.")
    ] = "auto"
    checkpoints: Annotated[
        Path | None, Parameter(help="Folder of checkpoints; default: in the store's.")
    ] = None
    checkpoint_seconds: Annotated[
        float, Parameter(help="Seconds between checkpoints of a job.")
    ] = 30.0
    checkpoint_steps: Annotated[
        int | None, Parameter(help="Also one after every so many steps.")
    ] = None


@app.command
def train(
    family_spec: Annotated[
        str | None, Parameter(name="FAMILY", help="Preset name or a TOML file.")
    ] = None,
    launch: Launch | None = None,
    ask: Ask | None = None,
    *,
    store: StorePath = None,
    family: Annotated[str | None, Parameter(help="Name of the family in the store.")] = None,
    resume: Annotated[bool, Parameter(help="Go on with a family that is in the store.")] = True,
    json: AsJson = False,
) -> None:
    """Train a family of small models, writing live into a store.

    Run the same command again after Ctrl-C or a crash: finished runs are kept, the others go on
    from their checkpoints.
    """
    from workbench.training import Pace, load_spec, train_family

    path, chosen, asked = store_path(store), launch or Launch(), ask or Ask()
    if asked.list_presets or asked.schema:
        return tell_presets(as_json=json) if asked.list_presets else tell_schema()
    if family_spec is None:
        msg = (
            "train needs the name of a preset or a TOML file. See them with: workbench train --list"
        )
        raise ArgumentError(msg)
    if asked.toml:
        return tell_toml(family_spec)
    pace = Pace(chosen.checkpoint_seconds, chosen.checkpoint_steps)
    spec = load_spec(family_spec)
    if asked.dry_run:
        return tell_plan(
            spec,
            workers=chosen.processes,
            device=chosen.device,
            checkpoints=chosen.checkpoints or Path(path).absolute() / "checkpoints",
            price=asked.price,
            as_json=json,
        )
    try:
        result = train_family(
            spec,
            path,
            family=family,
            launcher=chosen.launcher,
            scheduler=chosen.scheduler,
            processes=chosen.processes,
            device=chosen.device,
            checkpoints=chosen.checkpoints,
            pace=pace,
            resume=resume,
        )
    except KeyboardInterrupt:
        say("Checkpoints are written: the same command goes on from here.")
        raise
    rows = [dict(row) for row in result.runs]
    human = (
        f"Trained {plural(len(rows), 'run')} of {result.family} in {result.seconds:.0f} s "
        f"({result.run_steps_per_second:.0f} run-steps/s) into {without_password(path)}."
    )
    data = {
        "family": result.family,
        "runs": rows,
        "run_steps_per_second": result.run_steps_per_second,
        "seconds": result.seconds,
    }
    emit(data, human, as_json=json)

"""What `train` tells without training: the presets, the schema of specs, the plan of a family."""

from __future__ import annotations

import json as jsons
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from workbench.cli.app import emit
from workbench.text import plural

if TYPE_CHECKING:
    from workbench.training import FamilySpec
    from workbench.training.report import WantedDevice


_FIRST_SENTENCE = re.compile(r"[.:] (?=[A-Z])|: ")


@Parameter(name="*")
@dataclass(frozen=True)
class Ask:
    """What to tell instead of training."""

    dry_run: Annotated[
        bool, Parameter(negative="", help="Print the plan and what it will take; train nothing.")
    ] = False
    price: Annotated[
        float | None, Parameter(help="With --dry-run: price of a core or device an hour.")
    ] = None
    list_presets: Annotated[
        bool, Parameter(name="--list", negative="", help="List the presets.")
    ] = False
    schema: Annotated[
        bool, Parameter(negative="", help="Print the JSON schema of family specs.")
    ] = False
    toml: Annotated[
        bool, Parameter(negative="", help="Print a preset as TOML, to start a file of your own.")
    ] = False


def tell_presets(*, as_json: bool) -> None:
    """List the presets with what each is for."""
    from workbench.training import load_spec, plan_family, preset_names
    from workbench.training.spec import preset_text

    rows: list[dict[str, Any]] = []
    for name in preset_names():
        plan = plan_family(load_spec(name))
        comment = [line for line in preset_text(name).splitlines() if line.startswith("# ")]
        about = " ".join(line[2:] for line in comment)
        row = {"name": name, "runs": len(plan.runs), "flops": plan.flops, "about": about}
        rows.append(row)
    human = "\n".join(
        f"{row['name']:18s} {plural(row['runs'], 'run'):>8s}  {row['flops']:8.1e} FLOP  "
        f"{_FIRST_SENTENCE.split(row['about'])[0]}"
        for row in rows
    )
    emit(rows, human, as_json=as_json)


def tell_schema() -> None:
    """Print the JSON schema."""
    from workbench.training.spec import spec_schema

    schema = spec_schema()
    emit(schema, jsons.dumps(schema, indent=2, ensure_ascii=False), as_json=False)


def tell_toml(name: str) -> None:
    """Print the text of a preset.

    Raises
    ------
    ArgumentError
        If there is no preset of this name.
    """
    from workbench.errors import ArgumentError
    from workbench.training import preset_names
    from workbench.training.spec import preset_text

    if name not in preset_names():
        msg = f"--toml prints a preset, found {name!r}. Presets are {', '.join(preset_names())}."
        raise ArgumentError(msg)
    emit(None, preset_text(name).rstrip(), as_json=False)


def tell_plan(
    spec: FamilySpec,
    *,
    workers: int | None,
    device: WantedDevice,
    checkpoints: Path,
    price: float | None,
    as_json: bool,
) -> None:
    """Print the runs of a family and what they will take, after the checks of a real start.

    Raises
    ------
    ArgumentError
        If the family cannot be planned, or not trained here: no such device, no room.
    """
    from workbench.training import plan_family
    from workbench.training.estimate import describe_runs, estimate_family, plan_rows
    from workbench.training.jobs import jobs_of
    from workbench.training.local import available_cores
    from workbench.training.preflight import (
        choose_device,
        find_gpus,
        machine_memory,
        require_memory,
        require_room,
    )

    plan = plan_family(spec)
    place = choose_device(device)
    gpus = find_gpus() if place == "cuda" else ()
    count = (len(gpus) or available_cores()) if workers is None else workers
    estimate = estimate_family(plan, workers=count, device=place, price_per_hour=price)
    memory = min((gpu.memory for gpu in gpus), default=machine_memory())
    require_memory(plan.runs, memory=memory)
    jobs = jobs_of(spec, plan.runs, workers=count, checkpoints=checkpoints, device=place)
    require_room(checkpoints, jobs, workers=count)
    rows = plan_rows(plan)
    data = estimate.to_dict() | {"n_runs": estimate.runs, "runs": rows}
    emit(data, f"{describe_runs(rows)}\n{estimate}", as_json=as_json)

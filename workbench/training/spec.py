"""Family specs: a TOML file that says which runs a family has, checked before anything trains."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from workbench.errors import ArgumentError
from workbench.recipes import Parameterisation, Schedule

Value = TypeVar("Value")
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


OneOrMore = Annotated[tuple[Value, ...], BeforeValidator(_listed), Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Section):
    """The transformer; only its width varies within a family.

    `parameterisation` says what follows from width and depth, see `workbench.recipes.Scaling`.
    """

    depth: Count = 2
    head_size: Count = 8
    expansion: Count = 4
    context: Annotated[int, Field(ge=3)] = 32
    base_width: Count = 32
    base_depth: Count = 2
    parameterisation: Parameterisation = "completep"


class Task(_Section):
    """The order-2 Markov language (see `workbench.training.language`)."""

    name: Literal["markov-2"] = "markov-2"
    vocab: Annotated[int, Field(ge=2, le=256)] = 128
    zipf: float = 1.0
    lag1: float = 1.5
    lag2: float = 1.0
    seed: Seed = 7

    def effects(self) -> dict[str, Any]:
        """Return what `MarkovLanguage` is made from."""
        return self.model_dump(exclude={"name"})


class Optimizer(_Section):
    """The update rule; `peak_lr` holds at the base shape, decay follows from τ.

    `epsilon_rule` ``completep`` scales ε with width and depth, `clip_norm` bounds every run's
    gradient norm.
    """

    name: Literal["adamw", "adam", "muon"] = "adamw"
    peak_lr: Positive = 0.016
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    epsilon: Positive = 1e-12
    epsilon_rule: Literal["fixed", "completep"] = "fixed"
    clip_norm: Positive | None = None


class Compute(_Section):
    """How numbers are computed; every width of a family the same way, so that sizes compare.

    ``bfloat16`` rounds the operands of matrix products and keeps weights, optimiser and losses in
    float32, the reference. ``compiled`` kernels are built by the system's C++ compiler; where there
    is none, torch computes, with a warning.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    kernels: Literal["torch", "compiled"] = "torch"


class BatchRule(_Section):
    """Sequences per step: the same for all sizes, or ∝ N with `sequences` at `at_width`."""

    rule: Literal["model_size", "fixed"] = "model_size"
    sequences: Count = 8
    at_width: Count = 16


class Evaluation(_Section):
    """Held-out loss: how often in a run, evenly spaced with the end, and on how many sequences."""

    points: Count = 20
    sequences: Count = 512


class Group(_Section):
    """A grid of runs: every combination of the listed values."""

    width: OneOrMore[Count]
    tau: OneOrMore[Positive]
    tpp: OneOrMore[Positive]
    schedule: OneOrMore[Schedule] = ("linear",)
    seed: OneOrMore[Seed] = (0,)
    data_seed: Seed | None = None
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    decay_fraction: Fraction | None = None
    final_lr_fraction: Fraction = 0.0


class FamilySpec(_Section):
    """A family of runs that share a recipe.

    Parameters
    ----------
    family : str
        Name of the family; run identifiers start with it.
    model, task, optimizer, compute, batch, evaluation : sections
        Shared by all runs.
    group : tuple of Group
        One or more grids.
    """

    family: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
    model: Model = Model()
    task: Task = Task()
    optimizer: Optimizer = Optimizer()
    compute: Compute = Compute()
    batch: BatchRule = BatchRule()
    evaluation: Evaluation = Evaluation()
    group: Annotated[tuple[Group, ...], Field(min_length=1)]

    def with_other_seeds(self, shift: int) -> FamilySpec:
        """Return the same family with other luck: `shift` is added to every seed."""
        groups = [
            group.model_copy(
                update={
                    "seed": tuple(seed + shift for seed in group.seed),
                    "data_seed": None if group.data_seed is None else group.data_seed + shift,
                }
            )
            for group in self.group
        ]
        return self.model_copy(update={"group": tuple(groups)})


def preset_names() -> tuple[str, ...]:
    """Return the names of the specs that ship with the workbench."""
    folder = files("workbench.training") / "presets"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def load_spec(name_or_path: str | Path) -> FamilySpec:
    """Read a family spec.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a preset, or a TOML file.

    Returns
    -------
    FamilySpec

    Raises
    ------
    ArgumentError
        If there is no such preset or file, it is not TOML, or it does not describe a family:
        the message names the first key that is wrong.
    """
    name = str(name_or_path)
    if name in preset_names():
        text = (files("workbench.training") / "presets" / f"{name}.toml").read_text("utf-8")
    else:
        text = _text_of(Path(name_or_path))
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"Family spec {name!r} is not valid TOML: {error}. Correct that line."
        raise ArgumentError(msg) from error
    return parse_spec(content, source=repr(name))


def parse_spec(content: dict[str, Any], *, source: str = "(given as a dict)") -> FamilySpec:
    """Check a spec given as nested dicts; errors as in `load_spec`."""
    try:
        return FamilySpec.model_validate(content)
    except ValidationError as error:
        raise ArgumentError(_explain(error, source)) from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = (
            f"There is no family spec {str(path)!r}: it is neither a readable TOML file nor one of "
            f"the presets {', '.join(preset_names())}. Give one of these names or a path."
        )
        raise ArgumentError(msg) from error


def _explain(error: ValidationError, source: str) -> str:
    found_wrong = error.errors()
    first = found_wrong[0]
    place = _place(first["loc"])
    # An entry that is refused also makes its list too short: not a second mistake.
    more = sum(e["type"] != "too_short" for e in found_wrong[1:])
    rest = f" ({more} more after it.)" if more else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(first["loc"]))
        return f"Family spec {source}: unknown key {place}. Known there: {known}.{rest}"
    if first["type"] == "missing":
        return f"Family spec {source}: {place} is missing. Add it.{rest}"
    found = f", found {first['input']!r}"
    return f"Family spec {source}: {place} is wrong: {first['msg']}{found}.{rest}"


def _place(location: tuple[int | str, ...]) -> str:
    words = [f"number {part + 1}" if isinstance(part, int) else str(part) for part in location]
    return " ".join(words)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    section: type[BaseModel] = FamilySpec
    for part in location[:-1]:
        if isinstance(part, str):
            annotation: Any = section.model_fields[part].annotation
            section = Group if part == "group" else annotation
    return list(section.model_fields)

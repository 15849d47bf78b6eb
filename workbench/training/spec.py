"""Family specs: a TOML file that says which runs a family has, checked before anything trains."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator

from workbench.errors import ArgumentError
from workbench.training.fault_section import NO_FAULT, Fault
from workbench.training.sections import (
    BatchRule,
    Compute,
    Evaluation,
    FourierSection,
    Group,
    Horizon,
    MarkovSection,
    Mlp,
    Model,
    Name,
    Optimizer,
    OwnSection,
    Section,
    Task,
    Transformer,
)

__all__ = [
    "Compute",
    "Evaluation",
    "FamilySpec",
    "Group",
    "Optimizer",
    "load_spec",
    "parse_spec",
    "preset_names",
    "spec_schema",
]


class FamilySpec(Section):
    """A family of runs that share a recipe.

    Parameters
    ----------
    family : str
        Name of the family; run identifiers start with it.
    model, task, optimizer, compute, batch, horizon, evaluation : sections
        Shared by all runs.
    group : tuple of Group
        One or more grids.
    fault : tuple of Fault
        What may go wrong; it happens to the groups that name it.
    """

    family: Name
    model: Model = Transformer()
    task: Task = MarkovSection()
    optimizer: Optimizer = Optimizer()
    compute: Compute = Compute()
    batch: BatchRule = BatchRule()
    horizon: Horizon = Horizon()
    evaluation: Evaluation = Evaluation()
    group: Annotated[tuple[Group, ...], Field(min_length=1)]
    fault: tuple[Fault, ...] = ()

    @model_validator(mode="after")
    def _sections_fit(self) -> FamilySpec:
        numbers = isinstance(self.task, FourierSection)
        if not isinstance(self.task, OwnSection) and numbers != isinstance(self.model, Mlp):
            msg = (
                f"model kind {self.model.kind!r} cannot learn task {self.task.name!r}: the mlp "
                "learns fourier, the transformer all other tasks"
            )
            raise ValueError(msg)
        for number, group in enumerate(self.group, start=1):
            if (group.tau is None) == (group.weight_decay is None):
                found = "neither" if group.tau is None else "both"
                msg = f"group number {number} has {found} of tau and weight_decay: give one"
                raise ValueError(msg)
        if self.evaluation.noise_batches and self.optimizer.name == "muon":
            msg = "evaluation noise_batches needs Adam's second moment: muon keeps none"
            raise ValueError(msg)
        _check_faults(self)
        return self

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


def preset_text(name: str) -> str:
    """Return the TOML text of a preset."""
    return (files("workbench.training") / "presets" / f"{name}.toml").read_text("utf-8")


def spec_schema() -> dict[str, Any]:
    """Return the JSON schema of family specs, for editors and for other programs."""
    return FamilySpec.model_json_schema()


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
    text = preset_text(name) if name in preset_names() else _text_of(Path(name_or_path))
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


def _check_faults(spec: FamilySpec) -> None:
    names = [fault.name for fault in spec.fault]
    for name in names:
        if name == NO_FAULT or names.count(name) > 1:
            why = "means no fault" if name == NO_FAULT else "is given twice"
            msg = f"fault name {name!r} {why}: give every [[fault]] a name of its own"
            raise ValueError(msg)
    for number, group in enumerate(spec.group, start=1):
        for name in group.fault:
            if name not in (NO_FAULT, *names):
                known = ", ".join((NO_FAULT, *names))
                msg = f"group number {number} names fault {name!r}; known are {known}"
                raise ValueError(msg)


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
    place, section = _place(first["loc"])
    # An entry that is refused also makes its list too short: not a second mistake.
    more = sum(e["type"] != "too_short" for e in found_wrong[1:])
    rest = f" ({more} more after it.)" if more else ""
    match first["type"]:
        case "extra_forbidden":
            known = ", ".join(section.model_fields)
            return f"Family spec {source}: unknown key {place}. Known there: {known}.{rest}"
        case "missing":
            return f"Family spec {source}: {place} is missing. Add it.{rest}"
        case "value_error":
            return f"Family spec {source}: {first['ctx']['error']}.{rest}"
        case "union_tag_invalid":
            known = first["ctx"]["expected_tags"]
            found = f"found {first['ctx']['tag']!r}, known are {known}"
            return f"Family spec {source}: {place} is of no known kind: {found}.{rest}"
    found = f", found {first['input']!r}"
    return f"Family spec {source}: {place} is wrong: {first['msg']}{found}.{rest}"


def _place(location: tuple[int | str, ...]) -> tuple[str, type[BaseModel]]:
    """Return where an error is, in words, and the section that the last key belongs to."""
    words: list[str] = []
    inside: Any = FamilySpec
    section: type[BaseModel] = FamilySpec
    for part in location:
        sections = _sections_in(inside)
        if len(sections) > 1:
            # The tag that chose among the sections is no key of the file.
            inside = next((s for s in sections if _tag_of(s) == part), sections[0])
        elif isinstance(part, int):
            words.append(f"number {part + 1}")
        elif sections:
            section = sections[0]
            words.append(part)
            field = section.model_fields.get(part)
            inside = field.annotation if field else None
        else:
            break  # a branch of a union of plain values
    return " ".join(words), section


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, Annotated, tuple):
        return [s for part in get_args(annotation) for s in _sections_in(part)]
    return []


def _tag_of(section: type[BaseModel]) -> str:
    key = "kind" if "kind" in section.model_fields else "name"
    return str(get_args(section.model_fields[key].annotation)[0])

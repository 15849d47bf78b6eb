"""Sections of a family spec: every key, its default and what it may be.

Rules are chosen by name and exponent; nothing in a spec is ever evaluated.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
)
from pydantic_core import CoreSchema

from workbench.recipes import Parameterisation, RecipeName, Schedule

Value = TypeVar("Value")
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=1 << 40)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _none_or_two(count: int) -> int:
    if count == 1:
        msg = "noise_batches of [evaluation] is 1, but a covariance needs two: give 0, or 2 or more"
        raise ValueError(msg)
    return count


class _OrOneSchema:
    """Says in the JSON schema that one value may stand for a list of one."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        items = handler(schema)["items"]
        return {"anyOf": [items, {"type": "array", "items": items, "minItems": 1}]}


class _AnySectionSchema:
    """Says that sections are told apart by a key that may be left out: several may fit."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": handler(schema)["oneOf"]}


OneOrMore = Annotated[
    tuple[Value, ...], BeforeValidator(_listed), Field(min_length=1), _OrOneSchema()
]


class Section(BaseModel):
    """A table of the TOML file; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Transformer(Section):
    """A small decoder-only transformer, see `workbench.training.ModelShape`.

    `parameterisation` says what follows from width and depth, see `workbench.recipes.Scaling`.
    """

    kind: Literal["transformer"] = "transformer"
    depth: Count = 2
    head_size: Count = 8
    expansion: Count = 4
    context: Annotated[int, Field(ge=3)] = 32
    base_width: Count = 32
    base_depth: Count = 2
    parameterisation: Parameterisation = "completep"


class Mlp(Section):
    """The residual MLP of the Fourier regression, see `workbench.training.mlp`."""

    kind: Literal["mlp"] = "mlp"
    depth: Count = 5
    base_width: Count = 128
    parameterisation: Literal["mup", "standard"] = "mup"


class MarkovSection(Section):
    """The order-2 Markov language, see `workbench.training.language`."""

    name: Literal["markov-2"] = "markov-2"
    vocab: Annotated[int, Field(ge=2, le=256)] = 128
    zipf: float = 1.0
    lag1: float = 1.5
    lag2: float = 1.0
    seed: Seed = 7

    def effects(self) -> dict[str, Any]:
        """Return what `MarkovLanguage` is made from."""
        return self.model_dump(exclude={"name"})


class FourierSection(Section):
    """Regression on a sum of random waves, see `workbench.training.tasks.FourierTask`."""

    name: Literal["fourier"]
    dimensions: Count = 8
    modes: Count = 10_000
    seed: Seed = 42


class TextSection(Section):
    """Text of a file or of all files in a folder; by default one that ships with us.

    Tokens are bytes, or those of a `tokenizer`, a ``tokenizer.json`` file.
    """

    name: Literal["text"]
    path: str | None = None
    tokenizer: str | None = None
    held_out_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1


class DatasetSection(Section):
    """The first documents of a Hugging Face dataset, streamed by every worker.

    Tokens are bytes, or those of a `tokenizer`, a ``tokenizer.json`` file. `data_files` names
    files for the loaders that need them (``dataset = "text"`` or ``"json"``).
    """

    name: Literal["dataset"]
    dataset: str
    config: str | None = None
    split: str = "train"
    column: str = "text"
    data_files: OneOrMore[str] | None = None
    megabytes: Positive = 16.0
    tokenizer: str | None = None
    held_out_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1


class OwnSection(Section):
    """A task that `train_family` is given from Python, see `workbench.training.tasks.own`.

    `label` is what runs are marked with; a transformer needs the `vocab` of its tokens, an mlp the
    `dimensions` of its points.
    """

    name: Literal["own"]
    label: Name = "own"
    vocab: Annotated[int, Field(ge=2)] = 128
    dimensions: Count = 8


def _key_or(key: str, default: str) -> Discriminator:
    """Choose the section by one of its keys, which may be left out for the usual one."""

    def chosen(value: Any) -> str:
        found = value.get(key, default) if isinstance(value, dict) else getattr(value, key, default)
        return str(found)

    return Discriminator(chosen)


Model = Annotated[
    Annotated[Transformer, Tag("transformer")] | Annotated[Mlp, Tag("mlp")],
    _key_or("kind", "transformer"),
    _AnySectionSchema(),
]
Task = Annotated[
    Annotated[MarkovSection, Tag("markov-2")]
    | Annotated[FourierSection, Tag("fourier")]
    | Annotated[TextSection, Tag("text")]
    | Annotated[DatasetSection, Tag("dataset")]
    | Annotated[OwnSection, Tag("own")],
    _key_or("name", "markov-2"),
    _AnySectionSchema(),
]


class Optimizer(Section):
    """The update rule; `peak_lr` holds at the base shape, decay follows from τ.

    `batch_rule` says how `peak_lr` follows a batch that differs from the reference of [batch]:
    not at all, ∝ B^0.5 or ∝ B. `epsilon_rule` ``completep`` scales ε with width and depth,
    `clip_norm` bounds every run's gradient norm.
    """

    name: Literal["adamw", "adam", "muon"] = "adamw"
    peak_lr: Positive = 0.016
    batch_rule: Literal["fixed", "sqrt", "linear"] = "fixed"
    beta1: Beta = 0.9
    beta2: Beta = 0.95
    epsilon: Positive = 1e-12
    epsilon_rule: Literal["fixed", "completep"] = "fixed"
    clip_norm: Positive | None = None


class Compute(Section):
    """How numbers are computed; every width of a family the same way, so that sizes compare.

    ``bfloat16`` rounds the operands of matrix products and keeps weights, optimiser and losses in
    float32, the reference. ``compiled`` kernels are built by the system's C++ compiler; where there
    is none, torch computes, with a warning. `micro_sequences` is the most sequences of one run
    that are worked through at once; the gradient of a larger batch is the mean over such parts.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    kernels: Literal["torch", "compiled"] = "torch"
    micro_sequences: Count | None = None


class BatchRule(Section):
    """Sequences per step: `sequences` at the reference size, elsewhere by the rule.

    ``fixed`` the same everywhere, ``model_size`` ∝ N^exponent, ``tokens`` ∝ D^exponent with the
    reference at width `at_width` and `at_tpp` tokens per parameter. `exponent` is 1 for
    ``model_size`` and 0.5 for ``tokens`` unless given.
    """

    rule: Literal["model_size", "fixed", "tokens"] = "model_size"
    sequences: Count = 8
    at_width: Count = 16
    at_tpp: Positive = 20.0
    exponent: Positive | None = None

    @property
    def power(self) -> float:
        """Exponent that holds."""
        usual = {"model_size": 1.0, "tokens": 0.5, "fixed": 0.0}[self.rule]
        return usual if self.exponent is None else self.exponent


class Horizon(Section):
    """Tokens of a run: D = tpp·N^exponent·N₀^(1 − exponent), N₀ the size at width `at_width`.

    With exponent 1 every size sees `tpp` tokens per parameter; a data exponent other than 1 is
    what compute-optimal training of some tasks asks for (Qiu et al. 2025: t* ∝ p^γ).
    """

    exponent: Positive = 1.0
    at_width: Count = 16


class Evaluation(Section):
    """Held-out loss: how often in a run, evenly spaced with the end, and on how many sequences.

    `noise_batches` fresh batches at each of these points, two or more, measure the trace of the
    preconditioned gradient covariance; 0 does not measure it.
    """

    points: Count = 20
    sequences: Count = 512
    noise_batches: Annotated[int, Field(ge=0), AfterValidator(_none_or_two)] = 0


class Group(Section):
    """A grid of runs: every combination of the listed values.

    Of `tau` and `weight_decay` one is given and the other follows, λ = B/(ητD). A `weight_decay`
    holds at the base width and keeps ηλ at the others, as `tau` does. `tau` may be the name of a
    recipe whose law gives it from tpp. What is left out comes from the sections.
    """

    width: OneOrMore[Count]
    tau: OneOrMore[Positive | RecipeName] | None = None
    weight_decay: OneOrMore[NotNegative] | None = None
    tpp: OneOrMore[Positive]
    schedule: OneOrMore[Schedule] = ("linear",)
    seed: OneOrMore[Seed] = (0,)
    depth: OneOrMore[Count] | None = None
    sequences: OneOrMore[Count] | None = None
    peak_lr: OneOrMore[Positive] | None = None
    beta1: OneOrMore[Beta] | None = None
    beta2: OneOrMore[Beta] | None = None
    parameterisation: OneOrMore[Parameterisation] | None = None
    fault: OneOrMore[Name] = ("none",)
    data_seed: Seed | None = None
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    decay_fraction: Fraction | None = None
    final_lr_fraction: Fraction = 0.0

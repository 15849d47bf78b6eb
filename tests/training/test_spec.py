from __future__ import annotations

import json
import tomllib

import pytest

from workbench.errors import ArgumentError
from workbench.training import load_spec, parse_spec, plan_family, preset_names
from workbench.training.spec import FamilySpec, preset_text, spec_schema

GROUP = {"width": [8, 16], "tau": 0.2, "tpp": 20}


def spec_with(**sections) -> FamilySpec:
    return parse_spec({"family": "f", "group": [GROUP]} | sections)


def test_every_preset_loads_and_plans():
    assert {"demo", "quickstart", "smoke"} <= set(preset_names())
    for name in preset_names():
        assert plan_family(load_spec(name)).runs


def test_a_file_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('family = "mine"\n[[group]]\nwidth = 8\ntau = 0.2\ntpp = [5, 20]\n')
    plan = plan_family(load_spec(path))
    assert [run.run_id for run in plan.runs] == [
        "mine-w8-linear-tau0.2-tpp5-s0",
        "mine-w8-linear-tau0.2-tpp20-s0",
    ]


def test_neither_preset_nor_file():
    with pytest.raises(ArgumentError, match=r"'nothing'.* presets demo, depth.* quickstart"):
        load_spec("nothing")


def test_not_toml(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("family = \n")
    with pytest.raises(ArgumentError, match="not valid TOML"):
        load_spec(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"widths": 3}, "unknown key widths. Known there: family, model, task"),
        ({"model": {"layers": 3}}, "unknown key model layers. Known there: kind, depth, head"),
        ({"group": [GROUP | {"lr": 1}]}, "unknown key group number 1 lr. Known there: width, tau"),
        ({"group": []}, "group is wrong"),
        (
            {"group": [{"width": 8, "tpp": 20}]},
            "group number 1 has neither of tau and weight_decay",
        ),
        ({"group": [GROUP | {"tpp": -1}]}, "tpp number 1 is wrong: .*greater than 0, found -1"),
        ({"group": [GROUP | {"tpp": 0}]}, "tpp number 1 is wrong"),
        ({"group": [GROUP | {"schedule": "step"}]}, "schedule number 1 is wrong: .*'wsd'"),
        ({"group": [GROUP | {"width": "wide"}]}, "width number 1 is wrong: .*found 'wide'"),
        ({"family": "a b"}, "family is wrong"),
        ({"batch": {"rule": "sqrt"}}, "batch rule is wrong"),
    ],
)
def test_what_is_wrong_is_named_in_one_paragraph(content, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        spec_with(**content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"group": [GROUP | {"width": 20}]}, "width 20 is not a multiple of head_size 8"),
        (
            {"batch": {"rule": "fixed", "sequences": 100_000}},
            "width 8 at tpp 20: batch_size is 3.2e.06 tokens but the run may see only",
        ),
        ({"group": [GROUP | {"tpp": 0.001}]}, "the run may see only"),
        ({"group": [GROUP | {"tau": 1e-5}]}, "tau 1e-05 of .* steps is at most one step"),
        ({"group": [GROUP, GROUP]}, "plans the run 'f-w8-linear-tau0.2-tpp20-s0' twice"),
        (
            {"group": [GROUP | {"warmup_fraction": 0.5, "decay_fraction": 0.9}]},
            "number 1 of family 'f': decay_fraction must be",
        ),
    ],
)
def test_what_cannot_be_planned(content, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        plan_family(spec_with(**content))
    assert "\n" not in str(caught.value)


def test_other_seeds_change_nothing_else():
    spec = load_spec("smoke")
    moved = spec.with_other_seeds(10)
    assert [group.seed for group in moved.group] == [
        tuple(seed + 10 for seed in group.seed) for group in spec.group
    ]
    assert moved.with_other_seeds(-10) == spec


def complaints(content):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(spec_schema())))
    return [error.message for error in validator.iter_errors(content)]


@pytest.mark.parametrize("name", preset_names())
def test_the_exported_schema_takes_every_preset(name):
    assert complaints(tomllib.loads(preset_text(name))) == []


@pytest.mark.parametrize(
    "content",
    [
        {"widths": 3},
        {"group": []},
        {"group": [GROUP | {"tpp": 0}]},
        {"group": [GROUP | {"width": []}]},
        {"group": [GROUP | {"schedule": "step"}]},
        {"task": {"name": "poems"}},
        {"model": {"kind": "mlp", "context": 32}},
        {"fault": [{"name": "a", "kind": "nan"}]},
    ],
)
def test_the_exported_schema_refuses_what_the_workbench_refuses(content):
    with pytest.raises(ArgumentError):
        spec_with(**content)
    assert complaints({"family": "f", "group": [GROUP]} | content)


def test_a_spec_survives_its_own_dump():
    for name in preset_names():
        spec = load_spec(name)
        assert parse_spec(spec.model_dump()) == spec
        assert parse_spec(json.loads(spec.model_dump_json())) == spec


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"task": {"name": "poems"}}, "task is of no known kind: found 'poems', known are 'markov"),
        ({"model": {"kind": "cnn"}}, "model is of no known kind: found 'cnn'"),
        ({"model": {"kind": "mlp", "context": 3}}, "unknown key model context. Known there: kind"),
        ({"task": {"name": "fourier", "modes": 0}}, "task modes is wrong: .*found 0"),
        ({"task": {"name": "fourier"}}, "model kind 'transformer' cannot learn task 'fourier'"),
        ({"model": {"kind": "mlp"}}, "model kind 'mlp' cannot learn task 'markov-2'"),
        ({"task": 3}, "task is wrong: .*found 3"),
        ({"group": [GROUP | {"tau": "huge"}]}, "tau number 1 is wrong: .*found 'huge'"),
        ({"group": [GROUP | {"weight_decay": 0.1}]}, "number 1 has both of tau and weight_decay"),
    ],
)
def test_sections_of_several_kinds_are_told_apart(sections, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        spec_with(**sections)
    assert "\n" not in str(caught.value)

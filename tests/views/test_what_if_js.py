"""The arithmetic of the What-if page, run by Node, against the library on a grid of settings."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest

from workbench.datasets import load_quickstart
from workbench.laws.noisy_quadratic import lowest_tau
from workbench.views.what_if_feed import run_columns, scene_json, state_columns
from workbench.views.what_if_model import BY_HAND, FITTED, PUBLISHED, SHAPES, WhatIfModel

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not on this machine")
FILES = ("schedules.js", "what_if_numbers.js", "text.js", "what_if_words.js")
RUN = """
const given = JSON.parse(require("fs").readFileSync(0, "utf8"), (_, v) => (v === "NaN" ? NaN : v));
const runs = Object.fromEntries(Object.entries(given.runs).map(([name, values]) =>
  [name, Float64Array.from(values)]));
const plain = (v) => (v?.buffer ? Array.from(v) : v);
process.stdout.write(JSON.stringify(given.states.map((state) => {
  const found = whatIf(state, given.scene, runs);
  if (!found) return { verdict: whatIfVerdict(found, state, given.scene) };
  return { factor: plain(found.factor), curve: plain(found.predicted.curve),
    lower: plain(found.predicted.lower), upper: plain(found.predicted.upper),
    mode: plain(found.mode.curve), bias: plain(found.mode.bias),
    variance: plain(found.mode.variance),
    final: found.final, near: found.near, error: found.error, best: found.best,
    takeover: found.takeover, verdict: whatIfVerdict(found, state, given.scene) };
})));
"""


@pytest.fixture(scope="module")
def model():
    return WhatIfModel(load_quickstart())


def in_node(model, settings):
    states = []
    for given in settings:
        model.param.update(**given)
        states.append({k: v[0] for k, v in state_columns(model, dark=False).items()})
    runs = {
        k: np.asarray(v, dtype=float).ravel().tolist()
        for k, v in run_columns(model.data).items()
        if k in ("tau", "tpp", "size", "loss", "ell", "factor")
    }
    folder = resources.files("workbench.views") / "js"
    code = "\n".join((folder / name).read_text("utf-8") for name in FILES)
    content = {"states": states, "scene": json.loads(scene_json(model)), "runs": runs}
    done = subprocess.run(
        [NODE, "-e", code.replace("export function", "function").replace("export const", "const")
         + RUN],
        input=json.dumps(content).replace("NaN", '"NaN"'),
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return json.loads(done.stdout)


def close(ours, theirs):
    np.testing.assert_allclose(np.array(ours, dtype=float), theirs, rtol=1e-9, atol=1e-12)


def test_the_browsers_numbers_are_the_librarys_on_a_grid(model):
    grid = [
        {"tau": tau, "horizon": tpp, "shape": shape, "warmup": 0.07, "decay": decay,
         "final": final, "start": 1.2, "floor": 0.8, "constants": constants,
         "points": "0:0 50:100 100:10"}
        for tau, tpp, decay, final, shape, constants in itertools.product(
            (-1.7, -0.65, 0.3), (0.9, 1.301), (0.33, 1.0), (0.0, 0.15), SHAPES, (FITTED, PUBLISHED))
    ]  # fmt: skip
    grid = grid[::7] + [
        {"shape": BY_HAND, "points": points}
        for points in ("0:0 10:100 100:0", "20:3 55:1.5, 90:2", "100:0 0:7 33.3:50")
    ]
    found = in_node(model, grid)
    assert len(found) > 70
    for given, ours in zip(grid, found, strict=True):
        model.param.update(**given)
        predicted, parts = model.predicted(), model.parts()
        close(ours["factor"], model.factors())
        close(ours["curve"], predicted["normalized_loss"])
        close(ours["mode"], parts["normalized_loss"])
        close(ours["bias"], parts["bias"])
        close(ours["variance"], parts["variance"])
        for side in ("lower", "upper"):
            close(ours[side], predicted[side])


def test_final_loss_and_the_runs_beside_it_are_the_librarys(model):
    home = {"shape": "linear", "tau": -0.6505, "horizon": 1.301, "warmup": 0.1, "decay": 1.0,
            "final": 0.0, "constants": FITTED}  # fmt: skip
    grid = [home | {"size": size} for size in (4.3, 4.83, 6.0)] + [home | {"shape": "cosine"}]
    found = in_node(model, grid)
    for given, ours in zip(grid, found, strict=True):
        model.param.update(**given)
        loss = model.final_loss()
        if loss is None:
            assert ours["final"] is None
            continue
        close(ours["final"]["estimate"], loss.loss.estimate)
        for end in ("lower", "upper"):  # between computed ends
            assert ours["final"][end] == pytest.approx(getattr(loss.loss, end), abs=3e-4)
        assert ours["final"]["beyond"] == pytest.approx(loss.beyond)
    model.param.update(**home)
    curve = model.predicted()["normalized_loss"].to_numpy()
    near = [s for s in model.data.settings if s.schedule == "linear" and s.tau > 0.2]
    late = np.arange(1, 257) / 256 >= 0.2 - 1e-9
    late[50] = True  # 20 % lies between two points; the one before counts
    error = np.mean([np.abs(curve - s.ell)[late].mean() for s in near])
    assert len(found[0]["near"]) == len(near) == 4
    assert found[0]["error"] == pytest.approx(error)
    assert found[3]["near"] == []


def test_what_dominates_is_read_off_the_parts(model):
    grid = [{"tau": tau, "start": start, "shape": "linear", "constants": FITTED}
            for tau, start in ((-1.5, 1.0), (0.3, 3.0), (-0.4, 1.5))]  # fmt: skip
    for given, ours in zip(grid, in_node(model, grid), strict=True):
        model.param.update(**given)
        parts = model.parts()
        above = parts["bias"].to_numpy() > parts["variance"].to_numpy()
        word = "Bias" if above[-1] else "Variance"
        assert f"<b>{word}</b>" in ours["verdict"]
        last = np.flatnonzero(above)
        expected = None if above[-1] else (last[-1] + 1) / 256
        assert ours["takeover"] == expected
        assert ours["best"] == pytest.approx(lowest_tau(model.factors(), start=model.start_value))


@pytest.mark.parametrize(
    "points", ["0:0", "0:0 50", "0:0 50:1 50:2", "0:0 100:0", "a:b 1:2", "0:1 101:2"]
)
def test_points_the_library_refuses_the_page_refuses(model, points):
    (found,) = in_node(model, [{"shape": BY_HAND, "points": points}])
    model.points = "0:0 10:100 100:0"
    assert "These points make no schedule" in found["verdict"]


def test_words_say_what_the_constants_are(model):
    home = {"shape": "linear", "tau": -0.6505, "horizon": 1.301, "size": 4.83, "warmup": 0.1,
            "decay": 1.0, "final": 0.0}  # fmt: skip
    said = [
        one["verdict"]
        for one in in_node(
            model,
            [home | {"constants": FITTED}, home | {"constants": FITTED, "horizon": 2.5, "tau": 0.4},
             home | {"constants": PUBLISHED}],
        )
    ]  # fmt: skip
    assert "Within the runs" in said[0]
    assert "Predicted final loss 2.78" in said[0]
    assert "4 settings of the store lie here" in said[0]
    assert "Beyond the runs" in said[1]
    assert "τ 2.5 lies outside the fitted 0.05 to 0.22" in said[1]
    assert "Published constants" in said[2]
    assert "of 60 other runs" in said[2]

"""The page's arithmetic, run by Node, against the library's kernels."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest

from workbench.collapse import kernels as collapse_kernels
from workbench.curves import half_width
from workbench.curves import kernels as curve_kernels

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not on this machine")
RUN = """
const given = JSON.parse(process.argv.at(-1), (_, v) => (v === "NaN" ? NaN : v));
const rows = given.rows.map((r) => Float64Array.from(r));
process.stdout.write(JSON.stringify({
  smooth: rows.map((r) => [...localLinear(r, given.half)]),
  deviation: [...meanAndDeviation(rows).deviation],
  noise: [...noiseFloor([rows.slice(0, 2), rows.slice(2, 4)])],
  crossing: crossing(given.delta, given.sigma),
  halves: given.widths.map((w) => halfWidth(w, given.points)),
  end: alignedEnd(rows[0].map((v, k) => (k < 40 ? v : NaN)), rows[1]),
}, (_, v) => (typeof v === "number" && !Number.isFinite(v) ? "NaN" : v)));
"""


def in_node(**given):
    script = (resources.files("workbench.views") / "js" / "numbers.js").read_text()
    plain = script.replace("export function", "function") + RUN
    text = json.dumps(given).replace("NaN", '"NaN"')
    done = subprocess.run(
        [NODE, "-e", plain, text], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout, object_hook=None)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gaps", [False, True])
def test_browser_arithmetic_is_the_librarys(seed, gaps):
    rng = np.random.default_rng(seed)
    rows = 3 + np.cumsum(rng.normal(size=(4, 64)), axis=1) * 0.05
    if gaps:
        rows[:, :3] = np.nan
        rows[1, 60:] = np.nan
    delta, sigma = rng.uniform(size=64), rng.uniform(0.5, 1.5, size=64)
    delta[40:] = 0.1
    widths = [0, 0.01, 0.03, 0.1]
    got = in_node(
        rows=rows.tolist(), half=5, delta=delta.tolist(), sigma=sigma.tolist(), widths=widths,
        points=256,
    )  # fmt: skip

    def close(ours, theirs):
        ours = np.array(
            [
                [np.nan if v == "NaN" else v for v in row]
                for row in np.atleast_2d(np.array(ours, dtype=object))
            ],
            dtype=float,
        )
        np.testing.assert_allclose(ours, np.atleast_2d(theirs), rtol=1e-10, atol=1e-12)

    close(got["smooth"], curve_kernels.local_linear(rows, 5))
    close(got["deviation"], collapse_kernels.relative_sd(rows))
    cells = [np.array([0, 1]), np.array([2, 3])]
    close(got["noise"], collapse_kernels.noise_floor(rows, cells))
    last = collapse_kernels.last_exceedance(delta, sigma)
    assert got["crossing"] == (last + 2) / 64
    assert got["halves"] == [half_width(width, 256) for width in widths]
    known = np.arange(3 if gaps else 0, 40)
    later = known[len(known) // 2 :]
    y, r = rows[0, later], rows[1, later]
    assert got["end"] == pytest.approx((y @ y) / (y @ r))


def test_a_curve_that_is_a_multiple_of_the_reference_is_aligned_exactly():
    reference = 1 + np.linspace(2, 0, 64)
    rows = [(0.7 * reference).tolist(), reference.tolist(), reference.tolist(), reference.tolist()]
    got = in_node(rows=rows, half=0, delta=[1.0, 1.0], sigma=[0.5, 0.5], widths=[0], points=64)
    assert got["end"] == pytest.approx(0.7)
    assert got["crossing"] is None

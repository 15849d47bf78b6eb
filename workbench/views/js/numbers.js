// The numbers of the Explorer, computed in the browser on every move of a control.
// The same definitions as workbench.curves and workbench.collapse, in the same order of summation;
// tests compare the two. Nothing here touches the page.

// Local-linear smoother on a uniform grid: the least-squares line over [k - half, k + half], cut at
// the ends, evaluated at k. Prefix sums make it linear in the length. NaN stays NaN.
export function localLinear(values, half) {
  const n = values.length;
  if (half <= 0) return Float64Array.from(values);
  const sums = [0, 1, 2, 3, 4].map(() => new Float64Array(n + 1));
  for (let i = 0; i < n; i++) {
    const j = i - (n - 1) / 2, known = Number.isFinite(values[i]), y = known ? values[i] : 0;
    const terms = known ? [1, j, j * j, y, y * j] : [0, 0, 0, 0, 0];
    for (let t = 0; t < 5; t++) sums[t][i + 1] = sums[t][i] + terms[t];
  }
  return Float64Array.from(values, (value, k) => {
    if (!Number.isFinite(value)) return NaN;
    const low = Math.max(k - half, 0), high = Math.min(k + half, n - 1) + 1;
    const [s0, s1, s2, t0, t1] = sums.map((s) => s[high] - s[low]);
    const determinant = s0 * s2 - s1 * s1, mean = t0 / s0, j = k - (n - 1) / 2;
    if (!(determinant > 1e-9 * s0)) return mean;
    return mean + ((s0 * t1 - s1 * t0) / determinant) * (j - s1 / s0);
  });
}

export function halfWidth(width, points) {
  return Math.floor((width * points) / 2 + 0.5);
}

// Mean and relative standard deviation (ddof 0) over rows; NaN where any row has no value.
export function meanAndDeviation(rows) {
  const n = rows[0].length, mean = new Float64Array(n), square = new Float64Array(n);
  for (const row of rows) for (let k = 0; k < n; k++) mean[k] += row[k];
  for (let k = 0; k < n; k++) mean[k] /= rows.length;
  for (const row of rows) for (let k = 0; k < n; k++) square[k] += (row[k] - mean[k]) ** 2;
  const deviation = square.map((s, k) => Math.sqrt(s / rows.length) / mean[k]);
  return { mean, deviation };
}

// Seed noise: the relative deviation within each cell, averaged over the cells; null without one.
export function noiseFloor(rowsOfCells) {
  if (!rowsOfCells.length) return null;
  const each = rowsOfCells.map((rows) => meanAndDeviation(rows).deviation);
  return each[0].map((_, k) => each.reduce((total, d) => total + d[k], 0) / each.length);
}

// The progress from which on delta < sigma at every later point before the end, else null.
export function crossing(delta, sigma) {
  let last = -1;
  for (let k = 0; k < delta.length - 1; k++) if (!(delta[k] < sigma[k])) last = k;
  return last + 1 < delta.length - 1 ? (last + 2) / delta.length : null;
}

// The end of an unfinished run, L_end - offset, by least squares against the mean curve of the
// finished ones over the later half of what it has logged: minimise sum (y / S - r)^2 over 1 / S.
export function alignedEnd(reducible, reference) {
  const known = [];
  for (let k = 0; k < reducible.length; k++)
    if (Number.isFinite(reducible[k]) && Number.isFinite(reference[k])) known.push(k);
  const later = known.slice(Math.floor(known.length / 2));
  if (!later.length) return NaN;
  let yy = 0, yr = 0;
  for (const k of later) {
    yy += reducible[k] * reducible[k];
    yr += reducible[k] * reference[k];
  }
  return yy / yr;
}

// The offset track is logarithmic in (lowest final loss - offset): position 0 is no offset, the
// fitted L0 lies where track.fitted says and catches the handle within track.snap.
export function offsetAt(position, track) {
  if (position <= 0) return 0;
  if (track.fitted !== null && Math.abs(position - track.fitted) <= track.snap) return track.value;
  return track.lowest * (1 - 10 ** (-track.stretch * position));
}

export function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) {
    const name = key(item);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return groups;
}

// Cells that measure seed noise: two or more runs with different seeds, or with none recorded.
export function seedCells(ids, runs) {
  return [...groupBy(ids, (i) => runs.cell[i]).values()].filter((cell) => {
    const seeds = new Set(cell.map((i) => runs.seed_key[i]));
    return cell.length > 1 && (seeds.size > 1 || seeds.has(""));
  });
}

// Which runs the filters keep: `only` holds the allowed labels of each filtered coordinate.
export function keptRuns(runs, only) {
  const allowed = Object.entries(only).map(([name, labels]) => [name, new Set(labels)]);
  const kept = [];
  for (let i = 0; i < runs.run_id.length; i++)
    if (allowed.every(([name, labels]) => labels.has(runs[`is_${name}`][i]))) kept.push(i);
  return kept;
}

const LATEST_START = 0.25;

// Split the kept runs: compared ones, unfinished ones, and those left out with the reason.
function sortOut(kept, rows, offset) {
  const compared = [], open = [], late = [], below = [];
  for (const i of kept) {
    const row = rows[i], n = row.length, first = row.findIndex(Number.isFinite);
    if (first < 0) continue;
    if (!Number.isFinite(row[n - 1])) open.push(i);
    else if ((first + 1) / n > LATEST_START) late.push(i);
    else if (row[n - 1] <= offset) below.push(i);
    else compared.push(i);
  }
  return { compared, open, late, below };
}

// Everything the page shows that is a number. `rows` are the (smoothed) loss curves of all runs.
export function measure(runs, rows, only, offset) {
  const kept = keptRuns(runs, only), sorted = sortOut(kept, rows, offset);
  const { compared, open } = sorted, points = rows.length ? rows[0].length : 0;
  const out = { kept, ...sorted, offset, points, ell: new Map(), reducible: new Map(),
    mean: null, deviation: null, noise: null, beyond: null };
  for (const i of [...compared, ...open])
    out.reducible.set(i, rows[i].map((value) => value - offset));
  for (const i of compared) {
    const reducible = out.reducible.get(i), end = reducible[points - 1];
    out.ell.set(i, reducible.map((value) => value / end));
  }
  if (compared.length) out.mean = meanAndDeviation(compared.map((i) => out.ell.get(i))).mean;
  if (compared.length > 1) {
    out.deviation = meanAndDeviation(compared.map((i) => out.ell.get(i))).deviation;
    out.noise = noiseFloor(
      seedCells(compared, runs).map((cell) => cell.map((i) => out.reducible.get(i))));
    out.beyond = out.noise ? crossing(out.deviation, out.noise) : null;
  }
  if (out.mean)
    for (const i of open) {
      const reducible = out.reducible.get(i), end = alignedEnd(reducible, out.mean);
      out.ell.set(i, reducible.map((value) => value / end));
    }
  return out;
}

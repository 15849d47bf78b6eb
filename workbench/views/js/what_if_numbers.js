// The numbers of the What-if page, computed in the browser on every move of a control: the
// surrogate of workbench.forecast, the noisy quadratic and the power law of workbench.laws, in
// the same order of summation; tests compare them. Nothing here touches the page.

const EPSILON_PROGRESS = 1e-3, EPSILON_LR = 0.1, LOG_LIMIT = 6, WINDOW = 0.2;
const SAME_CONTROL = 0.1, TAU_GRID = 121;

export const threeDigits = (decades) => Number((10 ** decades).toPrecision(3));

const limited = (value) => Math.exp(Math.min(Math.max(value, -3 * LOG_LIMIT), LOG_LIMIT));

// One row of constants (log b at the centre, slope, log q at the centre, slope) as a curve.
function surrogateCurve(row, falling, logRate, logTau, logTpp) {
  const b = limited(row[0] + row[1] * logTau), q = limited(row[2] + row[3] * logTpp);
  const out = falling.map((value, k) => value + b * Math.exp(q * logRate[k]));
  const end = out.at(-1);
  return out.map((value) => value / end);
}

// The value a share of the way along a row, between its neighbours: of sorted values the quantile,
// as NumPy's default.
export function quantile(sorted, share) {
  const place = share * (sorted.length - 1), low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

// The curve at progress k/n, k = 1..n, and its interval.
export function surrogate(fit, factor, tau, tpp) {
  const n = factor.length, logRate = factor.map((f) => Math.log(f + EPSILON_LR));
  const falling = Float64Array.from({ length: n }, (_, k) =>
    ((1 + EPSILON_PROGRESS) / ((k + 1) / n + EPSILON_PROGRESS)) ** fit.m);
  const logTau = Math.log(tau) - fit.centre[0], logTpp = Math.log(tpp) - fit.centre[1];
  const curve = (row) => surrogateCurve(row, falling, logRate, logTau, logTpp);
  const [best, ...draws] = fit.rows.map(curve);
  const lower = new Float64Array(n), upper = new Float64Array(n), tail = (1 - fit.level) / 2;
  const column = new Float64Array(draws.length);
  for (let k = 0; k < n; k++) {
    for (let j = 0; j < draws.length; j++) column[j] = draws[j][k];
    column.sort();
    lower[k] = quantile(column, tail);
    upper[k] = quantile(column, 1 - tail);
  }
  return { curve: best, lower, upper };
}

// One mode of a noisy quadratic: what is left of the start and what the noise keeps up, both over
// their sum at the end, and the normalised curve with its floor; n + 1 values from progress 0 on.
export function noisyQuadratic(factor, tau, kappa, floor) {
  const n = factor.length, bias = new Float64Array(n + 1), variance = new Float64Array(n + 1);
  const curve = new Float64Array(n + 1);
  bias[0] = curve[0] = kappa;
  let spent = 0;
  for (let i = 0; i < n; i++) {
    const rate = factor[i] / tau, fade = Math.exp((-2 * rate) / n);
    const gained = -0.5 * rate * 2 * tau * Math.expm1((-2 * rate) / n);
    spent += factor[i];
    bias[i + 1] = kappa * Math.exp((-2 * spent) / (tau * n));
    variance[i + 1] = fade * variance[i] + gained;
    curve[i + 1] = fade * curve[i] + gained;
  }
  const end = bias[n] + variance[n], last = curve[n];
  return { bias: bias.map((v) => v / end), variance: variance.map((v) => v / end),
    curve: curve.map((v) => (v / last + floor) / (1 + floor)) };
}

// The τ at which the mode ends lowest, at this start over the noise and schedule; of a fixed grid.
export function lowestTau(factor, start) {
  const n = factor.length, flow = factor.reduce((total, f) => total + f, 0) / n;
  let best = null, least = Infinity;
  for (let j = 0; j < TAU_GRID; j++) {
    const tau = 10 ** (-2 + (3 * j) / (TAU_GRID - 1));
    let noise = 0;
    for (let i = 0; i < n; i++) {
      const rate = factor[i] / tau, fade = Math.expm1((-2 * rate) / n);
      noise += fade * (noise - rate / 2);
    }
    const end = start * Math.exp((-2 * flow) / tau) + noise;
    if (end < least) [best, least] = [tau, end];
  }
  return best;
}

const ratioWithin = (a, b, most) => a / b <= most && b / a <= most;

function rateDistance(a, b) {
  let total = 0;
  for (let k = 0; k < a.length; k++) total += Math.abs(a[k] - b[k]);
  return total / a.length;
}

// The law of final losses of the runs with these settings; null without any.
export function endLaw(ends, rules, factor, tau, tpp) {
  return ends.find((law) =>
    law.tpp[0] * (1 - rules.tpp) <= tpp && tpp <= law.tpp[1] * (1 + rules.tpp) &&
    (law.tau === null || ratioWithin(law.tau, tau, rules.tau)) &&
    rateDistance(law.factor, factor) <= rules.rate) ?? null;
}

// A value between equal steps; outside them that of the nearer end.
function interpolated([first, last], values, at) {
  const place = Math.min(Math.max((at - first) / (last - first), 0), 1) * (values.length - 1);
  return quantile(values, place / (values.length - 1));
}

// Final loss at a size, from compute 6ND in PFLOP, and its interval, read between computed ends.
export function finalLoss(law, size, tpp) {
  const compute = (6 * size * (tpp * size)) / 1e15, at = Math.log(compute);
  const estimate = law.L0 + law.a * compute ** -law.b;
  const [lower, upper] = [law.log_lower, law.log_upper].map((ends) =>
    Math.exp(interpolated(law.log_compute, ends, at)));
  return { estimate, lower: Math.min(lower, estimate), upper: Math.max(upper, estimate), beyond: compute / law.largest };
}

// Settings of the store whose controls and learning rate are the page's; one that records no τ
// (or TPP) counts whatever that is.
export function settingsNear(runs, rate, factor, tau, tpp) {
  const same = (value, wanted) => !(value > 0) || ratioWithin(value, wanted, 1 + SAME_CONTROL);
  const n = factor.length, near = [];
  for (let i = 0; i < runs.tau.length; i++) {
    const own = runs.factor.subarray(i * n, (i + 1) * n);
    if (same(runs.tau[i], tau) && same(runs.tpp[i], tpp) && rateDistance(own, factor) <= rate)
      near.push(i);
  }
  return near;
}

// Mean over settings of the mean |curve - setting| beyond 20 % of training.
export function distance(runs, ids, curve) {
  const n = curve.length, first = Math.round(WINDOW * n) - 1;
  let total = 0;
  for (const i of ids) {
    let sum = 0, count = 0;
    for (let k = first; k < n; k++) {
      const value = runs.ell[i * n + k];
      if (Number.isFinite(value)) [sum, count] = [sum + Math.abs(curve[k] - value), count + 1];
    }
    total += sum / count;
  }
  return ids.length ? total / ids.length : null;
}

// Progress from which on the variance stays the larger part; null if the bias is larger at the end.
export function takeover(bias, variance) {
  const last = bias.findLastIndex((value, k) => value > variance[k]);
  return last === bias.length - 1 ? null : (last + 1) / (bias.length - 1);
}

// Everything the page shows that is a number; null where drawn points make no schedule.
export function whatIf(state, scene, runs) {
  const factor = factorsOf(state, scene.points);
  if (!factor) return null;
  const tau = threeDigits(state.tau), tpp = threeDigits(state.horizon), size = threeDigits(state.size);
  const start = threeDigits(state.start), floor = state.floor / (1 - state.floor);
  const fit = scene.fits[state.constants] ?? scene.fits.published;
  const predicted = surrogate(fit, factor, tau, tpp), kappa = 2 * tau * start;
  const mode = noisyQuadratic(factor, tau, kappa, floor);
  const law = endLaw(scene.ends, scene.rules, factor, tau, tpp);
  const near = settingsNear(runs, scene.rules.rate, factor, tau, tpp);
  return { factor, tau, tpp, size, kappa, fit, predicted, mode, law, near,
    final: law && finalLoss(law, size, tpp), error: distance(runs, near, predicted.curve),
    takeover: takeover(mode.bias, mode.variance), best: lowestTau(factor, start) };
}

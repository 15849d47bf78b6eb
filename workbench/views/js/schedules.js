// Learning rates as shares of the peak, one per step: the same as workbench.recipes, tested.

const RATIO = new Set(["exponential", "harmonic"]), UNDECAYED = new Set(["constant", "inverse_sqrt"]);
const RATIO_END = 0.01, MOST_POINTS = 24;

const UNIT = {
  linear: (s) => 1 - s,
  cosine: (s) => (1 + Math.cos(Math.PI * s)) / 2,
  "1-sqrt": (s) => 1 - Math.sqrt(s),
  quadratic: (s) => 1 - s * s,
  square: (s) => (1 - s) ** 2,
  multicosine: (s) => (1 + Math.cos(3 * Math.PI * s)) / 2,
};

function decayFactor(shape, s, final) {
  if (shape === "exponential") return final ** s;
  if (shape === "harmonic") return 1 / (s / final + 1 - s);
  return final + (1 - final) * UNIT[shape](s);
}

// Python rounds halves to the even neighbour.
function roundHalfEven(value) {
  const low = Math.floor(value), rest = value - low;
  return rest === 0.5 ? low + (low % 2) : Math.round(value);
}

export function namedFactors({ shape, warmup, decay, final }, steps) {
  const warm = Math.max(1, roundHalfEven(warmup * steps)), share = Math.min(decay, 1 - warmup);
  const end = RATIO.has(shape) ? Math.max(final, RATIO_END) : final;
  const start = Math.max(steps * (1 - share), warm), length = Math.max(1, steps - start);
  return Float64Array.from({ length: steps }, (_, step) => {
    const rise = Math.min((step + 1) / warm, 1);
    if (shape === "inverse_sqrt") return rise * Math.sqrt(Math.min(warm / (step + 1), 1));
    if (UNDECAYED.has(shape)) return rise;
    const elapsed = Math.min(Math.max((step - start) / length, 0), 1);
    return rise * decayFactor(shape, elapsed, end);
  });
}

// Points "progress:rate" in %, in order; null where they make no schedule.
export function readPoints(text) {
  const points = text.replaceAll(",", " ").split(/\s+/).filter(Boolean)
    .map((pair) => pair.split(":").map((part) => part.trim() === "" ? NaN : Number(part)));
  const valid = points.length >= 2 && points.length <= MOST_POINTS && points.every((p) =>
    p.length === 2 && p.every(Number.isFinite) && p[0] >= 0 && p[0] <= 100 && p[1] >= 0);
  if (!valid) return null;
  points.sort((a, b) => a[0] - b[0]);
  const rises = points.every((p, i) => !i || p[0] > points[i - 1][0]);
  return rises && points.some((p) => p[1] > 0) ? points : null;
}

export function drawnFactors(points, steps) {
  const peak = Math.max(...points.map((p) => p[1])), xs = points.map((p) => p[0] / 100);
  return Float64Array.from({ length: steps }, (_, step) => {
    const x = step / steps, next = xs.findIndex((at) => at > x);
    if (next === 0) return points[0][1] / peak;
    if (next < 0) return points.at(-1)[1] / peak;
    const slope = (points[next][1] - points[next - 1][1]) / (xs[next] - xs[next - 1]);
    return (slope * (x - xs[next - 1]) + points[next - 1][1]) / peak;
  });
}

export function factorsOf(state, steps) {
  if (state.shape !== "by hand") return namedFactors(state, steps);
  const points = readPoints(state.points);
  return points && drawnFactors(points, steps);
}

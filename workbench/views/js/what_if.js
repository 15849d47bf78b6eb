// Draws the What-if page. Loaded as one module after schedules.js, what_if_numbers.js, text.js,
// page.js and what_if_words.js.

const memory = { text: null, scene: null, runsOf: null, runs: null, asked: false, resting: null };
const REST = 700;

// Runs whenever a control, the data or the size of the plot changes; one drawing per paint.
export default function whatIfPage(args) {
  if (memory.asked) return;
  memory.asked = true;
  requestAnimationFrame(() => {
    memory.asked = false;
    draw(args);
  });
}

function readScene(args) {
  const text = args.scene.data.json[0];
  if (memory.text !== text) [memory.text, memory.scene] = [text, JSON.parse(text)];
  return memory.scene;
}

// Curves as plain rows: a column of the source is one array for all settings.
function readRuns(args) {
  const { data } = args.runs;
  if (memory.runsOf !== data) {
    const flat = (column) => column.buffer
      ? new Float64Array(column.buffer, column.byteOffset, column.length) : new Float64Array(0);
    const names = ["tau", "tpp", "size", "loss", "ell", "factor"];
    memory.runs = Object.fromEntries(names.map((name) => [name, flat(data[name])]));
    for (const name of ["color_light", "color_dark", "name"]) memory.runs[name] = data[name];
    memory.runsOf = data;
  }
  return memory.runs;
}

function draw(args) {
  const scene = readScene(args), runs = readRuns(args), state = {};
  for (const [name, column] of Object.entries(args.state.data)) state[name] = column[0];
  const tokens = scene.theme[state.dark ? "dark" : "light"], slim = args.figure.inner_width < 560;
  const found = whatIf(state, scene, runs);
  dress([args.figure, args.below], args.grids, tokens);
  args.sketch.setv({ data: { editing: [state.shape === "by hand"],
    rates: [found ? Array.from(found.factor, (f) => f.toFixed(3)).join(" ") : ""] } }, QUIET);
  write(args.verdict, whatIfVerdict(found, state, scene));
  speakAtRest(args, found, state);
  const label = state.view === "Loss" ? `${scene.loss_label} L [nats/token]` : "Normalised loss ℓ = L / L at end";
  write(args.legend, whatIfLegend(found, state, scene, tokens, slim ? label : ""));
  write(args.note, whatIfNote(found, state, scene));
  setBorders(args, slim, label);
  if (!found) return;
  write(args.mechanism, mechanismHtml(found));
  drawCurves(args, { scene, runs, state, found, tokens });
  drawParts(args, { state, found, tokens });
}

function speakAtRest(args, found, state) {
  clearTimeout(memory.resting);
  memory.resting = setTimeout(() => write(args.spoken,
    `<div class="spoken" role="status" aria-live="polite">${spokenWords(found, state)}</div>`), REST);
}

function setBorders(args, slim, label) {
  args.figure.left[0].setv({ axis_label: slim ? null : label }, QUIET);
  args.below.left[0].setv({ axis_label: slim ? null : "Mode's loss over its end" }, QUIET);
  const border = slim ? 40 : 66;
  for (const plot of [args.figure, args.below])
    if (plot.min_border_left !== border)
      plot.setv({ min_border_left: border, min_border_right: slim ? 8 : 16 }, QUIET);
}

const FRAMED = 0.1, PARTS_FRAMED = 0.3, FADED = 0.3;

function drawCurves(args, { scene, runs, state, found, tokens }) {
  const n = scene.points, loss = state.view === "Loss", { predicted, mode, final } = found;
  const x = Float64Array.from({ length: n }, (_, k) => (k + 1) / n), near = new Set(found.near);
  const rows = Array.from(runs.tau, (_, i) => (loss ? runs.loss : runs.ell).subarray(i * n, (i + 1) * n));
  const colours = runs[state.dark ? "color_dark" : "color_light"];
  const order = [...rows.keys()].sort((a, b) => near.has(a) - near.has(b));
  change(args.real, { xs: order.map(() => x), ys: order.map((i) => rows[i]),
    color: order.map((i) => colours[i]), alpha: order.map((i) => (near.has(i) ? 0.95 : FADED)),
    width: order.map((i) => (near.has(i) ? 1.8 : 1)), name: order.map((i) => runs.name[i]) });
  const scale = loss ? (final ? final.estimate : null) : 1;
  const scaled = (values) => values.map((v) => v * scale);
  // The surrogate is fitted from 20 % on; before, it is drawn thin.
  const since = Math.round(WINDOW * n) - 1, curve = scaled(predicted.curve);
  const shown = scale === null ? [] : [[x, curve, tokens.ink, [2, 3], 1],
    [x.subarray(since), curve.subarray(since), tokens.ink, [], 2.6],
    [Float64Array.from({ length: n + 1 }, (_, k) => k / n), scaled(mode.curve), tokens.accent, [6, 4], 2]];
  const [xs, ys, color, dash, width] = [0, 1, 2, 3, 4].map((j) => shown.map((row) => row[j]));
  change(args.curves, { xs, ys, color, dash, width });
  const banded = scale !== null;
  const outline = (low, high) => [...low.subarray(since), ...high.subarray(since).toReversed()];
  change(args.band, banded ? { xs: [outline(x, x)], color: [tokens.ink],
    ys: [outline(scaled(predicted.lower), scaled(predicted.upper))] } : { xs: [], ys: [], color: [] });
  change(args.whisker, loss && final ? { x: [0.997], low: [final.lower], high: [final.upper],
    color: [tokens.ink] } : { x: [], low: [], high: [], color: [] });
  frameCurves(args.figure, rows, shown, n, loss && final ? [final.lower, final.upper] : []);
}

// The frame holds the real curves and grows where the predicted one leaves it.
function frameCurves(plot, rows, shown, n, ends) {
  let low = Math.min(...ends), high = Math.max(...ends);
  const first = Math.round(FRAMED * n), curves = shown.length ? [...rows, shown[0][1]] : rows;
  for (const row of curves)
    for (let k = first; k < n; k++)
      if (Number.isFinite(row[k])) {
        low = Math.min(low, row[k]);
        high = Math.max(high, row[k]);
      }
  if (!(high > low)) return;
  const pad = 0.04 * (high - low);
  plot.y_range.setv({ start: low - pad, end: high + pad }, QUIET);
}

function drawParts(args, { found, tokens }) {
  const { bias, variance } = found.mode, n = bias.length - 1;
  const x = Float64Array.from({ length: n + 1 }, (_, k) => k / n);
  const total = bias.map((value, k) => value + variance[k]), zero = x.map(() => 0);
  const area = (low, high) => [[...x, ...x.toReversed()], [...high, ...low.toReversed()]];
  const shapes = [[...area(zero, variance), tokens.variance], [...area(variance, total), tokens.bias]];
  change(args.parts, { xs: shapes.map((s) => s[0]), ys: shapes.map((s) => s[1]),
    color: shapes.map((s) => s[2]) });
  change(args.total, { xs: [x], ys: [total], color: [tokens.accent], dash: [[6, 4]] });
  const top = 1.08 * Math.max(1.5, ...total.subarray(Math.round(PARTS_FRAMED * n)));
  args.below.y_range.setv({ start: 0, end: top }, QUIET);
  changeTexts(args.names, nameParts(x, variance, total, top, tokens), 2);
}

// Each name stands where its part is thickest inside the frame.
function nameParts(x, variance, total, top, tokens) {
  const inside = [...x.keys()].filter((k) => x[k] > 0.08 && x[k] < 0.92);
  const capped = total.map((value) => Math.min(value, top));
  const widest = (low, high) => inside.reduce((best, k) =>
    high[k] - low[k] > high[best] - low[best] ? k : best, inside[0]);
  const name = (text, low, high) => {
    const k = widest(low, high), room = (high[k] - low[k]) / top;
    return { x: x[k], y: (low[k] + high[k]) / 2, text: room > 0.1 ? text : "", color: tokens.ink,
      align: x[k] < 0.3 ? "left" : x[k] > 0.7 ? "right" : "center" };
  };
  const low = variance.map((value) => Math.min(value, top));
  return [name("bias", low, capped), name("variance", x.map(() => 0), low)];
}

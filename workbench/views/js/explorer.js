// Draws the Explorer: reads the controls' state, measures, and changes the figures in place.
// Loaded as one module after numbers.js, text.js, page.js and words.js.

const memory = { texts: {}, values: {}, rows: null, rowsOf: null, half: -1, frame: "", wanted: null,
  asked: false, listening: false };

// Runs whenever a control, the data or the size of the plot changes; one drawing per paint.
export default function explorer(args, event) {
  if (event && event.event_name === "tap") return tap(args, event);
  listenToKeys(args);
  if (memory.asked) return undefined;
  memory.asked = true;
  requestAnimationFrame(() => {
    memory.asked = false;
    draw(args);
  });
  return undefined;
}

// ------------------------------------------------------------------------------------- the state

function readState(args) {
  const { data } = args.state, one = (name) => data[name][0];
  const scene = parsed(args.scene.data.json[0], "scene");
  const settled = parsed(args.settled.data.json[0], "settled");
  const only = {};
  for (const name of scene.filters) only[name] = args.allowed.data[name][0];
  const state = { only, ...scene, ...settled };
  for (const name of ["position", "divide", "x", "view", "smoothing", "colour", "dark"])
    state[name] = scene.values[name]?.[one(name)] ?? one(name); // lists hold labels in the browser
  state.offset = offsetAt(state.position, settled.track);
  return state;
}

function parsed(text, name) {
  if (memory.texts[name] !== text) [memory.texts[name], memory.values[name]] = [text, JSON.parse(text)];
  return memory.values[name];
}

// The curves of all runs, smoothed; kept until the data or the width change.
function smoothedRows(runs, smoothing) {
  const points = runs.loss.shape[1], half = halfWidth(smoothing, points);
  if (memory.rowsOf !== runs.loss || memory.half !== half) {
    const flat = runs.loss;
    memory.rows = runs.run_id.length === 0 ? [] : Array.from(runs.run_id, (_, i) =>
      localLinear(new Float64Array(flat.buffer, flat.byteOffset + 8 * i * points, points), half));
    memory.rowsOf = flat;
    memory.half = half;
  }
  return memory.rows;
}

// ------------------------------------------------------------------------------------ the drawing

function draw(args) {
  const runs = args.runs.data, state = readState(args);
  const rows = smoothedRows(runs, state.smoothing);
  const found = measure(runs, rows, state.only, state.offset);
  const tokens = state.theme[state.dark ? "dark" : "light"];
  const view = found.mean ? state.view : "Raw";
  const scene = { args, runs, rows, state, found, view, tokens, slim: args.figure.inner_width < 560,
    colour: colourOf(runs, state.colour, tokens), chosen: chosenRuns(args, runs) };
  dress([args.figure, args.below], args.grids, tokens);
  const curves = curvesToDraw(scene);
  drawCurves(scene, curves);
  drawChosen(scene);
  drawStatistics(scene);
  drawLabels(scene, curves);
  writeWords(scene, curves);
}

const chosenRuns = (args, runs) => {
  const names = new Set(args.chosen.data.run_id);
  return [...runs.run_id.keys()].filter((i) => names.has(runs.run_id[i]));
};

// y of one run in the current view; null when the view cannot show it.
function valuesOf(scene, i) {
  const { rows, found, view, state } = scene;
  if (view === "Raw") return rows[i];
  if (view === "Normalised" && !state.divide) return found.reducible.get(i) ?? null;
  const ell = found.ell.get(i);
  if (!ell) return null;
  return view === "Residual" ? ell.map((v, k) => 100 * (v / found.mean[k] - 1)) : ell;
}

function positionsOf(scene, i) {
  const { runs, state, found } = scene, factor = state.x === "progress" ? 1 : runs[`x_${state.x}`][i];
  return Float64Array.from({ length: found.points }, (_, k) => (factor * (k + 1)) / found.points);
}

// One curve per cell of replicates (their mean, with the range of the seeds), one per open run.
function curvesToDraw(scene) {
  const { runs, found, view } = scene, { compared, late, below, open } = found;
  const finished = view === "Raw" ? [...compared, ...late, ...below] : compared;
  const cells = [...groupBy(finished, (i) => runs.cell[i]).values()].map((members) => {
    const rows = members.map((i) => valuesOf(scene, i)), n = found.points;
    const mean = new Float64Array(n), low = new Float64Array(n), high = new Float64Array(n);
    for (let k = 0; k < n; k++) {
      let total = 0, least = Infinity, most = -Infinity;
      for (const row of rows) {
        total += row[k];
        least = Math.min(least, row[k]);
        most = Math.max(most, row[k]);
      }
      mean[k] = total / rows.length;
      low[k] = least;
      high[k] = most;
    }
    return { first: members[0], members, x: positionsOf(scene, members[0]), mean, low, high };
  });
  cells.sort((a, b) => runs.size[a.first] - runs.size[b.first]);
  const live = open.map((i) => ({ first: i, members: [i], x: positionsOf(scene, i),
    mean: valuesOf(scene, i) })).filter((curve) => curve.mean);
  return { cells, live };
}

// Widths fall with the number of curves; among few, the largest is thinnest and on top, so that
// nested stripes stay visible when the curves fall onto one another.
function strokes(count, residual) {
  if (count <= 12)
    return (j) => ({ width: residual ? 1.6 : 3.4 - (2 * j) / Math.max(1, count - 1), alpha: 0.95 });
  if (count <= 60) return () => ({ width: 1.4, alpha: 0.9 });
  if (count <= 300) return () => ({ width: 1, alpha: 0.6 });
  return () => ({ width: 0.8, alpha: 0.35 });
}

const FADED = 0.12, MOST_BANDS = 60, MOST_VERTICES = 400000;

function drawCurves(scene, { cells, live }) {
  const { args, runs, found, view, colour, chosen, tokens } = scene;
  const stroke = strokes(cells.length, view === "Residual");
  const stride = Math.max(1, Math.ceil((cells.length * found.points) / MOST_VERTICES));
  const thin = (values) => stride === 1 ? values : values.filter((_, k) =>
    (values.length - 1 - k) % stride === 0);
  const fade = chosen.length ? FADED : 1;
  scene.drawn = cells.reduce((n, c) => n + thin(c.mean).length * c.members.length, 0) +
    live.reduce((n, c) => n + c.mean.filter(Number.isFinite).length, 0);
  change(args.lines, {
    xs: cells.map((c) => thin(c.x)), ys: cells.map((c) => thin(c.mean)),
    color: cells.map((c) => colour.of(c.first)), dash: cells.map((c) => colour.dash(c.first)),
    width: cells.map((_, j) => stroke(j).width), alpha: cells.map((_, j) => stroke(j).alpha * fade),
    name: cells.map((c) => c.members.length === 1 ? runs.run_id[c.first]
      : plural(c.members.length, "run")),
    setting: cells.map((c) => runs.setting[c.first]),
  });
  const ends = live.map((c) => c.mean.findLastIndex(Number.isFinite));
  change(args.live, {
    xs: live.map((c) => c.x), ys: live.map((c) => c.mean), color: live.map((c) => colour.of(c.first)),
    alpha: live.map(() => fade), name: live.map((c) => runs.run_id[c.first]),
    setting: live.map((c) => runs.setting[c.first]),
  });
  const running = live.map((c, j) => [c, ends[j]]).filter(([c]) => runs.running[c.first]);
  change(args.dots, { x: running.map(([c, k]) => c.x[k]), y: running.map(([c, k]) => c.mean[k]),
    color: running.map(([c]) => colour.of(c.first)), alpha: running.map(() => fade) });
  drawBands(scene, cells);
  frameCurves(scene, cells, live, tokens);
}

function drawBands(scene, cells) {
  const { args, view, found, colour, chosen, tokens } = scene;
  const outline = (x, low, high) => {
    const known = [...x.keys()].filter((k) => Number.isFinite(low[k]) && Number.isFinite(high[k]));
    return [[...known.map((k) => x[k]), ...known.toReversed().map((k) => x[k])],
      [...known.map((k) => low[k]), ...known.toReversed().map((k) => high[k])]];
  };
  let shapes = [];
  if (view === "Residual" && found.noise && cells.length) {
    const longest = cells.reduce((a, b) => (a.x.at(-1) > b.x.at(-1) ? a : b));
    const noise = Array.from(found.noise, (v) => 100 * v);
    shapes = [[...outline(longest.x, noise.map((v) => -v), noise), tokens.muted]];
  } else if (view !== "Residual" && cells.length <= MOST_BANDS && !chosen.length) {
    shapes = cells.filter((c) => c.members.length > 1)
      .map((c) => [...outline(c.x, c.low, c.high), colour.of(c.first)]);
  }
  scene.bands = shapes.length;
  change(args.bands, { xs: shapes.map((s) => s[0]), ys: shapes.map((s) => s[1]),
    color: shapes.map((s) => s[2]) });
}

// The frame follows the state; when only data arrived it grows, and only if a curve would leave it.
function frameCurves(scene, cells, live) {
  const { args, view, found, state, runs } = scene, { figure } = args;
  let low = Infinity, high = -Infinity, right = 0;
  const start = Math.round((view === "Residual" ? 0.1 : 0.04) * found.points);
  for (const curve of [...cells, ...live]) {
    right = Math.max(right, curve.x.at(-1));
    for (const row of curve.low ? [curve.low, curve.high] : [curve.mean])
      for (let k = start; k < row.length; k++)
        if (Number.isFinite(row[k])) {
          low = Math.min(low, row[k]);
          high = Math.max(high, row[k]);
        }
  }
  if (view === "Residual" && found.noise) {
    high = 220 * Math.max(...found.noise.slice(start).filter(Number.isFinite));
    low = -high;
  }
  if (!(high > low)) [low, high] = Number.isFinite(high) ? [high - 1, high + 1] : [0, 1];
  const pad = 0.05 * (high - low), wanted = { start: low - pad, end: high + pad, right: right || 1 };
  const kept = view === "Raw" ? found.kept.length : found.compared.length;
  const shown = JSON.stringify([view, state.position, state.divide, state.x, state.smoothing,
    state.only, view === "Raw" ? 0 : kept, runs.loss.shape[1], state.loss]);
  const before = memory.wanted, same = before && memory.frame === shown;
  if (same && wanted.start >= before.start && wanted.end <= before.end && wanted.right <= before.right)
    return;
  if (same) {
    wanted.start = Math.min(wanted.start, before.start);
    wanted.end = Math.max(wanted.end, before.end);
    wanted.right = Math.max(wanted.right, before.right);
  }
  memory.frame = shown;
  memory.wanted = wanted;
  figure.y_range.setv({ start: wanted.start, end: wanted.end }, QUIET);
  figure.x_range.setv({ start: 0, end: wanted.right }, QUIET);
}

// Chosen runs are drawn on top, 3 px, each as its own curve.
function drawChosen(scene) {
  const { args, chosen, colour, found } = scene, kept = new Set(found.kept);
  const shown = chosen.filter((i) => kept.has(i) && valuesOf(scene, i));
  change(args.picked, { xs: shown.map((i) => positionsOf(scene, i)),
    ys: shown.map((i) => valuesOf(scene, i)), color: shown.map((i) => colour.of(i)) });
}

// ------------------------------------------------------------------------------- Δ against σ below

function drawStatistics(scene) {
  const { args, found, state, tokens } = scene, { deviation, noise, beyond, points } = found;
  const x = Float64Array.from({ length: points }, (_, k) => (k + 1) / points);
  const none = { x: [], deviation: [], noise: [], upper: [] };
  change(args.gap, deviation && noise ? { x, deviation, noise,
    upper: deviation.map((d, k) => Math.max(d, noise[k])) } : none);
  const drawn = [[deviation, tokens.ink, 2.4, []], [noise, tokens.muted, 1.8, [5, 4]]]
    .filter(([values]) => values);
  change(args.statistics, { xs: drawn.map(() => x), ys: drawn.map(([v]) => v),
    color: drawn.map((d) => d[1]), width: drawn.map((d) => d[2]), dash: drawn.map((d) => d[3]) });
  const strip = beyond === null ? { left: [], right: [] } : { left: [beyond], right: [1] };
  change(args.strip_below, strip);
  change(args.strip, state.x === "progress" && scene.view !== "Raw" ? strip : { left: [], right: [] });
  const inside = drawn.flatMap(([values]) =>
    [...values].filter((v, k) => k >= 0.03 * points && k < 0.98 * points && v > 0));
  if (inside.length) {
    const start = Math.min(...inside) / 1.6, end = Math.max(...inside) * 1.7;
    args.below.y_range.setv({ start, end }, QUIET);
    nameStatistics(scene, end / start);
  } else changeTexts(args.statistic_names, [], 2);
}

function nameStatistics(scene, span) {
  const { args, found, tokens } = scene, { deviation, noise, points } = found;
  const k = Math.round(0.62 * points), lift = span ** 0.14;
  const above = !noise || deviation[k] > noise[k];
  const names = [{ x: 0.62, y: deviation[k] * (above ? lift : 1 / lift), text: "Δ across runs",
    color: tokens.ink }];
  if (noise) names.push({ x: 0.62, y: noise[k] * (above ? 1 / lift : lift), text: "σ across seeds",
    color: tokens.muted });
  changeTexts(args.statistic_names, names, 2);
}

// ------------------------------------------------------------------------------- colours and words

function colourOf(runs, name, tokens) {
  const at = runs[`at_${name}`], texts = runs[`text_${name}`], palette = tokens.palettes[name];
  const mixed = (a, b, t) => "#" + [1, 3, 5].map((j) => {
    const from = parseInt(a.slice(j, j + 2), 16), to = parseInt(b.slice(j, j + 2), 16);
    return Math.round(from + (to - from) * t).toString(16).padStart(2, "0");
  }).join("");
  const of = (i) => {
    if (!Number.isFinite(at[i])) return tokens.muted;
    if (palette.categories) return palette.categories[Math.round(at[i])].colour;
    const place = at[i] * (palette.length - 1), step = Math.min(Math.floor(place), palette.length - 2);
    return mixed(palette[step], palette[step + 1], place - step);
  };
  const dash = (i) => palette.categories && Number.isFinite(at[i])
    ? palette.categories[Math.round(at[i])].dash : [];
  return { of, dash, at: (i) => at[i], text: (i) => texts[i] };
}

function legendEntries(scene, curves) {
  const { colour, view } = scene, seen = new Map();
  const ids = [...curves.cells, ...curves.live].flatMap((c) => c.members);
  for (const i of ids.sort((a, b) => colour.at(a) - colour.at(b)))
    if (!seen.has(colour.text(i))) seen.set(colour.text(i), { label: colour.text(i), colour: colour.of(i) });
  const band = !scene.bands ? "" : view === "Residual" ? "band: ± seed noise σ" : "band: range of seeds";
  return [[...seen.values()], band];
}

// Names the outermost curves where they are apart, else says how many lie on one another.
function drawLabels(scene, { cells }) {
  changeTexts(scene.args.labels, labelsOf(scene, cells), 2);
}

function labelsOf({ args, runs, found, state, view, tokens, colour }, cells) {
  const { start, end } = args.figure.y_range, height = end - start, k = Math.round(0.17 * found.points);
  const usable = cells.filter((c) => Number.isFinite(c.mean[k])), color = tokens.ink;
  if (state.x !== "progress" || view === "Residual" || usable.length < 2 || usable.length > 60)
    return [];
  const ordered = usable.toSorted((a, b) => b.mean[k] - a.mean[k]), top = ordered[0], low = ordered.at(-1);
  if ((top.mean[k] - low.mean[k]) / height < 0.045) {
    const one = found.beyond !== null && found.beyond <= 0.5 ? ", one curve" : "";
    const sizes = new Set(found.compared.map((i) => String(runs.size[i]))).size;
    const text = `${plural(sizes, "size")}, ${plural(found.compared.length, "run")}${one}`;
    return [{ x: top.x[k] + 0.012, y: top.mean[k] + 0.03 * height, text, color }];
  }
  const [above, below] = [top, low].map((curve) => colour.text(curve.first));
  if (above === below) return [];
  return [{ x: top.x[k] + 0.008, y: top.mean[k] + 0.035 * height, text: above, color },
    { x: low.x[k] - 0.004, y: low.mean[k] - 0.04 * height, text: below, color, align: "right" }];
}

function yLabel({ view, state }) {
  if (view === "Raw") return `${state.loss_label} L [nats/token]`;
  if (view === "Residual") return "Residual ℓ/⟨ℓ⟩ − 1 [%]";
  if (!state.divide) return "L − offset [nats/token]";
  return state.offset > 0 ? "Normalised loss ℓ = (L − offset) / (L at end − offset)"
    : "Normalised loss ℓ = L / L at end";
}

function writeWords(scene, curves) {
  const { args, runs, found, state, view, slim } = scene, label = yLabel(scene);
  const [entries, band] = legendEntries(scene, curves), caveat = state.caveat;
  const said = caveat.position === state.position && caveat.smoothing === state.smoothing ? caveat.text : "";
  write(args.verdict, verdictHtml(found, runs, state.track, said));
  write(args.legend, legendHtml(state.colourings[state.colour], entries, band, slim ? label : ""));
  write(args.note, noteHtml(found, runs, view, scene.drawn, state.logged));
  const { figure, below } = args, shared = state.x === "progress";
  figure.left[0].setv({ axis_label: slim ? null : label }, QUIET);
  below.left[0].setv({ axis_label: slim ? null : "Relative sd" }, QUIET);
  figure.below[0].setv({ visible: !shared, axis_label: state.axes[state.x] }, QUIET);
  const border = slim ? 40 : 66;
  for (const plot of [figure, below])
    if (plot.min_border_left !== border) plot.setv({ min_border_left: border, min_border_right: slim ? 8 : 16 }, QUIET);
  if (shared) below.x_range.setv({ start: figure.x_range.start, end: figure.x_range.end }, QUIET);
  else below.x_range.setv({ start: 0, end: 1 }, QUIET);
}

// ------------------------------------------------------------------------------ taps and key presses

const REACH = 32;

// The run whose drawn curve passes nearest to the tap, within reach; elsewhere the choice is cleared.
function tap(args, event) {
  const runs = args.runs.data, state = readState(args), rows = smoothedRows(runs, state.smoothing);
  const found = measure(runs, rows, state.only, state.offset), view = found.mean ? state.view : "Raw";
  const scene = { args, runs, rows, state, found, view }, { x_range, y_range } = args.figure;
  const perX = args.figure.inner_width / (x_range.end - x_range.start);
  const perY = args.figure.inner_height / (y_range.end - y_range.start);
  let best = null, least = REACH;
  for (const i of found.kept) {
    const y = valuesOf(scene, i);
    if (!y) continue;
    const x = positionsOf(scene, i);
    for (let k = 0; k < y.length; k++) {
      const away = Math.hypot((x[k] - event.x) * perX, (y[k] - event.y) * perY);
      if (away < least) [best, least] = [i, away];
    }
  }
  args.chosen.data = { run_id: best === null ? [] : [runs.run_id[best]] };
}

// One-letter commands, on the page only: in a notebook these keys belong to the notebook. They act
// on the controls here; the server hears of them as of any other move of a control.
function listenToKeys(args) {
  if (!args.standalone || memory.listening) return;
  memory.listening = true;
  document.addEventListener("keydown", (event) => {
    const target = event.composedPath()[0], typing = /^(text|search|number)$/.test(target.type ?? "");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    obey(args, event.key.toLowerCase());
  });
}

function obey(args, key) {
  const { track, views } = readState(args);
  const give = (command) =>
    args.commands.setv({ data: { position: [], view: [], ...command } }, QUIET);
  if (key === "escape" && args.chosen.data.run_id.length) args.chosen.data = { run_id: [] };
  if (key === "l" && track.fitted !== null) give({ position: [track.fitted] });
  if (views[Number(key) - 1]) give({ view: [views[Number(key) - 1]] });
}

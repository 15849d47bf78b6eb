// What the What-if page says: the prediction in words, what dominates, what is not shown.

const counted = (n) => {
  const [unit, letter] = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]].find(([u]) => n >= 0.9995 * u)
    ?? [1, ""];
  return `${Number((n / unit).toPrecision(3))}${letter}`;
};
const twoOf = (value) => Number(value.toPrecision(2));
// With its zeros: a number beside the ends of its interval has as many digits as they.
const digits = (value, n) => Math.abs(value) >= 10 ** n ? value.toFixed(0) : value.toPrecision(n);
const height = (value) => [`${digits(100 * Math.abs(value), 2)} %`, value < 0 ? "below" : "above"];
const share = (value) => `${(100 * value).toFixed(0)} %`;
const level = (value) => `${Math.round(100 * value)} %`;
const key = (value, name) => `<div><b>${value}</b><span>${name}</span></div>`;
const span = ([low, high], write) => low === high ? write(low) : `${write(low)} to ${write(high)}`;

const FAR = 1.5; // times the largest compute

const within = (range, value) => range && value >= range[0] / 1.1 && value <= range[1] * 1.1;

const finalVariance = ({ mode }) => mode.variance.at(-1);

// "bias" or "variance", whichever is the larger part at the end, and its share.
export function dominant(found) {
  const variance = finalVariance(found);
  return variance >= 0.5 ? ["Variance", variance] : ["Bias", 1 - variance];
}

// Controls that lie outside the runs the constants were fitted to.
function beyond({ fit, tau, tpp }) {
  const out = [];
  const pairs = [["tau", "τ", tau, fit.tau_range, twoOf], ["tpp", "TPP", tpp, fit.tpp_range, counted]];
  for (const [name, symbol, value, range, write] of pairs) {
    if (fit.still.includes(name) || within(range, value) || !range) continue;
    const lent = fit.borrowed.includes(name) ? ", and its exponent is the published one" : "";
    out.push(`${symbol} ${write(value)} lies outside the fitted ${span(range, write)}${lent}.`);
  }
  return out;
}

function caveatOf(found, state) {
  const { fit } = found, far = beyond(found);
  if (found.final && found.final.beyond > 100)
    return `The final loss is read at ${counted(found.final.beyond)} times the largest compute: little more than a guess.`;
  if (found.final && !found.law.identified && found.final.beyond > FAR)
    return "The sizes do not tell L₀: beyond the largest run only the interval counts.";
  const still = fit.still.map((name) => (name === "tau" ? "τ" : "TPP"));
  if (still.length)
    return `The runs do not record ${still.join(" and ")}, so the curve does not follow ${still.length > 1 ? "them" : "it"}` +
      `${state.constants === "published" ? "" : "; the published constants do"}.`;
  const others = `The constants are those of ${fit.n_runs} other runs: other data have others.`;
  return far[0] ?? (state.constants === "published" ? others : "");
}

function tagOf(found, state) {
  if (state.constants === "published") return ["Published constants", false];
  const [still] = found.fit.still;
  if (still) return [`${still === "tau" ? "τ" : "TPP"} not recorded`, false];
  const far = beyond(found).length || (found.final && found.final.beyond > FAR);
  return far ? ["Beyond the runs", false] : ["Within the runs", true];
}

// Half-way above the end: the value and its interval, as shares of the end.
function halfWay({ predicted }) {
  const half = predicted.curve.length / 2 - 1;
  return [predicted.curve, predicted.lower, predicted.upper].map((row) => row[half] - 1);
}

function shapeSentence(found) {
  const [value, low, high] = halfWay(found), { fit, final } = found;
  const ends = `${digits(100 * low, 3)} to ${digits(100 * high, 3)} %, ${level(fit.level)}`;
  if (final) return `Half-way it stands ${height(value).join(" ")} that (${ends}).`;
  return `No final loss is known for these settings. Half-way: ${ends}.`;
}

function nearSentence({ near, error }, scene) {
  if (!scene.counts.drawn) return "There are no runs to compare with.";
  if (!near.length) return "No run of the store has these settings.";
  return `${plural(near.length, "setting")} of the store ${near.length === 1 ? "lies" : "lie"} here, ` +
    `${twoDigits(error)} away on average.`;
}

export function headline(found) {
  const { final, size } = found;
  if (final) return `Predicted final loss ${final.estimate.toFixed(3)} nats/token at ${counted(size)} parameters`;
  return `Half-way the loss stands ${height(halfWay(found)[0]).join(" ")} its end`;
}

export function whatIfVerdict(found, state, scene) {
  if (!found)
    return `<div class="state"><span class="tag no">No schedule</span>` +
      `<h2>These points make no schedule</h2><p>Type 2 to 24 points as progress:rate in %, each ` +
      `progress once, for instance 0:0 10:100 60:100 100:0.</p></div>`;
  const [tag, ok] = tagOf(found, state), { final, law, tau } = found, [part, much] = dominant(found);
  const [half, side] = height(halfWay(found)[0]);
  const first = final
    ? key(final.estimate.toFixed(3), `final loss, ${final.lower.toFixed(3)} to ${final.upper.toFixed(3)} (${level(law.level)})`)
    : key(half, `${side} the end, half-way`);
  return `<div class="verdict"><div><span class="tag ${ok ? "ok" : "no"}">${tag}</span>` +
    `<h2>${headline(found)}</h2><p>${shapeSentence(found)} ${nearSentence(found, scene)} ` +
    `${caveatOf(found, state)}</p></div><div class="numbers">${first}` +
    key(`${twoOf(100 * tau)} %`, "τ, share of the run") +
    key(part, `dominates the mode: ${share(much)} at the end`) + `</div></div>`;
}

// What a screen reader is told when the controls rest.
export function spokenWords(found, state) {
  if (!found) return "These points make no schedule.";
  const [part, much] = dominant(found);
  return `${headline(found)}. ${shapeSentence(found)} ${part} dominates: ${share(much)} at the end. ` +
    caveatOf(found, state);
}

export function mechanismHtml(found) {
  const { takeover: from, tau, kappa, best } = found, variance = finalVariance(found);
  const where = from === null ? "The bias is the larger part to the end"
    : from === 0 ? "The variance is the larger part throughout"
    : `The variance is the larger part from ${share(from)} of training on`;
  const side = tau < best / 1.05 ? "a larger τ would average more noise away"
    : tau > best * 1.05 ? "a smaller τ would forget the start sooner" : "τ is about there";
  return `<div class="group">Why: bias and variance of one mode</div><p class="muted">${where}; at the ` +
    `end the variance is ${share(variance)} of the whole. With this schedule and start the mode ends lowest at τ ${twoOf(best)}: ` +
    `${side}. The start is ${twoOf(kappa)} times the level the noise alone would keep up at the peak rate.</p>`;
}

const swatch = (colour, dashed) => dashed
  ? `<i style="background:repeating-linear-gradient(90deg,${colour} 0 5px,transparent 5px 8px)"></i>`
  : `<i style="background:${colour}"></i>`;

export function whatIfLegend(found, state, scene, tokens, label) {
  const { title, entries } = scene.legend[state.dark ? "dark" : "light"];
  const band = found ? `, band ${level(found.fit.level)}` : "";
  const real = entries.length
    ? `<span>Real runs by ${title}</span>` +
      entries.map((e) => `<span>${swatch(e.colour)}${escaped(e.label)}</span>`).join("") : "";
  const predicted = state.view !== "Loss" || found?.final
    ? `<span>${swatch(tokens.ink)}surrogate, predicted${band}</span>` +
      `<span>${swatch(tokens.accent, true)}noisy quadratic</span>` : "";
  return `<div class="line">${label ? `<span class="axis">${escaped(label)}</span>` : ""}` +
    `${predicted}${real}</div>`;
}

export function whatIfNote(found, state, scene) {
  const { runs, done, drawn, settings } = scene.counts, parts = [];
  if (drawn)
    parts.push(`${drawn < settings ? `${drawn} of ${settings}` : drawn} settings of ` +
      `${plural(done, "finished run")}, mean over seeds; strong: these settings`);
  else parts.push("no finished run to draw");
  if (runs > done && done) parts.push(`${plural(runs - done, "run")} of the family unfinished or not read`);
  if (state.view === "Loss" && found && !found.final)
    parts.push("no predicted loss: no group of three sizes has this τ, TPP and learning rate");
  if (state.view !== "Loss") parts.push("N moves the final loss, not this curve");
  if (found?.law)
    parts.push(`final loss: power law in 6ND through ${found.law.n_sizes} sizes of ${escaped(found.law.label)}`);
  parts.push("first 10 % may leave the frame, below 30 %", "surrogate fitted from 20 % on");
  return `<div class="line">${parts.map((part) => `<span>${part}</span>`).join("")}</div>`;
}

// What the Explorer says: numbers as text, the verdict, the legend, the note line.

function listed(ids, runs) {
  const names = ids.slice(0, 3).map((i) => escaped(runs.run_id[i])).join(", ");
  return ids.length > 3 ? `${names} and ${ids.length - 3} more` : names;
}

export function offsetLabel(offset, track) {
  if (offset === 0) return "With no offset";
  return offset === track.value ? "With the fitted L₀" : `With offset ${offset.toFixed(3)}`;
}

// Tag, headline and sentence; `ok` colours the tag. The wording is that of the brief.
export function verdictWords(found, runs, track) {
  const { compared, open, below, deviation, noise, beyond, points, offset, ell } = found;
  const sizes = new Set(compared.map((i) => String(runs.size[i]))).size;
  const label = offsetLabel(offset, track), half = Math.max(0, Math.round(points / 2) - 1);
  const words = (tag, headline, sentence, ok = false) => ({ tag, headline, sentence, ok });
  if (!found.kept.length)
    return words("Nothing selected", "No run matches the filters",
      "Undo the last filter, or show all runs.");
  if (below.length && compared.length < 2)
    return words("Offset too high", `Offset above the final loss of ${plural(below.length, "run")}`,
      "Move the offset down: a curve that ends at or below it cannot be normalised.");
  if (compared.length < 2)
    return words("Needs two finished runs",
      open.length ? `${plural(open.length, "run")} on the way, nothing finished to compare with`
        : "Too few finished runs to compare",
      "Raw curves are drawn as they are; the verdict comes with the second finished run.");
  if (sizes < 2)
    return words("Needs two sizes",
      `${plural(compared.length, "run")} of one size: nothing to compare across sizes`,
      `${label}, half-way: Δ across runs is ${twoDigits(deviation[half])}.`);
  if (!noise)
    return words("Needs two seeds of one size",
      `${plural(compared.length, "run")} of ${plural(sizes, "size")}, no seed noise to compare with`,
      `${label}, half-way: Δ = ${twoDigits(deviation[half])} across runs. Train one size again with another seed.`);
  const ratio = deviation[half] / noise[half];
  const compare = ratio < 1 ? `${(1 / ratio).toFixed(1)} times smaller` : `${ratio.toFixed(1)} times larger`;
  const sentence = `${label}, half-way: the spread across sizes is ${compare} than seed noise.`;
  if (beyond !== null && beyond <= 0.5)
    return words("Supercollapse",
      `${plural(sizes, "size")} follow one curve from ${percent(beyond)} of training on`,
      `${sentence} Towards the end Δ falls to 0 by construction.`, true);
  const where = beyond === null ? "everywhere" : `until ${percent(beyond)} of training`;
  const ends = compared.map((i) => ell.get(i)[half]), apart = Math.max(...ends) - Math.min(...ends);
  const within = ` All curves lie within ${trimmed(apart, 2)} of one another there.`;
  const next = offset === 0 && track.identified ? " Move the offset towards L₀." : "";
  return words("No supercollapse", `${plural(sizes, "size")} differ by more than seeds ${where}`,
    sentence + within + next);
}

export function verdictHtml(found, runs, track, caveat) {
  const { deviation, noise, beyond, points } = found, half = Math.max(0, Math.round(points / 2) - 1);
  const { tag, headline, sentence, ok } = verdictWords(found, runs, track);
  const key = (value, name) => `<div><b>${value}</b><span>${name}</span></div>`;
  const extra = found.below.length && found.compared.length > 1
    ? ` Left out, not above the offset: ${listed(found.below, runs)}.` : caveat ? ` ${escaped(caveat)}` : "";
  return `<div class="verdict" role="status" aria-live="polite"><div>` +
    `<span class="tag ${ok ? "ok" : "no"}">${tag}</span><h2>${headline}</h2>` +
    `<p>${sentence}${extra}</p></div><div class="numbers">` +
    key(deviation ? twoDigits(deviation[half]) : "–", "Δ across runs, half-way") +
    key(noise ? twoDigits(noise[half]) : "–", "σ across seeds, half-way") +
    key(beyond !== null ? percent(beyond) : "–", "Δ &lt; σ from here to the end") + `</div></div>`;
}

// One row above the plot: the coordinate, then at most eight values or a bar with its ends.
export function legendHtml(colouring, entries, bandText, axisLabel) {
  const axis = axisLabel ? `<span class="axis">${escaped(axisLabel)}</span>` : "";
  const swatch = (entry) =>
    `<span><i style="background:${entry.colour}"></i>${escaped(entry.label)}</span>`;
  const bar = () => {
    const stops = [0, 1, 2, 3].map((q) => entries[Math.round((q * (entries.length - 1)) / 3)]);
    return `<span>${escaped(stops[0].label)} <i class="bar" style="background:linear-gradient(90deg,` +
      `${stops.map((s) => s.colour).join(",")})"></i>${escaped(stops[3].label)}</span>`;
  };
  const values = entries.length > 8 ? bar() : entries.map(swatch).join("");
  const band = bandText ? `<span>${bandText}</span>` : "";
  return `<div class="line">${axis}<span>${escaped(colouring.title)}</span>${values}${band}</div>`;
}

// What is not shown is said: runs, points, what leaves the frame, how the numbers are averaged.
export function noteHtml(found, runs, view, drawn, logged) {
  const parts = [
    `${found.kept.length.toLocaleString("en")} of ${plural(runs.run_id.length, "run")}`,
    drawn < logged ? `${drawn.toLocaleString("en")} of ${logged.toLocaleString("en")} points drawn`
      : `all ${logged.toLocaleString("en")} points drawn`,
  ];
  if (view !== "Raw" && found.open.length && found.mean)
    parts.push(`${plural(found.open.length, "unfinished run")}: end estimated by alignment to the ` +
      `mean of the finished ones; never part of Δ, σ or the verdict`);
  if (found.late.length)
    parts.push(`left out, branched off a trunk: ${listed(found.late, runs)}`);
  parts.push(view === "Residual" ? "first 10 % may leave the frame" : "first 4 % may leave the frame",
    "Δ = sd / mean over runs; σ = sd / mean over seeds, averaged over settings");
  return `<div class="line">${parts.map((part) => `<span>${part}</span>`).join("")}</div>`;
}

// The learning rate over the run, with points to drag. Every point is a slider of its own: arrow
// keys move it (with Shift further), Enter adds one after it, Delete takes it away. A tap on the
// empty plot adds one there. Loaded as one module after schedules.js.

const NS = "http://www.w3.org/2000/svg", HEIGHT = 176, ROOM = { left: 46, right: 14, top: 10, bottom: 24 };
const LEAST_GAP = 0.5, REACH = 22;

const tenth = (value) => Math.round(10 * value) / 10;
const between = (value, low, high) => Math.min(Math.max(value, low), high);

// Points as they are drawn: the largest rate is the peak.
function parse(text) {
  const points = readPoints(text), peak = points && Math.max(...points.map((p) => p[1]));
  return points && points.map(([x, y]) => [x, (100 * y) / peak]);
}

function element(name, attributes, parent) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

export function render({ model }) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", "Learning rate over the run, share of the peak");
  const back = element("g", {}, svg), line = element("polyline", { class: "rate" }, svg);
  const hold = element("g", {}, svg);
  let width = 600, points = [], handles = [], dragged = null, written = null;

  const toX = (x) => ROOM.left + (x / 100) * (width - ROOM.left - ROOM.right);
  const toY = (y) => ROOM.top + (1 - y / 100) * (HEIGHT - ROOM.top - ROOM.bottom);
  const at = (event) => {
    const box = svg.getBoundingClientRect();
    return [((event.clientX - box.left - ROOM.left) / (width - ROOM.left - ROOM.right)) * 100,
      (1 - (event.clientY - box.top - ROOM.top) / (HEIGHT - ROOM.top - ROOM.bottom)) * 100];
  };

  function frame() {
    svg.setAttribute("width", width);
    svg.setAttribute("height", HEIGHT);
    back.replaceChildren();
    for (const y of [0, 50, 100]) {
      element("line", { class: "grid", x1: toX(0), x2: toX(100), y1: toY(y), y2: toY(y) }, back);
      const label = element("text", { x: ROOM.left - 8, y: toY(y) + 4, "text-anchor": "end" }, back);
      label.textContent = `${y} %`;
    }
    for (const x of [0, 20, 40, 60, 80, 100]) {
      const label = element("text", { x: toX(x), y: HEIGHT - 6, "text-anchor": "middle" }, back);
      label.textContent = x;
    }
  }

  function drawLine() {
    const rates = model.rates ? model.rates.split(" ").map(Number) : [];
    line.setAttribute("points", rates.map((r, k) =>
      `${toX((100 * k) / (rates.length - 1)).toFixed(1)},${toY(100 * r).toFixed(1)}`).join(" "));
  }

  function place() {
    handles.forEach((handle, i) => {
      const [x, y] = points[i];
      handle.setAttribute("transform", `translate(${toX(x)},${toY(y)})`);
      handle.setAttribute("aria-label", `Point ${i + 1} of ${points.length}`);
      handle.setAttribute("aria-valuenow", tenth(y));
      handle.setAttribute("aria-valuetext", `${tenth(y)} % of the peak at ${tenth(x)} % of the run`);
    });
  }

  function build(focus) {
    hold.replaceChildren();
    handles = !model.editing ? [] : points.map((_, i) => {
      const handle = element("g", { class: "handle", role: "slider", tabindex: 0,
        "aria-valuemin": 0, "aria-valuemax": 100 }, hold);
      element("circle", { r: REACH, class: "reach" }, handle);
      element("circle", { r: 7, class: "dot" }, handle);
      handle.addEventListener("pointerdown", (event) => {
        dragged = i;
        handle.setPointerCapture(event.pointerId);
        handle.focus();
        event.preventDefault();
      });
      handle.addEventListener("pointermove", (event) => dragged === i && move(i, ...at(event)));
      for (const end of ["pointerup", "pointercancel"])
        handle.addEventListener(end, () => {
          dragged = null;
          settle();
        });
      handle.addEventListener("keydown", (event) => press(event, i));
      return handle;
    });
    place();
    if (focus !== undefined) handles[focus]?.focus();
  }

  function write() {
    written = points.map(([x, y]) => `${tenth(x)}:${tenth(y)}`).join(" ");
    model.text = written;
  }

  function move(i, x, y) {
    const low = i ? points[i - 1][0] + LEAST_GAP : 0;
    const high = i < points.length - 1 ? points[i + 1][0] - LEAST_GAP : 100;
    const least = points.some((p, j) => j !== i && p[1] > 0) ? 0 : 1;
    points[i] = [between(x, low, high), between(y, least, 100)];
    place();
    write();
  }

  function add(x, y) {
    const next = points.findIndex((p) => p[0] > x), i = next < 0 ? points.length : next;
    const far = [points[i - 1], points[i]].every((p) => !p || Math.abs(p[0] - x) >= LEAST_GAP);
    if (points.length >= MOST_POINTS || !far) return;
    points.splice(i, 0, [between(x, 0, 100), between(y, 0, 100)]);
    build(i);
    write();
  }

  function remove(i) {
    const rest = points.filter((_, j) => j !== i);
    if (rest.length < 2 || !rest.some((p) => p[1] > 0)) return;
    points = rest;
    build(Math.min(i, points.length - 1));
    write();
  }

  function press(event, i) {
    const step = event.shiftKey ? 10 : 2, [x, y] = points[i];
    const moves = { ArrowUp: [0, step], ArrowDown: [0, -step], ArrowRight: [step / 2, 0],
      ArrowLeft: [-step / 2, 0], Home: [0, 100 - y], End: [0, -y] };
    if (moves[event.key]) move(i, x + moves[event.key][0], y + moves[event.key][1]);
    else if (event.key === "Delete" || event.key === "Backspace") remove(i);
    else if (event.key === "Enter") {
      const other = points[i + 1] ?? points[i - 1];
      add((x + other[0]) / 2, (y + other[1]) / 2);
    } else return;
    settle();
    event.preventDefault();
    event.stopPropagation();
  }

  // The largest rate is the peak: once a point rests, the others are shares of it again.
  function settle() {
    const peak = Math.max(...points.map((p) => p[1]));
    if (peak === 100) return;
    points = points.map(([x, y]) => [x, (100 * y) / peak]);
    place();
    write();
  }

  function take() {
    if (model.text === written || dragged !== null) return;
    points = parse(model.text) ?? points;
    build();
  }

  svg.addEventListener("click", (event) => {
    if (model.editing && !event.target.closest(".handle")) add(...at(event));
  });
  model.on("text", take);
  model.on("rates", drawLine);
  model.on("editing", () => {
    svg.classList.toggle("editing", model.editing);
    build();
  });
  const all = () => {
    frame();
    drawLine();
    place();
  };
  const observer = new ResizeObserver(([entry]) => {
    if (!entry.contentRect.width || entry.contentRect.width === width) return;
    width = entry.contentRect.width;
    all();
  });
  const box = document.createElement("div");
  box.append(svg);
  observer.observe(box);
  model.on("remove", () => observer.disconnect());
  points = parse(model.text) ?? [[0, 0], [10, 100], [100, 0]];
  svg.classList.toggle("editing", model.editing);
  build();
  all();
  return box;
}

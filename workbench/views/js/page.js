// How scripts change a page. All changes stay in the browser: columns are edited in place and
// properties set with {sync: false}, so a move sends no data to the server.

const QUIET = { sync: false };

function change(source, columns) {
  Object.assign(source.data, columns);
  source.change.emit();
}

// Texts keep a fixed number of rows: Bokeh's text glyph fails when a column grows shorter.
function changeTexts(source, rows, length) {
  const blank = { x: 0, y: 0, text: "", color: "#000000", align: "left" };
  const all = Array.from({ length }, (_, i) => ({ ...blank, ...rows[i] }));
  const columns = Object.keys(source.data).map((name) => [name, all.map((row) => row[name])]);
  change(source, Object.fromEntries(columns));
}

function write(pane, html) {
  if (pane.text !== html) pane.setv({ text: html }, QUIET);
}

// Colours of the theme for text, axes and grids.
function dress(plots, grids, tokens) {
  for (const [name, value] of Object.entries(tokens.css)) document.documentElement.style.setProperty(name, value);
  const bare = { axis_line_color: null, major_tick_line_color: null, minor_tick_line_color: null };
  for (const plot of plots)
    for (const axis of [...plot.left, ...plot.below])
      if (axis.major_label_text_color !== tokens.muted || axis.axis_line_color !== null)
        axis.setv({ major_label_text_color: tokens.muted, axis_label_text_color: tokens.ink, ...bare },
          QUIET);
  for (const grid of grids) grid.setv({ grid_line_color: tokens.line }, QUIET);
}

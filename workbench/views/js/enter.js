// Once, when the page is there: the drawer of controls opens by itself and would hide a page below
// 900 px; and the page is as dark as the reader's system, unless its address says otherwise.

let entered = false;

export default function enter({ anchor }) {
  if (entered || !anchor.document) return;
  entered = true;
  const asked = new URLSearchParams(window.location.search).has("theme");
  const dark = !asked && window.matchMedia("(prefers-color-scheme: dark)").matches;
  for (const root of anchor.document.roots()) {
    if (window.innerWidth < 900 && root.data?.sidebar_open) root.data.sidebar_open = false;
    if (dark && root.data?.dark_theme === false) root.data.dark_theme = true;
  }
}

// Numbers and names as text, the same on every page.

export const percent = (share) =>
  `${100 * share >= 1 ? (100 * share).toFixed(0) : trimmed(100 * share, 2)} %`;
export const twoDigits = (share) => `${trimmed(100 * share, 2)} %`;
const trimmed = (value, digits) => String(Number(value.toPrecision(digits)));
export const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
export const escaped = (text) =>
  String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

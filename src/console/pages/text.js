// Figures → words, and words → elements. Nothing that came from outside is ever taken for markup.

/** `make("dd", "Live", { class: "dim" })`. */
export function make(name, content = "", attributes = {}) {
  const element = document.createElement(name);
  if (content instanceof Array) element.append(...content);
  else element.textContent = content;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Changes a text only when it is another: screen readers and selections stay undisturbed. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** `1.5 GiB`. */
export function size(bytes) {
  let unit = 0;
  while (bytes >= 1024 && unit < UNITS.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${bytes.toFixed(unit && bytes < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

/** `2.35 Mbit/s`. */
export const rate = (bytesPerS) => `${((bytesPerS * 8) / 1e6).toFixed(2)} Mbit/s`;

/** `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`. */
export function span(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 10) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

/** A moment near `now`, both in Unix milliseconds: with the day only where it is another. */
export function moment(ms, now) {
  const date = new Date(ms);
  const isToday = date.toDateString() === new Date(now).toDateString();
  return isToday ? date.toLocaleTimeString() : date.toLocaleString();
}

export const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;

// What a ring holds → its picture over time: a bar for each slot, as high as its bit rate, and hatched where there is a hole.

import { count, make, moment, rate, size, span, write } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 480;
const HEIGHT = 56;

/** A slot is a hole where less than this many thousandths of it are covered. */
const HOLE_PERMILLE = 990;

function draw(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export class Timeline {
  constructor() {
    this.picture = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.from = make("span");
    this.note = make("span");
    this.to = make("span");
    this.element = make("figure", [this.picture, make("figcaption", [this.from, this.to, this.note])], { class: "timeline" });
  }

  /** Shows the ring of a channel at `now`, in Unix milliseconds. */
  update(ring, now) {
    const { timeline } = ring;
    const drawn = timeline ? `${timeline.start_unix_ms} ${timeline.slot_ms} ${timeline.slot_bytes}` : "";
    const holes = holesOf(timeline);
    write(this.note, sum(ring, holes));
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.element.classList.toggle("empty", !timeline);
    this.picture.replaceChildren(...(timeline ? this.#bars(timeline) : []));
    write(this.from, timeline ? moment(timeline.start_unix_ms, now) : "");
    write(this.to, timeline ? moment(timeline.start_unix_ms + timeline.slot_ms * timeline.slot_bytes.length, now) : "");
    const since = timeline && moment(timeline.start_unix_ms, now);
    // The picture in words, for whoever does not see it.
    this.picture.setAttribute("aria-label", timeline ? `Recorded since ${since}, ${holes ? `with ${count(holes, "hole", "holes")}` : "without a hole"}.` : "The ring is empty.");
  }

  #bars({ slot_ms, slot_bytes, slot_covered_permille }) {
    const most = Math.max(...slot_bytes, 1);
    const step = WIDTH / slot_bytes.length;
    const gap = Math.min(1, step / 4);
    return slot_bytes.flatMap((bytes, index) => {
      const covered = slot_covered_permille[index] / 1000;
      const x = index * step;
      const height = bytes && Math.max(2, (bytes / most) * HEIGHT);
      const bar = draw("rect", { class: "bar", x, y: HEIGHT - height, width: Math.max(step - gap, 0.5), height });
      const told = draw("title", {});
      told.textContent = bytes ? `${rate((bytes / slot_ms) * 1000)}${covered < 0.99 ? `, ${Math.round(100 * covered)} % recorded` : ""}` : "nothing recorded";
      bar.append(told);
      if (slot_covered_permille[index] >= HOLE_PERMILLE) return [bar];
      const hole = draw("rect", { class: "hole", x, y: 0, width: step, height: HEIGHT });
      hole.append(told.cloneNode(true));
      return [hole, bar];
    });
  }
}

/** How many stretches there are of which not all was recorded. */
function holesOf(timeline) {
  const isHole = timeline?.slot_covered_permille.map((permille) => permille < HOLE_PERMILLE) ?? [];
  return isHole.filter((hole, index) => hole && !isHole[index - 1]).length;
}

function sum({ segments, span_ms, used_bytes, capacity_bytes }, holes) {
  if (!segments) return "Nothing recorded yet";
  const parts = [span(span_ms), `${size(used_bytes)} of ${size(capacity_bytes)}`];
  if (holes) parts.push(count(holes, "hole", "holes"));
  return parts.join(" · ");
}

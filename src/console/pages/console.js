// The console: asks for the status every two seconds, and shows it.

import { Card } from "./card.js";
import { Trouble, ask, sleep } from "./gateway.js";
import { count, make, size, span, write } from "./text.js";

/** Time between two looks, in milliseconds. */
const EVERY_MS = 2000;

const REASONS = {
  acl: "not signed",
  malformed: "not to be understood",
  incomplete: "signature incomplete",
  expired: "expired",
  unknown_key: "unknown key",
  signature: "signature does not fit",
  skew: "clock too far off",
  clock: "this box does not know the time",
  referer: "from a page that is not allowed",
  cors: "preflight that no CORS rule allows",
  channel: "no such channel, busy or disabled",
};

const element = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));

/** Cards by bucket and channel. */
const cards = new Map();

function show(status) {
  const { health, channels } = status;
  const isGood = health.status === "pass";
  element.health.dataset.kind = isGood ? "live" : "bad";
  write(element.health, isGood ? "Healthy" : wrong(health));
  document.title = `${isGood ? "" : "⚠ "}${location.hostname} · Sluicegate`;
  element.figures.hidden = false;
  figures(status);
  refusals(status.refusals);

  const names = channels.map(({ bucket, channel }) => `${bucket}/${channel}`);
  for (const [name, card] of cards) {
    if (names.includes(name)) continue;
    card.remove();
    cards.delete(name);
  }
  channels.forEach((channel, index) => {
    let card = cards.get(names[index]);
    if (!card) cards.set(names[index], (card = new Card()));
    if (element.channels.children[index] !== card.element) {
      element.channels.insertBefore(card.element, element.channels.children[index] ?? null);
    }
    card.update(channel, status);
  });
  element.none.hidden = channels.length > 0;
  write(element.version, `Sluicegate ${status.version}`);
}

function wrong({ late_channels, failed_rings }) {
  const parts = [
    late_channels && `${count(late_channels, "channel", "channels")} late`,
    failed_rings && `${count(failed_rings, "ring fails", "rings fail")}`,
  ];
  return parts.filter(Boolean).join(", ");
}

function figures({ memory, flash, connections, http, channels, uptime_ms, is_clock_set, time_unix_ms }) {
  write(element.live, `${connections.publishers} of ${channels.length}`);
  write(element["live-more"], `at most ${count(connections.publishers_max, "publisher", "publishers")}`);
  write(element.viewers, String(channels.reduce((sum, { viewers }) => sum + viewers, 0)));
  write(element["viewers-more"], `${count(connections.http, "connection", "connections")} of ${connections.http_max}, ${size(http.sent_bytes)} sent`);
  write(element.memory, size(memory.resident_bytes));
  write(element["memory-more"], `at most ${size(memory.budget_bytes)}`);
  const meter = element["memory-meter"];
  Object.assign(meter, { max: memory.budget_bytes, high: memory.budget_bytes * 0.9, value: memory.resident_bytes });
  meter.textContent = `${size(memory.resident_bytes)} of ${size(memory.budget_bytes)}`;
  write(element.flash, size(flash.written_bytes));
  write(element["flash-more"], `${size(flash.reserved_bytes)} reserved, slowest seal ${flash.seal_ms_max} ms`);
  write(element.uptime, span(uptime_ms));
  write(element["uptime-more"], is_clock_set ? new Date(time_unix_ms).toLocaleString() : "The clock is not set: signed requests are refused.");
}

function refusals(list) {
  const sum = (key) => list.reduce((all, refusals) => all + refusals[key], 0);
  element.refused.hidden = !list.length;
  write(element["refused-sum"], `Refused: ${count(sum("requests"), "request", "requests")}, ${count(sum("publishers"), "publisher", "publishers")}`);
  const told = JSON.stringify(list);
  if (element.refusals.dataset.told === told) return;
  element.refusals.dataset.told = told;
  element.refusals.replaceChildren(
    ...list.map(({ reason, requests, publishers }) =>
      make("tr", [make("th", REASONS[reason] ?? reason, { scope: "row" }), make("td", String(requests)), make("td", String(publishers))]),
    ),
  );
}

function complain(trouble) {
  element.trouble.hidden = !trouble;
  write(element.trouble, trouble?.message ?? "");
  element.channels.classList.toggle("stale", Boolean(trouble));
  if (!trouble) return;
  element.health.dataset.kind = trouble.again ? "busy" : "bad";
  write(element.health, trouble.again ? "Not reached" : "Refused");
}

/** Nobody looks at a page in the background. */
const shown = () => new Promise((resolve) => {
  if (!document.hidden) resolve();
  else document.addEventListener("visibilitychange", () => resolve(), { once: true });
});

async function main() {
  write(element.host, location.hostname);
  // The link's signature is for the figures too.
  const address = new URL(`/-/status${location.search}`, location.origin);
  for (;;) {
    await shown();
    try {
      show(JSON.parse(await ask(address, "the console")));
      complain(null);
    } catch (trouble) {
      if (!(trouble instanceof Trouble) && !(trouble instanceof SyntaxError)) throw trouble;
      complain(trouble);
      if (trouble instanceof Trouble && !trouble.again) return;
    }
    await sleep(EVERY_MS);
  }
}

main();

// The player page: the play URL in its own address → the player, and what it says.

import { Trouble } from "./gateway.js";
import { watch } from "./player.js";

/** Further behind live than the player aims at by this many seconds, the way back is offered. */
const BEHIND_S = 15;

const element = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
const { video } = element;

/** The play URL in the page's own address; `null` if there is none. */
function source(text) {
  if (!text) return null;
  let url;
  try {
    url = new URL(text, location.origin);
  } catch {
    throw new Trouble("This is not an address that can be played.");
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new Trouble(`An address that starts with ${url.protocol} cannot be played.`);
  }
  if (url.origin !== location.origin) {
    // Every gateway has this page. Staying with our own keeps a link from making this one show anybody's pictures.
    const elsewhere = new URL("/-/play", url);
    elsewhere.search = new URLSearchParams({ src: text });
    throw new Trouble(`This stream is on another address, ${url.host}, which has a player of its own.`, { elsewhere });
  }
  return url;
}

/** `/cams/front-door/playlist.m3u8` → `front-door`. */
function channelName(url) {
  const parts = url.pathname.split("/");
  try {
    return decodeURIComponent(parts.at(-2) || parts.at(-1));
  } catch {
    return parts.at(-2);
  }
}

const page = {
  say(kind, sentence) {
    // Screen readers read a status when it changes, so it changes only when there is news.
    if (element.status.textContent !== sentence) element.status.textContent = sentence;
    element.status.dataset.kind = kind;
  },

  show(facts) {
    element.latency.textContent = facts?.latency != null ? `${facts.latency.toFixed(1)} s` : "–";
    element.picture.textContent = facts?.width ? `${facts.width} × ${facts.height}` : "–";
    element.rate.textContent = facts?.bitsPerS ? `${(facts.bitsPerS / 1e6).toFixed(2)} Mbit/s` : "–";
    element.live.hidden = !(facts?.live - video.currentTime > BEHIND_S);
    element.live.onclick = () => {
      video.currentTime = facts.live;
      video.play();
    };
  },

  async stuck({ elsewhere, kind }) {
    element.elsewhere.hidden = !elsewhere;
    element.elsewhere.href = elsewhere ?? "";
    element.again.hidden = Boolean(elsewhere);
    element.again.textContent = kind === "done" ? "Play again" : "Try again";
    await new Promise((resolve) => element.again.addEventListener("click", resolve, { once: true }));
    element.again.hidden = true;
  },
};

function main() {
  if (window.self !== window.top) document.documentElement.classList.add("framed");
  const query = new URLSearchParams(location.search);
  element.player.hidden = false;
  try {
    const url = source(query.get("src")?.trim());
    if (!url) {
      element.player.hidden = true;
      element.form.hidden = false;
      return;
    }
    element.title.textContent = channelName(url);
    document.title = `${channelName(url)} · Sluicegate`;
    watch(url, video, page, new AbortController().signal, query.get("engine") ?? undefined);
  } catch (trouble) {
    if (!(trouble instanceof Trouble)) throw trouble;
    page.say(trouble.kind, trouble.message);
    // The address does not change by itself.
    element.again.onclick = () => location.reload();
    page.stuck(trouble);
  }
}

main();

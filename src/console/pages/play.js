// A play URL of this gateway → moving pictures, or a sentence that says why there are none.
//
// The page asks for the playlist itself before hls.js does, because only that way it can read OSS's error code. Whatever
// goes wrong later ends here again: one place decides whether to wait, to give up, or to play.

const Hls = globalThis.Hls;

/** Time between two looks at a stream that is not there, in milliseconds. */
const LOOK_AGAIN_MS = 3000;

/** Playback that stands still for this long is begun anew, in milliseconds. */
const STALL_MS = 20000;

/** A picture that does not move for this long is worth a word, in milliseconds. */
const QUIET_MS = 5000;

/** Further behind live than the player aims at by this many seconds, the way back is offered. */
const BEHIND_S = 15;

const HLS_CONFIG = {
  lowLatencyMode: false,
  liveSyncDurationCount: 3, // RFC 8216 §6.3.3: no closer to the end than three target durations
  liveMaxLatencyDurationCount: 10,
  maxLiveSyncPlaybackRate: 1.05, // catches up slowly enough not to be heard
  liveDurationInfinity: true, // players of live streams show no length
  backBufferLength: 30, // seconds; a page left open for days must not grow
  maxBufferLength: 30,
};

const element = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
const { video } = element;

/** What a look at the playlist, or a failure, comes to: a sentence, whether to look again, and whether it is bad. */
class Trouble extends Error {
  constructor(sentence, { again = false, kind = "bad", elsewhere = null } = {}) {
    super(sentence);
    Object.assign(this, { again, kind, elsewhere });
  }
}

// ---- Saying it ----

function say(kind, sentence) {
  // Screen readers read a status when it changes, so it changes only when there is news.
  if (element.status.textContent !== sentence) element.status.textContent = sentence;
  element.status.dataset.kind = kind;
}

/** OSS's error code and message → a sentence for somebody who only wants to see the picture. */
function refusal(status, code, message) {
  const because = `${code || `HTTP ${status}`}${message ? `: ${message}` : ""}`;
  if (/expired/i.test(message)) return new Trouble(`This link has expired. Ask for another one. (${because})`);
  if (/clock/i.test(message)) {
    return new Trouble(`The gateway does not know the time yet, so it cannot check the link. Waiting … (${because})`, { again: true });
  }
  if (/referer/i.test(message)) return new Trouble(`The gateway does not let this page show the stream. (${because})`);
  const sentence = {
    AccessDenied: "This link does not open the stream: it is not signed, or was cut off when it was copied.",
    SignatureDoesNotMatch: "This link is not valid: it was changed, or cut off when it was copied.",
    InvalidAccessKeyId: "This link was signed with a key that is no longer valid. Ask for another one.",
    NoSuchBucket: "There is no such bucket on this gateway.",
  }[code];
  return new Trouble(`${sentence ?? "The gateway refuses this link."} (${because})`);
}

// ---- The address ----

/** The play URL in the page's own address; `null` if there is none. */
function source() {
  const text = new URLSearchParams(location.search).get("src")?.trim();
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

// ---- Looking at the playlist ----

/** Resolves if there is something to play; throws what is the matter otherwise. */
async function look(url) {
  let reply;
  try {
    reply = await fetch(url, { cache: "no-store" });
  } catch {
    throw new Trouble("The gateway cannot be reached. Trying again …", { again: true });
  }
  const text = await reply.text();
  if (reply.ok) return check(text);
  const xml = new DOMParser().parseFromString(text, "application/xml");
  const code = xml.querySelector("Error > Code")?.textContent ?? "";
  const message = xml.querySelector("Error > Message")?.textContent ?? "";
  if (reply.status === 404 && code !== "NoSuchBucket") {
    throw new Trouble(`The camera has not sent anything yet, or there is none at this address. Waiting … (${code || "HTTP 404"})`, {
      again: true,
      kind: "busy",
    });
  }
  if (reply.status >= 500) throw new Trouble(`The gateway is busy. Trying again … (${code || `HTTP ${reply.status}`})`, { again: true });
  throw refusal(reply.status, code, message);
}

function check(text) {
  if (!text.startsWith("#EXTM3U")) throw new Trouble("What is at this address is not a playlist.");
  const isRecording = /^#EXT-X-PLAYLIST-TYPE:VOD$/m.test(text);
  if (isRecording || !/^#EXT-X-ENDLIST$/m.test(text)) return;
  const last = [...text.matchAll(/^#EXT-X-PROGRAM-DATE-TIME:(.*)$/gm)].at(-1);
  const since = last ? ` The last pictures are from ${new Date(last[1]).toLocaleString()}.` : "";
  throw new Trouble(`The camera is not sending.${since} Waiting for it …`, { again: true, kind: "busy" });
}

// ---- Playing ----

/** Plays until something ends it, and throws what that was. */
async function play(url) {
  say("busy", "Starting …");
  const stop = new AbortController();
  try {
    await new Promise((_, end) => {
      const on = (name, act) => video.addEventListener(name, act, { signal: stop.signal });
      on("ended", () => end(new Trouble("The stream has ended.", { again: true, kind: "busy" })));
      on("playing", () => say("live", "Playing."));
      watchProgress(end, stop.signal);
      if (Hls?.isSupported()) playWithHls(url, end, stop.signal);
      else if (video.canPlayType("application/vnd.apple.mpegurl")) playNatively(url, end, on);
      else end(new Trouble("This browser can play neither HLS nor Media Source Extensions. VLC or mpv open the play URL itself."));
      // Muted playback may start by itself nearly everywhere; where it may not, the button of the controls is the way.
      video.play().catch((error) => {
        if (error.name === "NotAllowedError") say("busy", "Press play to start.");
      });
    });
  } finally {
    stop.abort();
    element.facts.hidden = true;
    element.live.hidden = true;
  }
}

function playWithHls(url, end, signal) {
  const hls = new Hls(HLS_CONFIG);
  signal.addEventListener("abort", () => hls.destroy());
  const meter = new Meter(hls);
  const timer = setInterval(() => meter.show(), 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  element.live.onclick = () => {
    video.currentTime = hls.liveSyncPosition ?? video.currentTime;
    video.play();
  };
  let recoveries = 0;
  hls.on(Hls.Events.ERROR, (_, { fatal, type, details, response }) => {
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && recoveries < 2) {
      recoveries += 1;
      hls.recoverMediaError();
    } else if (type === Hls.ErrorTypes.MEDIA_ERROR) {
      end(new Trouble(`The browser cannot decode this stream. (${details})`, { again: true }));
    } else {
      // What the gateway says is read by the next look at the playlist.
      end(new Trouble(`The connection broke off. Trying again … (${response?.code || details})`, { again: true }));
    }
  });
  hls.loadSource(url.href);
  hls.attachMedia(video);
}

function playNatively(url, end, on) {
  on("error", () => end(new Trouble("The browser gave up on this stream. Trying again …", { again: true })));
  on("loadedmetadata", () => {
    element.picture.textContent = `${video.videoWidth} × ${video.videoHeight}`;
    element.facts.hidden = false;
  });
  video.src = url.href;
}

/** Speaks up when the picture stands still, and ends playback that does not go on. */
function watchProgress(end, signal) {
  let position = -1;
  let moved = performance.now();
  const timer = setInterval(() => {
    if (video.currentTime !== position || video.paused) {
      position = video.currentTime;
      moved = performance.now();
      return;
    }
    const quiet = performance.now() - moved;
    if (quiet > STALL_MS) end(new Trouble("The picture does not move. Trying again …", { again: true }));
    else if (quiet > QUIET_MS) say("busy", "No new pictures from the camera. Waiting …");
  }, 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** What hls.js knows of the stream → the line of facts. */
class Meter {
  /** The gateway's clock minus this machine's, in milliseconds. */
  #clock = -Infinity;
  /** Bit rate, averaged over the last segments, in bits per second. */
  #rate = 0;

  constructor(hls) {
    this.hls = hls;
    hls.on(Hls.Events.LEVEL_LOADED, (_, { networkDetails }) => {
      const date = Date.parse(networkDetails?.getResponseHeader?.("Date"));
      // The header is cut to whole seconds, so each is a lower bound, and the highest is the closest.
      if (!Number.isNaN(date)) this.#clock = Math.max(this.#clock, date - Date.now());
    });
    hls.on(Hls.Events.FRAG_LOADED, (_, { frag }) => {
      const rate = (frag.stats.total * 8) / frag.duration;
      if (Number.isFinite(rate)) this.#rate = this.#rate ? this.#rate * 0.7 + rate * 0.3 : rate;
    });
  }

  show() {
    const shown = this.hls.playingDate?.getTime();
    const latency = (Date.now() + this.#clock - shown) / 1000;
    element.latency.textContent = Number.isFinite(latency) ? `${Math.max(0, latency).toFixed(1)} s` : "–";
    element.picture.textContent = video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : "–";
    element.rate.textContent = this.#rate ? `${(this.#rate / 1e6).toFixed(2)} Mbit/s` : "–";
    element.facts.hidden = !video.videoWidth;
    element.live.hidden = !(this.hls.liveSyncPosition - video.currentTime > BEHIND_S);
  }
}

// ---- The whole ----

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const pressed = (button) => new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));

async function main() {
  if (window.self !== window.top) document.documentElement.classList.add("framed");
  for (;;) {
    try {
      const url = source();
      if (!url) {
        element.form.hidden = false;
        return;
      }
      element.player.hidden = false;
      element.title.textContent = channelName(url);
      document.title = channelName(url);
      await look(url);
      await play(url);
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      element.player.hidden = false;
      say(trouble.kind, trouble.message);
      if (trouble.again) {
        await sleep(LOOK_AGAIN_MS);
        continue;
      }
      element.elsewhere.hidden = !trouble.elsewhere;
      element.elsewhere.href = trouble.elsewhere ?? "";
      element.again.hidden = Boolean(trouble.elsewhere);
      await pressed(element.again);
      element.again.hidden = true;
      say("busy", "Connecting …");
    }
  }
}

main();

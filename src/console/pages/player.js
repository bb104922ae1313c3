// A play URL of this gateway and a <video> → moving pictures, or a sentence that says why there are none.
//
// The page asks for the playlist itself before the player does, because only that way it can read OSS's error code.
// Whatever goes wrong later ends here again: one place decides whether to wait, to give up, or to play.

import { Trouble, ask, sleep } from "./gateway.js";

const Hls = globalThis.Hls;

/** Time between two looks at a stream that is not there, in milliseconds. */
const LOOK_AGAIN_MS = 3000;

/** Playback that stands still for this long is begun anew, in milliseconds. */
const STALL_MS = 20000;

/** A picture that does not move for this long is worth a word, in milliseconds. */
const QUIET_MS = 5000;

/** How fast playback catches up: slowly enough not to be heard, or before a second is lost for good. */
const CATCH_UP_RATE = { plain: 1.05, lowLatency: 1.2 };

// Told how far from the end to stay, hls.js would not listen to playlists that offer parts. It stays at three target
// durations of the others by itself (RFC 8216 §6.3.3).
const HLS_CONFIG = {
  lowLatencyMode: true, // where the playlist offers it
  liveDurationInfinity: true, // players of live streams show no length
  backBufferLength: 30, // seconds; a page left open for days must not grow
  maxBufferLength: 30,
};

/**
 * Plays `url` in `video` until `signal` aborts; comes back by itself whenever there is something to come back to.
 *
 * `page.say(kind, sentence)`: what is going on; `kind` is `busy`, `live`, `bad` or `done`.
 * `page.show(facts)`: once a second while it plays, and `null` when it does not.
 * `page.stuck(trouble)`: nothing will change by waiting; resolves when somebody wants it tried again.
 */
export async function watch(url, video, page, signal, engine = preferredEngine(video)) {
  while (!signal.aborted) {
    try {
      page.say("busy", "Connecting …");
      const ended = await look(url);
      // A signal that has aborted already does not tell again.
      if (signal.aborted) return;
      page.say("busy", "Starting …");
      await play(url, video, page, signal, engine, ended);
    } catch (trouble) {
      if (signal.aborted) return;
      if (!(trouble instanceof Trouble)) throw trouble;
      page.say(trouble.kind, trouble.message);
      await (trouble.again ? sleep(LOOK_AGAIN_MS) : page.stuck(trouble));
    }
  }
}

/**
 * `native` or `hls.js`: Apple's browsers know HLS best themselves, and on older iPhones nothing else plays it.
 * Where others have learnt it, hls.js still tells more of the stream.
 */
export function preferredEngine(video) {
  const isNative = Boolean(video.canPlayType("application/vnd.apple.mpegurl"));
  const isApple = navigator.vendor.startsWith("Apple");
  return isNative && (isApple || !Hls?.isSupported()) ? "native" : "hls.js";
}

/** Resolves to what its end will come to if there is something to play; throws what is the matter otherwise. */
async function look(url) {
  const text = await ask(url, "the stream");
  if (!text.startsWith("#EXTM3U")) throw new Trouble("What is at this address is not a playlist.");
  // Begun anew by itself, it would be sent again and again to a page that somebody left open.
  if (/^#EXT-X-PLAYLIST-TYPE:VOD$/m.test(text)) return new Trouble("The recording has ended.", { kind: "done" });
  if (!/^#EXT-X-ENDLIST$/m.test(text)) return new Trouble("The stream has ended.", { again: true, kind: "busy" });
  const last = [...text.matchAll(/^#EXT-X-PROGRAM-DATE-TIME:(.*)$/gm)].at(-1);
  const since = last ? ` The last pictures are from ${new Date(last[1]).toLocaleString()}.` : "";
  throw new Trouble(`The camera is not sending.${since} Waiting for it …`, { again: true, kind: "busy" });
}

/** Plays until something ends it, and throws what that was: `ended` where the stream itself is over. */
async function play(url, video, page, signal, engine, ended) {
  const stop = new AbortController();
  const onAbort = () => stop.abort();
  signal.addEventListener("abort", onAbort);
  try {
    await new Promise((resolve, end) => {
      stop.signal.addEventListener("abort", resolve);
      const on = (name, act) => video.addEventListener(name, act, { signal: stop.signal });
      on("ended", () => end(ended));
      const mode = new Mode(page);
      on("playing", () => mode.plays());
      watchProgress(video, page, mode, end, stop.signal);
      if (engine === "native") playNatively(url, video, page, end, on, stop.signal);
      else if (Hls?.isSupported()) playWithHls(url, video, page, mode, end, stop.signal);
      else end(new Trouble("This browser can play neither HLS nor Media Source Extensions. VLC or mpv open the play URL itself."));
      begin(video, page);
    });
  } finally {
    signal.removeEventListener("abort", onAbort);
    stop.abort();
    page.show(null);
  }
}

/** Muted playback may start by itself nearly everywhere; where it may not, the button of the controls is the way. */
function begin(video, page) {
  video.play().catch((error) => {
    if (error.name === "NotAllowedError") page.say("busy", "Press play to start.");
  });
}

/** Says that it plays, and how. */
class Mode {
  #sentence = "Playing.";
  #isLow = false;
  #plays = false;

  constructor(page) {
    this.page = page;
  }

  plays() {
    this.#plays = true;
    this.page.say("live", this.#sentence);
  }

  /** Takes whether the playlist offers low latency. */
  offers(isLow) {
    if (isLow === this.#isLow) return;
    this.#isLow = isLow;
    this.#sentence = isLow ? "Playing with low latency." : "Playing. Low latency is off for the moment.";
    if (this.#plays) this.plays();
  }
}

function playWithHls(url, video, page, mode, end, signal) {
  const hls = new Hls(HLS_CONFIG);
  // Given at the start, hls.js wants it only together with what is left out above.
  hls.config.liveMaxLatencyDurationCount = 10;
  hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
    const isLow = Boolean(details.partList?.length);
    hls.config.maxLiveSyncPlaybackRate = isLow ? CATCH_UP_RATE.lowLatency : CATCH_UP_RATE.plain;
    mode.offers(isLow);
  });
  const meter = new Meter(hls, video);
  const timer = setInterval(() => page.show(meter.facts()), 1000);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    hls.destroy();
  });
  let recoveries = 0;
  hls.on(Hls.Events.ERROR, (_, { fatal, type, details, response }) => {
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && recoveries < 2) {
      recoveries += 1;
      const isPaused = video.paused;
      hls.recoverMediaError();
      // The new media source has ended what was begun.
      if (!isPaused) begin(video, page);
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

function playNatively(url, video, page, end, on, signal) {
  on("error", () => end(new Trouble("The browser gave up on this stream. Trying again …", { again: true })));
  const timer = setInterval(() => page.show(nativeFacts(video)), 1000);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    video.removeAttribute("src");
    video.load();
  });
  video.src = url.href;
}

/** What a browser that plays HLS itself tells of the stream. */
function nativeFacts(video) {
  // Safari maps the stream's dates to its own time; where that is missing, the end of what can be sought is live.
  const startDate = video.getStartDate?.().getTime();
  const { seekable } = video;
  const liveEnd = seekable.length ? seekable.end(seekable.length - 1) : NaN;
  const latency = startDate ? (Date.now() - startDate) / 1000 - video.currentTime : liveEnd - video.currentTime;
  return {
    latency: Number.isFinite(latency) ? Math.max(0, latency) : null,
    width: video.videoWidth,
    height: video.videoHeight,
    bitsPerS: null,
    live: Number.isFinite(liveEnd) ? liveEnd : null,
  };
}

/** Speaks up when the picture stands still, and ends playback that does not go on. */
function watchProgress(video, page, mode, end, signal) {
  let position = -1;
  let moved = performance.now();
  let isQuiet = false;
  const timer = setInterval(() => {
    if (video.currentTime !== position || video.paused) {
      position = video.currentTime;
      moved = performance.now();
      if (isQuiet) mode.plays();
      isQuiet = false;
      return;
    }
    const quiet = performance.now() - moved;
    if (quiet > STALL_MS) end(new Trouble("The picture does not move. Trying again …", { again: true }));
    else if (quiet > QUIET_MS && !isQuiet) {
      isQuiet = true;
      page.say("busy", "No new pictures from the camera. Waiting …");
    }
  }, 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** What hls.js knows of the stream. */
class Meter {
  /** The gateway's clock minus this machine's, in milliseconds. */
  #clock = -Infinity;
  /** Bit rate, averaged over the last segments, in bits per second. */
  #rate = 0;

  constructor(hls, video) {
    this.hls = hls;
    this.video = video;
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

  facts() {
    const shown = this.hls.playingDate?.getTime();
    const latency = (Date.now() + this.#clock - shown) / 1000;
    return {
      latency: Number.isFinite(latency) ? Math.max(0, latency) : null,
      width: this.video.videoWidth,
      height: this.video.videoHeight,
      bitsPerS: this.#rate || null,
      live: this.hls.liveSyncPosition ?? null,
    };
  }
}

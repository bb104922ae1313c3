// One channel of the status → its card: state, player, figures, ring, and where to publish.

import { watch } from "./player.js";
import { count, make, moment, rate, span, write } from "./text.js";
import { Timeline } from "./timeline.js";

/** `profile_idc` as people know it (ISO/IEC 14496-10 annex A). */
const PROFILES = { 66: "Baseline", 77: "Main", 88: "Extended", 100: "High", 110: "High 10", 122: "High 4:2:2", 244: "High 4:4:4" };

const COPIED_MS = 2000;

let cards = 0;

export class Card {
  #facts = new Map();
  #stop = null;
  #channel = null;

  constructor() {
    cards += 1;
    this.title = make("h2", "", { id: `channel-${cards}` });
    this.bucket = make("p", "", { class: "brand" });
    this.state = make("p", "", { class: "pill" });
    this.description = make("p", "", { class: "dim" });
    this.notes = make("ul", [], { class: "notes" });
    this.facts = make("dl", [], { class: "facts" });
    this.timeline = new Timeline();
    this.element = make(
      "article",
      [
        make("div", [make("div", [this.bucket, this.title, this.description]), this.state], { class: "head" }),
        this.#player(),
        this.notes,
        this.facts,
        this.timeline.element,
        this.#publish(),
      ],
      { class: "card", "aria-labelledby": this.title.id },
    );
  }

  #player() {
    this.video = make("video", "", { controls: "", muted: "", playsinline: "", hidden: "" });
    this.video.muted = true;
    this.said = make("p", "", { class: "say", role: "status" });
    this.said.hidden = true;
    this.start = make("button", "Play", { type: "button", class: "start" });
    this.again = make("button", "Try again", { type: "button" });
    this.again.hidden = true;
    this.end = make("button", "Stop", { type: "button", class: "quiet stop" });
    this.end.hidden = true;
    this.start.addEventListener("click", () => this.#play());
    this.end.addEventListener("click", () => this.#end());
    this.screen = make("div", [this.video, make("div", [this.said, this.again], { class: "talk" }), this.start, this.end], { class: "screen" });
    return this.screen;
  }

  #publish() {
    this.url = make("input", "", { id: `url-${cards}`, readonly: "", "aria-label": "Publish URL", spellcheck: "false" });
    this.url.addEventListener("focus", () => this.url.select());
    this.copy = make("button", "Copy", { type: "button", class: "quiet" });
    this.copy.addEventListener("click", () => this.#copy());
    this.until = make("p", "", { class: "dim" });
    this.copied = make("span", "", { class: "dim", role: "status" });
    this.publish = make("details", [
      make("summary", "Publish URL"),
      make("div", [this.url, this.copy], { class: "row" }),
      this.until,
      this.copied,
    ]);
    return this.publish;
  }

  /** Plays until somebody stops it. The signed address that was there when it began is kept. */
  #play() {
    this.#stop = new AbortController();
    this.video.hidden = false;
    this.said.hidden = false;
    this.end.hidden = false;
    this.start.hidden = true;
    this.video.focus();
    const page = {
      say: (kind, sentence) => {
        write(this.said, sentence);
        this.said.dataset.kind = kind;
      },
      show: (facts) => this.#fact("Behind live", facts?.latency == null ? null : `${facts.latency.toFixed(1)} s`),
      stuck: async () => {
        this.again.hidden = false;
        await new Promise((resolve) => {
          this.again.addEventListener("click", resolve, { once: true });
          this.#stop.signal.addEventListener("abort", resolve);
        });
        this.again.hidden = true;
      },
    };
    watch(new URL(this.#channel.play_path, location.origin), this.video, page, this.#stop.signal);
  }

  #end() {
    this.#stop?.abort();
    this.#stop = null;
    for (const element of [this.video, this.said, this.end, this.again]) element.hidden = true;
    this.start.hidden = false;
    this.start.focus();
  }

  async #copy() {
    this.url.select();
    try {
      await navigator.clipboard.writeText(this.url.value);
    } catch {
      // Only pages by https or on this machine itself may use the clipboard; what is selected can be copied everywhere.
      document.execCommand("copy");
    }
    write(this.copied, "Copied.");
    setTimeout(() => write(this.copied, ""), COPIED_MS);
  }

  /** Stops what plays: the channel is gone. */
  remove() {
    this.#stop?.abort();
    this.element.remove();
  }

  /** Shows a channel of a status. */
  update(channel, status) {
    this.#channel = channel;
    const now = status.time_unix_ms;
    write(this.bucket, channel.bucket);
    write(this.title, channel.channel);
    write(this.description, channel.description);
    const [kind, state] = stateOf(channel);
    write(this.state, state);
    this.state.dataset.kind = kind;
    this.start.disabled = !channel.play_path || !channel.newest_segment || channel.status === "Disabled";
    this.screen.classList.toggle("empty", this.start.disabled && !this.#stop);
    write(this.start, this.start.disabled ? "Nothing to play" : "Play");
    if (this.start.disabled) this.start.removeAttribute("aria-label");
    else this.start.setAttribute("aria-label", `Play ${channel.channel}`);
    this.#notes(channel);
    this.#figures(channel, now);
    this.timeline.update(channel.ring, now);
    this.#where(channel, status);
  }

  #notes({ ring, hints, is_late, counts, play_path }) {
    const notes = [
      !play_path && ["busy", "This address is another bucket's. To play or publish, open the console at the gateway's own."],
      is_late && ["bad", "The next segment is late: the camera or the flash has stopped delivering."],
      ring.fault && [ring.state === "failed" ? "bad" : "busy", sentence(ring.fault)],
      counts.segments_lost && ["warn", `${count(counts.segments_lost, "segment was", "segments were")} lost: the flash did not keep up.`],
      counts.segments_damaged && ["warn", `${count(counts.segments_damaged, "segment has", "segments have")} gone bad on the flash.`],
      ...hints.map((hint) => ["warn", hint]),
    ].filter(Boolean);
    const told = JSON.stringify(notes);
    if (told === this.told) return;
    this.told = told;
    this.notes.replaceChildren(...notes.map(([kind, text]) => make("li", text, { "data-kind": kind })));
    this.notes.hidden = !notes.length;
  }

  #figures({ video, audio, publisher, newest_segment, viewers, ring, counts, frag_duration_s, low_latency }, now) {
    const level = video && (video.level_idc / 10).toFixed(1);
    const gop = video?.gop_longest_ms;
    const dropped = counts.video_frames_dropped + counts.video_frames_broken + counts.audio_frames_dropped;
    this.#fact("Video", video && `${video.width} × ${video.height}, ${Math.round(video.frame_rate * 100) / 100} fps`);
    this.#fact("Codec", video && `H.264 ${PROFILES[video.profile_idc] ?? video.profile_idc} ${level}`);
    this.#fact("Audio", video && (audio ? `AAC ${audio.sample_rate_hz / 1000} kHz, ${channels(audio.channels)}` : "none"));
    this.#fact("Bit rate", video && rate(video.bytes_per_s + (audio?.bytes_per_s ?? 0)));
    this.#fact("Key frames", gop && `every ${(gop / 1000).toFixed(1)} s`);
    this.#fact("Segments", newest_segment && `${(newest_segment.duration_ms / 1000).toFixed(1)} s (asked ${frag_duration_s} s)`);
    this.#fact("Low latency", low_latency && lowLatency(low_latency));
    this.#fact("Newest", newest_segment && (newest_segment.age_ms == null ? moment(newest_segment.start_unix_ms, now) : `${span(newest_segment.age_ms)} ago`));
    this.#fact("Viewers", String(viewers));
    this.#fact("Publisher", publisher && `${publisher.remote_addr}${publisher.is_signed ? "" : ", not signed"}`);
    this.#fact("Encoder", publisher?.encoder || null);
    this.#fact("Publishing for", publisher && span(now - publisher.connected_unix_ms));
    this.#fact("Left out", dropped ? count(dropped, "frame", "frames") : null);
    this.#fact("Flash", ring.seals ? `${ring.seal_ms_mean} ms a segment, at most ${ring.seal_ms_max} ms` : null);
  }

  /** Shows, changes or takes away one figure. */
  #fact(name, text) {
    let fact = this.#facts.get(name);
    if (!fact) {
      const value = make("dd");
      fact = { row: make("div", [make("dt", name), value]), value };
      this.#facts.set(name, fact);
      this.facts.append(fact.row);
    }
    fact.row.hidden = text == null || text === "";
    write(fact.value, text ?? "");
  }

  #where({ publish_url, is_publish_url_unsigned }, { urls_expire_unix_s, time_unix_ms }) {
    this.publish.hidden = !publish_url;
    // A URL that somebody is about to copy is not changed under their hands; nor is one signed anew every two seconds.
    if (document.activeElement === this.url) return;
    this.url.value = publish_url;
    const isSigned = publish_url.includes("Signature=");
    write(
      this.until,
      isSigned
        ? `Signed until ${moment(urls_expire_unix_s * 1000, time_unix_ms)}. For longer: sluicegate sign publish --expires.`
        : is_publish_url_unsigned
          ? "Not signed, so the gateway refuses it: open the console with the link that `sluicegate sign console` prints."
          : "Everybody may publish to this bucket.",
    );
  }
}

function stateOf({ status, ring, is_late }) {
  if (ring.state === "failed") return ["bad", "Flash fails"];
  if (ring.state !== "ready") return ["busy", ring.state === "making" ? "Being made" : "Opening"];
  if (is_late) return ["bad", "Late"];
  return { Live: ["live", "Live"], Idle: ["idle", "Idle"], Disabled: ["idle", "Disabled"] }[status];
}

function lowLatency({ state, part_ms }) {
  return { measuring: "measuring the key frames", parts: `parts of ${part_ms / 1000} s at most`, plain: "not possible" }[state];
}

const channels = (n) => ({ 1: "mono", 2: "stereo" })[n] ?? `${n} channels`;

/** `the ring is being made` → `The ring is being made.` */
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

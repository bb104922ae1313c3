// What the gateway answers → what it means, in words. Both pages ask through here.

/** What a look at the gateway, or a failure, comes to: a sentence, whether to look again, and whether it is bad. */
export class Trouble extends Error {
  constructor(sentence, { again = false, kind = "bad", elsewhere = null } = {}) {
    super(sentence);
    Object.assign(this, { again, kind, elsewhere });
  }
}

/** A reply of which nothing comes for this long is given up, in milliseconds. */
const SILENCE_MS = 10000;

/** Fetches `url`; resolves to the text of a good reply, and throws what is the matter otherwise. */
export async function ask(url, what) {
  let reply, body;
  try {
    // It may break off in its middle.
    [reply, body] = await read(url);
  } catch {
    throw new Trouble("The gateway cannot be reached. Trying again …", { again: true });
  }
  if (reply.ok) return body;
  const { code, message } = refusalIn(body);
  if (reply.status === 404 && code !== "NoSuchBucket") {
    throw new Trouble(`The camera has not sent anything yet, or there is none at this address. Waiting … (${code || "HTTP 404"})`, {
      again: true,
      kind: "busy",
    });
  }
  if (reply.status >= 500) {
    throw new Trouble(`The gateway is busy. Trying again … (${reason(reply.status, code, message)})`, { again: true });
  }
  throw explained(reply.status, code, message, what);
}

/** Fetches a reply and its text. A thin line may take its time for a long playlist, as long as something of it comes. */
async function read(url) {
  const stop = new AbortController();
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(), SILENCE_MS);
  };
  try {
    wait();
    const reply = await fetch(url, { cache: "no-store", signal: stop.signal });
    const reader = reply.body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      wait();
      const { done, value } = await reader.read();
      text += decoder.decode(value, { stream: !done });
      if (done) return [reply, text];
    }
  } finally {
    clearTimeout(timer);
  }
}

/** OSS's error code and message, out of its XML. */
function refusalIn(body) {
  const xml = new DOMParser().parseFromString(body, "application/xml");
  const text = (name) => xml.querySelector(`Error > ${name}`)?.textContent ?? "";
  return { code: text("Code"), message: text("Message") };
}

/** What OSS's users know the answer by. */
const reason = (status, code, message) => `${code || `HTTP ${status}`}${message ? `: ${message}` : ""}`;

/** OSS's error code and message → a sentence for somebody who only wants to see `what`. */
function explained(status, code, message, what) {
  const because = reason(status, code, message);
  if (/expired/i.test(message)) return new Trouble(`This link has expired. Ask for another one. (${because})`);
  if (/clock/i.test(message)) {
    return new Trouble(`The gateway does not know the time yet, so it cannot check the link. Waiting … (${because})`, { again: true });
  }
  if (/referer/i.test(message)) return new Trouble(`The gateway does not let this page show ${what}. (${because})`);
  const sentence = {
    AccessDenied: `This link does not open ${what}: it is not signed, or was cut off when it was copied.`,
    SignatureDoesNotMatch: "This link is not valid: it was changed, or cut off when it was copied.",
    InvalidAccessKeyId: "This link was signed with a key that is no longer valid. Ask for another one.",
    NoSuchBucket: "There is no such bucket on this gateway.",
  }[code];
  return new Trouble(`${sentence ?? "The gateway refuses this link."} (${because})`);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

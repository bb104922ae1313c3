// The JavaScript SDK (ali-oss) makes the URLs; they are fetched from a running gateway.
// Usage: node ali_oss.mjs ENDPOINT KEY_ID KEY_SECRET BUCKET CHANNEL PLAYLIST
// ENDPOINT has a host name that the gateway knows: this SDK signs no URLs for IP addresses.
import { createRequire } from "node:module";
const require = createRequire(process.env.NODE_MODULES_OF + "/");
const OSS = require("ali-oss");

const [endpoint, accessKeyId, accessKeySecret, bucket, channel, playlist] = process.argv.slice(2);
const client = new OSS({ endpoint, accessKeyId, accessKeySecret, bucket, cname: true, secure: false });
const url = client.signatureUrl(`${channel}/${playlist}`, { expires: 600, process: "hls/sign" });
const answer = await fetch(url);
const text = await answer.text();
if (answer.status !== 200) throw new Error(`${answer.status} ${text}`);
const segments = text.split("\n").filter((line) => line && !line.startsWith("#"));
if (segments.length === 0) throw new Error(text);
for (const segment of segments) {
  const got = await fetch(new URL(segment, url));
  if (got.status !== 200) throw new Error(`${segment}: ${got.status} ${await got.text()}`);
  await got.arrayBuffer();
}
console.log(`${segments.length} segments`);
console.log(client.getRtmpUrl(channel, { params: { playlistName: playlist }, expires: 600 }));

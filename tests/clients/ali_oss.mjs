// The JavaScript SDK (ali-oss): the URLs that it makes, fetched from a running gateway, and its LiveChannel calls.
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

function check(holds, what) {
  if (!holds) throw new Error(what);
}

const name = "from-javascript";
const config = {
  Description: "made by ali-oss",
  Status: "enabled",
  Target: { Type: "HLS", FragDuration: "2", FragCount: "6", PlaylistName: "list.m3u8" },
};
const made = await client.putChannel(name, config);
check(made.playUrls[0].endsWith(`/${name}/list.m3u8`), made.playUrls[0]);
check(made.publishUrls[0].endsWith(`/live/${name}`), made.publishUrls[0]);
const got = (await client.getChannel(name)).data;
check(got.Description === config.Description && got.Target.FragDuration === "2", JSON.stringify(got));
check((await client.getChannelStatus(name)).data.Status === "Idle", "status");
const listed = await client.listChannels({ prefix: "from", "max-keys": 10 });
check(listed.channels.length === 1 && listed.channels[0].Name === name, JSON.stringify(listed.channels));
check(listed.isTruncated === false && listed.nextMarker === null, "the list ends");
await client.putChannelStatus(name, "disabled");
check((await client.getChannelStatus(name)).data.Status === "Disabled", "status");
const pushes = await client.getChannelHistory(channel);
check(pushes.records.length >= 1, JSON.stringify(pushes.records));
const now = Math.floor(Date.now() / 1000);
await client.createVod(channel, "whole.m3u8", { startTime: now - 3600, endTime: now + 60 });
const whole = (await client.get(`${channel}/whole.m3u8`)).content.toString();
check(whole.includes("#EXT-X-PLAYLIST-TYPE:VOD"), whole);
const objects = await client.listV2({ prefix: `${channel}/`, "max-keys": 100 });
check(objects.objects.some((object) => object.name === `${channel}/whole.m3u8`), JSON.stringify(objects.objects));
try {
  await client.getChannel("nobody");
  throw new Error("a LiveChannel that does not exist was found");
} catch (error) {
  check(error.status === 404 && error.code === "NoSuchLiveChannel", String(error));
}
await client.deleteChannel(name);
console.log("calls: all");

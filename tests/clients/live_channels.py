"""Every LiveChannel call and every error of it, by oss2, against a running gateway.

Usage: live_channels.py ENDPOINT KEY_ID KEY_SECRET BUCKET CLIP AUTH

BUCKET is private, has the LiveChannel `fixed` in the gateway's file (FragDuration 1, FragCount 6, a ring of its own),
and lets PutLiveChannel create two. AUTH is the signature version: 1 or 4. Prints one line per group of checks.
"""

import subprocess
import sys
import time
from urllib.parse import urljoin

import oss2
import requests
from oss2.models import LiveChannelInfo, LiveChannelInfoTarget

endpoint, key_id, secret, bucket_name, clip, version = sys.argv[1:]


def client(key=key_id, key_secret=secret, name=bucket_name):
    if version == "4":
        return oss2.Bucket(oss2.AuthV4(key, key_secret), endpoint, name, region="cn-hangzhou")
    return oss2.Bucket(oss2.Auth(key, key_secret), endpoint, name)


bucket = client()


def info(duration=1, count=6, playlist="", description="", status="enabled", kind="HLS"):
    return LiveChannelInfo(
        status=status, description=description,
        target=LiveChannelInfoTarget(type=kind, frag_duration=duration, frag_count=count, playlist_name=playlist))


def refused(status, code, call, *arguments, ec=None, **named):
    """The call must fail with this status and code, in the SDK's own exception class for the pair."""
    try:
        call(*arguments, **named)
    except oss2.exceptions.ServerError as error:
        assert (error.status, error.code) == (status, code), f"{call.__name__}{arguments}: {error}"
        expected = oss2.exceptions._OSS_ERROR_TO_EXCEPTION.get((status, code), oss2.exceptions.ServerError)
        assert type(error) is expected, f"{type(error)} for {status} {code}"
        assert error.request_id and (ec is None or error.details.get("EC") == ec), error.details
        return error
    raise SystemExit(f"{call.__name__}{arguments} was not refused")


def publish(name, seconds=None, extra=()):
    url = bucket.sign_rtmp_url(name, "", expires=600)
    limit = [] if seconds is None else ["-t", str(seconds)]
    return subprocess.Popen(
        ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", clip, *limit, "-c", "copy", *extra, "-f", "flv",
         "-flvflags", "no_duration_filesize", url],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(what, look, limit=30):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"waited in vain for {what}")


# ---- Create, replace, read ----
made = bucket.create_live_channel("one", info(playlist="list.m3u8", description="the <first> & only"))
host = endpoint.split("://")[1]
assert made.publish_url == f"rtmp://{host}/{bucket_name}/live/one", made.publish_url
assert made.play_url == f"http://{host}/{bucket_name}/one/list.m3u8", made.play_url
got = bucket.get_live_channel("one")
assert (got.status, got.description) == ("enabled", "the <first> & only"), vars(got)
assert (got.target.type, got.target.frag_duration, got.target.frag_count, got.target.playlist_name) == \
    ("HLS", "1", "6", "list.m3u8"), vars(got.target)
bucket.create_live_channel("one", info())
assert bucket.get_live_channel("one").target.playlist_name == "playlist.m3u8", "an empty name means the default"
bucket.create_live_channel("频道 2", info(duration=2, count=3))
assert bucket.get_live_channel("频道 2").target.frag_count == "3"
refused(400, "TooManyLiveChannels", bucket.create_live_channel, "three", info())
print("create and read", flush=True)

# ---- A channel of the file ----
assert bucket.create_live_channel("fixed", info()).play_url.endswith("/fixed/playlist.m3u8")
error = refused(409, "OperationConflict", bucket.create_live_channel, "fixed", info(duration=3))
assert "sluicegate.toml" in error.message, error.message
error = refused(409, "OperationConflict", bucket.delete_live_channel, "fixed")
assert "sluicegate.toml" in error.message, error.message
print("fixed channels", flush=True)

# ---- Lists ----
listed = bucket.list_live_channel()
assert [channel.name for channel in listed.channels] == ["fixed", "one", "频道 2"], listed.channels
assert (listed.is_truncated, listed.max_keys) == (False, 100)
assert all(abs(channel.last_modified - time.time()) < 600 for channel in listed.channels)
assert [c.name for c in bucket.list_live_channel(prefix="o").channels] == ["one"]
page = bucket.list_live_channel(max_keys=2)
assert (page.is_truncated, page.next_marker, len(page.channels)) == (True, "one", 2), vars(page)
page = bucket.list_live_channel(marker=page.next_marker, max_keys=2)
assert (page.is_truncated, [c.name for c in page.channels]) == (False, ["频道 2"])
assert bucket.list_live_channel(marker="频道 2").channels == [], "a marker past the end"
assert [c.name for c in oss2.LiveChannelIterator(bucket, max_keys=1)] == ["fixed", "one", "频道 2"]
for bad in (0, 5000, 1001, -1, "many"):
    refused(400, "InvalidArgument", bucket.list_live_channel, max_keys=bad)
print("lists", flush=True)

# ---- What is refused ----
for name in ("a/b", "a\\b", "x" * 64, "x" * 1024, "a\0b"):
    refused(400, "InvalidChannelName", bucket.create_live_channel, name, info())
bad_infos = {
    "0044-00000001": info(description="d" * 129),
    "0044-00000002": info(status="on"),
    "0044-00000013": info(kind="FLV"),
    "0044-00000014": info(duration=0),
    "0044-00000015": info(count=101),
    "0044-00000016": info(playlist="a/b.m3u8"),
    "0044-00000017": info(playlist="x" * 124 + ".m3u8"),
    "0044-00000018": info(playlist="list.txt"),
}
for ec, bad in bad_infos.items():
    refused(400, "InvalidArgument", bucket.create_live_channel, "one", bad, ec=ec)
refused(400, "InvalidArgument", bucket.create_live_channel, "one", info(duration=101), ec="0044-00000014")
refused(400, "InvalidArgument", bucket.create_live_channel, "one", info(count=0), ec="0044-00000015")
refused(400, "MalformedXML", bucket.create_live_channel, "one", b"<LiveChannelConfiguration><Target>")
refused(400, "MalformedXML", bucket.create_live_channel, "one", b"<Other/>")
refused(400, "EntityTooLarge", bucket.create_live_channel, "one", b"<a>" + b" " * 70_000 + b"</a>")
refused(400, "InvalidArgument", bucket.put_live_channel_status, "one", "on", ec="0017-00000255")
assert bucket.get_live_channel("one").target.playlist_name == "playlist.m3u8", "what was refused changed nothing"
missing = (
    (bucket.get_live_channel,), (bucket.get_live_channel_stat,), (bucket.get_live_channel_history,),
    (bucket.delete_live_channel,), (bucket.put_live_channel_status, "enabled"), (bucket.get_vod_playlist, 1, 2),
)
for call, *arguments in missing:
    refused(404, "NoSuchLiveChannel", call, "nobody", *arguments, ec="0026-00000021")
refused(404, "NoSuchLiveChannel", bucket.post_vod_playlist, "nobody", "v.m3u8", 1, 2)
elsewhere, stranger = client(name="no-such-bucket"), client(key_secret=secret + "x")
anonymous = oss2.Bucket(oss2.AnonymousAuth(), endpoint, bucket_name)
calls = (
    ("create_live_channel", "one", info()), ("get_live_channel", "one"), ("get_live_channel_stat", "one"),
    ("get_live_channel_history", "one"), ("put_live_channel_status", "one", "disabled"), ("delete_live_channel", "one"),
    ("list_live_channel",), ("get_vod_playlist", "one", 1, 2), ("post_vod_playlist", "one", "v.m3u8", 1, 2),
)
for name, *arguments in calls:
    refused(404, "NoSuchBucket", getattr(elsewhere, name), *arguments)
    refused(403, "SignatureDoesNotMatch", getattr(stranger, name), *arguments)
    refused(403, "AccessDenied", getattr(anonymous, name), *arguments)
print("refusals", flush=True)

# ---- Live ----
assert bucket.get_live_channel_stat("one").status == "Idle"
began = time.time()
publisher = publish("one")
try:
    stat = wait_for("the stream's figures", lambda: (
        lambda s: s if s.video and s.audio and s.video.bandwidth and s.audio.bandwidth else None
    )(bucket.get_live_channel_stat("one")))
    assert stat.status == "Live" and stat.remote_addr.startswith("127.0.0.1:"), vars(stat)
    assert abs(stat.connected_time - began) < 30, vars(stat)
    assert (stat.video.width, stat.video.height, stat.video.frame_rate, stat.video.codec) == (640, 360, 25, "H264"), \
        vars(stat.video)
    assert (stat.audio.sample_rate, stat.audio.codec) == (48000, "AAC"), vars(stat.audio)
    assert 1_000 < stat.video.bandwidth < 1_000_000 and 1_000 < stat.audio.bandwidth < 100_000, vars(stat.video)
    refused(409, "ChannelStillLive", bucket.create_live_channel, "one", info(), ec="0044-00000201")
    refused(409, "ChannelStillLive", bucket.delete_live_channel, "one", ec="0044-00000201")
    second = publish("one", 1)
    assert second.wait(60) != 0 and "ChannelStillLive" in second.stderr.read(), "a second publisher is told why"
    wait_for("a playlist", lambda: bucket.object_exists("one/playlist.m3u8"))
    # Disabled: the publisher is cut within ten seconds, and refused until it is enabled again.
    bucket.put_live_channel_status("one", "disabled")
    assert publisher.wait(10) != 0, "a disabled channel is cut"
finally:
    publisher.kill()
stat = wait_for("the end of the push", lambda: (lambda s: s if s.status == "Disabled" else None)(
    bucket.get_live_channel_stat("one")))
assert stat.video is None and stat.audio is None and not stat.remote_addr, vars(stat)
assert bucket.get_live_channel("one").status == "disabled"
late = publish("one", 1)
assert late.wait(60) != 0 and "LiveChannelDisabled" in late.stderr.read(), "a disabled channel takes nobody"
bucket.put_live_channel_status("one", "enabled")
again = publish("one", 4)
assert again.wait(60) == 0, again.stderr.read()
history = bucket.get_live_channel_history("one").records
assert len(history) == 2 and all(r.remote_addr.startswith("127.0.0.1:") for r in history), history
assert began - 2 < history[0].start_time <= history[0].end_time <= history[1].start_time <= history[1].end_time
print("live, disabled, enabled", flush=True)

# ---- VOD over the ring ----
first, last = int(began) - 60, int(time.time()) + 60
text = bucket.get_vod_playlist("one", first, last).playlist
text = text if isinstance(text, str) else text.decode()
names = [line for line in text.splitlines() if line and not line.startswith("#")]
assert text.startswith("#EXTM3U") and text.rstrip().endswith("#EXT-X-ENDLIST"), text
assert "#EXT-X-PLAYLIST-TYPE:VOD" in text and "#EXT-X-DISCONTINUITY\n" in text, text
assert all(len(name) == 16 and name[:13].isdigit() and name.endswith(".ts") for name in names), names
bucket.post_vod_playlist("one", "vod.m3u8", first, last)
stored = bucket.get_object("one/vod.m3u8").read().decode()
assert [line.split("/")[-1] for line in stored.splitlines() if line.endswith(".ts")] == names, stored
inside = int(int(names[0][:13]) / 1000)
assert names[0] in str(bucket.get_vod_playlist("one", inside, inside + 2).playlist), "a range of two seconds"
signed = bucket.sign_url("GET", "one/vod.m3u8", 600, params={"x-oss-process": "hls/sign"}, slash_safe=True)
answer = requests.get(signed, timeout=10)
assert answer.status_code == 200, answer.text
segments = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
for segment in segments:
    assert requests.get(urljoin(signed, segment), timeout=10).status_code == 200, segment
for arguments, ec in (
    (("one", "x", 5), "0044-00000304"), (("one", 5, "x"), "0044-00000305"), (("one", 5, 5), "0044-00000306"),
    (("one", 6, 5), "0044-00000306"), (("one", 1, 86_402), "0044-00000307"), (("one", 1, 2), "0044-00000308"),
):
    refused(400, "InvalidArgument", bucket.get_vod_playlist, *arguments, ec=ec)
    channel, start, end = arguments
    refused(400, "InvalidArgument", bucket.post_vod_playlist, channel, "v.m3u8", start, end, ec=ec)
refused(400, "InvalidRequest", bucket.post_vod_playlist, "one", "v.txt", first, last, ec="0044-00000403")
print("vod", flush=True)

# ---- Objects ----
keys = [entry.key for entry in bucket.list_objects(prefix="one/", max_keys=1000).object_list]
assert keys == sorted(keys) and "one/vod.m3u8" in keys and "one/playlist.m3u8" in keys, keys
assert {f"one/{name}" for name in names} <= set(keys), keys
paged = [entry.key for entry in oss2.ObjectIterator(bucket, prefix="one/", max_keys=3)]
assert paged == keys, (paged, keys)
paged = [entry.key for entry in oss2.ObjectIteratorV2(bucket, prefix="one/", max_keys=3)]
assert paged == keys, (paged, keys)
page = bucket.list_objects(delimiter="/")
assert (page.prefix_list, page.object_list) == (["one/"], []), vars(page)
page = bucket.list_objects_v2(prefix="one/", start_after=keys[-2], fetch_owner=True)
assert [e.key for e in page.object_list] == keys[-1:] and page.object_list[0].owner.id, vars(page)
for entry in bucket.list_objects(prefix="one/").object_list:
    head = bucket.head_object(entry.key)
    assert head.content_length == entry.size, (entry.key, head.content_length, entry.size)
    assert head.etag == entry.etag, (entry.key, head.etag, entry.etag)
refused(400, "InvalidArgument", bucket.list_objects, max_keys=5000)
refused(400, "InvalidArgument", bucket.list_objects_v2, continuation_token="!")
assert bucket.object_exists("one/vod.m3u8") and not bucket.object_exists("one/none.m3u8")
assert bucket.get_object_acl("one/vod.m3u8").acl == "default"
bucket.delete_object("one/vod.m3u8")
assert not bucket.object_exists("one/vod.m3u8")
bucket.delete_object("one/vod.m3u8")
print("objects", flush=True)

# ---- The bucket ----
about = bucket.get_bucket_info()
assert (about.name, about.acl.grant, about.owner.id) == (bucket_name, "private", "sluicegate"), vars(about)
assert bucket.get_bucket_acl().acl == "private"
assert bucket.get_bucket_location().location == "oss-cn-hangzhou"
stat = bucket.get_bucket_stat()
assert stat.live_channel_count == 3 and stat.object_count == len(names), vars(stat)
assert stat.storage_size_in_bytes == sum(bucket.head_object(f"one/{name}").content_length for name in names)
referer = bucket.get_bucket_referer()
assert referer.allow_empty_referer is True and referer.referers == [], vars(referer)
refused(404, "NoSuchCORSConfiguration", bucket.get_bucket_cors)
service = oss2.Service(bucket.auth, endpoint, region="cn-hangzhou" if version == "4" else None)
assert bucket_name in [b.name for b in oss2.BucketIterator(service)]
print("bucket reads", flush=True)

# ---- What the file fixes ----
bucket.create_bucket()
rule = oss2.models.CorsRule(allowed_origins=["*"], allowed_methods=["GET"])
fixed = (
    (bucket.put_bucket_acl, oss2.BUCKET_ACL_PUBLIC_READ),
    (bucket.create_bucket, oss2.BUCKET_ACL_PUBLIC_READ),
    (bucket.put_bucket_cors, oss2.models.BucketCors([rule])),
    (bucket.delete_bucket_cors,),
    (bucket.put_bucket_referer, oss2.models.BucketReferer(False, ["http://a"])),
    (bucket.delete_bucket,),
    (bucket.put_object, "one/a.ts", b"x" * 1000),
    (bucket.append_object, "one/a.log", 0, b"x"),
    (bucket.delete_object, f"one/{names[0]}"),
    (bucket.batch_delete_objects, ["one/a"]),
    (bucket.put_object_acl, "one/playlist.m3u8", oss2.OBJECT_ACL_PRIVATE),
)
for call, *arguments in fixed:
    status, code = (400, "NotImplemented") if call.__name__ == "append_object" else (405, "MethodNotAllowed")
    error = refused(status, code, call, *arguments)
    assert code == "NotImplemented" or "sluicegate.toml" in error.message, error.message
refused(400, "NotImplemented", bucket.get_bucket_lifecycle)
assert bucket.get_bucket_acl().acl == "private" and bucket.get_bucket_referer().referers == []
print("what the file fixes", flush=True)

# ---- Delete ----
bucket.delete_live_channel("频道 2")
refused(404, "NoSuchLiveChannel", bucket.get_live_channel, "频道 2")
bucket.create_live_channel("three", info(duration=1, count=3))
assert publish("three", 3).wait(60) == 0
bucket.delete_live_channel("three")
assert not bucket.object_exists("three/playlist.m3u8"), "its ring is gone with it"
bucket.delete_live_channel("one")
assert [c.name for c in bucket.list_live_channel().channels] == ["fixed"]
print("delete", flush=True)

"""The two programs of OSS's LiveChannel guide, with endpoint, keys and names changed, against a running gateway.

Usage: seed.py ENDPOINT KEY_ID KEY_SECRET BUCKET CHANNEL PLAYLIST CLIP

Creates the LiveChannel, publishes CLIP with ffmpeg to the URL that `sign_rtmp_url` makes, then plays the URL that `sign_url` makes: edited as the
guide says, unedited, and in the SDK's own clean form. Prints one line per check; the first failure ends it.
"""

import subprocess
import sys
from urllib.parse import urljoin

import oss2
import requests

endpoint, key_id, secret, bucket_name, channel_name, playlist_name, clip = sys.argv[1:]

# The first program: a LiveChannel, and a signed publish URL.
auth = oss2.Auth(key_id, secret)
bucket = oss2.Bucket(auth, endpoint, bucket_name)
create_result = bucket.create_live_channel(
    channel_name,
    oss2.models.LiveChannelInfo(
        status='enabled',
        description='a channel of the guide',
        target=oss2.models.LiveChannelInfoTarget(
            playlist_name=playlist_name,
            frag_count=3,
            frag_duration=5)))
publish_url = create_result.publish_url
play_url = create_result.play_url
assert publish_url.startswith("rtmp://") and publish_url.endswith(f"/{bucket_name}/live/{channel_name}"), publish_url
assert play_url.startswith("http://") and play_url.endswith(f"/{channel_name}/{playlist_name}"), play_url
print("created", flush=True)
signed_rtmp_url = bucket.sign_rtmp_url(channel_name, playlist_name, expires=3600)
subprocess.run(
    ["ffmpeg", "-v", "error", "-re", "-i", clip, "-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize", signed_rtmp_url],
    check=True, timeout=120,
)
print("published", flush=True)

# The second program: a signed playlist that signs its segments.
object_name = f"{channel_name}/{playlist_name}"
signed_url = bucket.sign_url("GET", object_name + "?x-oss-process=hls/sign", expires=3600)
edited = signed_url.replace("%2F", "/", 1).replace("%3Fx-oss-process%3Dhls%2Fsign?", "?x-oss-process=hls/sign&")
clean = bucket.sign_url("GET", object_name, 3600, params={"x-oss-process": "hls/sign"}, slash_safe=True)
v4 = oss2.Bucket(oss2.AuthV4(key_id, secret), endpoint, bucket_name, region="cn-hangzhou")
clean_v4 = v4.sign_url("GET", object_name, 3600, params={"x-oss-process": "hls/sign"}, slash_safe=True)


def play(what, url):
    """Fetches a signed playlist and every segment that it lists."""
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200, f"{what}: {answer.status_code} {answer.text}"
    segments = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    assert segments, f"{what}: no segments in {answer.text}"
    for segment in segments:
        assert "Signature=" in segment or "x-oss-signature=" in segment, f"{what}: {segment} is not signed"
        got = requests.get(urljoin(url, segment), timeout=10)
        assert got.status_code == 200, f"{what}: {segment}: {got.status_code} {got.text}"
        assert len(got.content) % 188 == 0 and got.content[0] == 0x47, f"{what}: {segment} is no transport stream"
        bare = requests.get(urljoin(url, segment.split("?")[0]), timeout=10)
        assert bare.status_code == 403, f"{what}: {segment} is served without its signature"
    print(f"{what}: {len(segments)} segments", flush=True)
    return url, segments


play("edited", edited)
play("unedited", signed_url)
play("clean form", clean)
play("version 4", clean_v4)

# Through the SDK's own calls: signed in the header, both versions.
for what, client in (("header V1", bucket), ("header V4", v4)):
    text = client.get_object(object_name).read().decode()
    key = channel_name + "/" + next(line for line in text.splitlines() if line.endswith(".ts"))
    body = client.get_object(key).read()
    part = client.get_object(key, byte_range=(0, 187)).read()
    head = client.head_object(key)
    assert body[:188] == part and head.content_length == len(body) and head.content_type == "video/mp2t"
    print(f"{what}: get, range and head", flush=True)

# Refusals are the SDK's own exceptions.
stranger = oss2.Bucket(oss2.Auth(key_id, secret + "x"), endpoint, bucket_name)
unknown = oss2.Bucket(oss2.Auth("nobody", secret), endpoint, bucket_name)
for what, client, code in (
    ("wrong secret", stranger, "SignatureDoesNotMatch"),
    ("unknown key", unknown, "InvalidAccessKeyId"),
    ("no signature", oss2.Bucket(oss2.AnonymousAuth(), endpoint, bucket_name), "AccessDenied"),
):
    try:
        client.get_object(object_name)
        raise SystemExit(f"{what}: was let in")
    except oss2.exceptions.ServerError as error:
        assert (error.status, error.code) == (403, code), f"{what}: {error}"
        assert error.request_id, f"{what}: no request id"
        print(f"{what}: {error.code}", flush=True)
try:
    bucket.head_object(f"{channel_name}/nothing.m3u8")
    raise SystemExit("an object that does not exist was found")
except oss2.exceptions.NotFound as error:
    print(f"missing: {error.status}", flush=True)
expired = bucket.sign_url("GET", object_name, -10, slash_safe=True)
assert "Request has expired" in requests.get(expired, timeout=10).text
print("expired: refused", flush=True)

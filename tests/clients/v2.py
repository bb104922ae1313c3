"""The newer Python SDK (alibabacloud-oss-v2) and its presigned URLs against a running gateway.

Usage: v2.py ENDPOINT KEY_ID KEY_SECRET BUCKET OBJECT
"""

import sys
from urllib.parse import urljoin

import alibabacloud_oss_v2 as oss
import requests

endpoint, key_id, secret, bucket, key = sys.argv[1:]
config = oss.config.load_default()
config.credentials_provider = oss.credentials.StaticCredentialsProvider(key_id, secret)
config.region = "cn-hangzhou"
config.endpoint = endpoint
config.use_path_style = True
client = oss.Client(config)

text = client.get_object(oss.GetObjectRequest(bucket=bucket, key=key)).body.read().decode()
assert text.startswith("#EXTM3U"), text
print("get: a playlist", flush=True)

request = oss.GetObjectRequest(bucket=bucket, key=key, process="hls/sign")
url = client.presign(request).url
answer = requests.get(url, timeout=10)
assert answer.status_code == 200, answer.text
segments = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
assert segments and all("x-oss-signature=" in segment for segment in segments), answer.text
for segment in segments:
    got = requests.get(urljoin(url, segment), timeout=10)
    assert got.status_code == 200, got.text
print(f"presigned: {len(segments)} segments", flush=True)

try:
    client.get_object(oss.GetObjectRequest(bucket=bucket, key=key + ".none"))
    raise SystemExit("an object that does not exist was found")
except oss.exceptions.OperationError as error:
    service = error.unwrap()
    assert (service.status_code, service.code) == (404, "NoSuchKey"), error
    print("missing: NoSuchKey", flush=True)

# LiveChannel calls: this SDK has none of its own, and sends any by its general form.


def live(method, key=None, body=None, **parameters):
    operation = oss.OperationInput(
        op_name="LiveChannel", method=method, bucket=bucket, key=key, parameters={"live": "", **parameters},
        headers={"Content-Type": "application/xml"} if body else {}, body=body,
        op_metadata={"sub-resource": ["live", "comp", "status"]})
    return client.invoke_operation(operation).http_response


body = (
    "<LiveChannelConfiguration><Description>v2</Description><Status>enabled</Status><Target><Type>HLS</Type>"
    "<FragDuration>2</FragDuration><FragCount>6</FragCount></Target></LiveChannelConfiguration>"
)
assert b"<PlayUrls>" in live("PUT", "from-v2", body).content
assert b"<FragDuration>2</FragDuration>" in live("GET", "from-v2").content
assert b"<Status>Idle</Status>" in live("GET", "from-v2", comp="stat").content
assert live("PUT", "from-v2", status="disabled").status_code == 200
assert b"<Name>from-v2</Name>" in live("GET", prefix="from").content
assert live("DELETE", "from-v2").status_code == 204
try:
    live("GET", "from-v2")
    raise SystemExit("a deleted LiveChannel was found")
except oss.exceptions.OperationError as error:
    service = error.unwrap()
    assert (service.status_code, service.code, service.ec) == (404, "NoSuchLiveChannel", "0026-00000021"), error

folder = key.split("/")[0]
listed = client.list_objects_v2(oss.ListObjectsV2Request(bucket=bucket, prefix=folder + "/"))
keys = [entry.key for entry in listed.contents]
assert key in keys and len(keys) >= 3, keys
pages = client.list_objects_v2_paginator().iter_page(oss.ListObjectsV2Request(bucket=bucket, max_keys=1))
assert keys == [entry.key for page in pages for entry in page.contents or []], keys
listed = client.list_objects(oss.ListObjectsRequest(bucket=bucket, delimiter="/"))
assert [common.prefix for common in listed.common_prefixes] == [folder + "/"], listed
assert client.get_bucket_acl(oss.GetBucketAclRequest(bucket=bucket)).acl == "private"
assert client.get_bucket_info(oss.GetBucketInfoRequest(bucket=bucket)).bucket_info.name == bucket
assert client.get_bucket_stat(oss.GetBucketStatRequest(bucket=bucket)).object_count == len(keys) - 1
assert client.get_bucket_location(oss.GetBucketLocationRequest(bucket=bucket)).location == "oss-cn-hangzhou"
assert bucket in [b.name for b in client.list_buckets(oss.ListBucketsRequest()).buckets]
assert client.is_bucket_exist(bucket) and not client.is_bucket_exist("no-such-bucket")
assert client.is_object_exist(bucket, key) and not client.is_object_exist(bucket, key + ".none")
print("calls: all", flush=True)

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

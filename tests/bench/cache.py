"""nginx's proxy_cache between the gateway and many viewers, with the configuration that the README shows."""

import asyncio
import collections
import pathlib
import re
import subprocess
import time

from load import Cameras, make_clip
from servers import Sluicegate, free_port

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SECONDS = 16


class Cache:
    """Debian's nginx as the README configures it, on other ports and in another folder."""

    def __init__(self, gateway, kind):
        self.port, self.folder = free_port(), gateway.folder / f"cache-{kind}"
        (self.folder / "cache").mkdir(parents=True)
        site = re.search(rf"<!-- {kind} -->\n```nginx\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
        for ours, theirs in (("192.168.1.5:8080", f"127.0.0.1:{gateway.http}"), ("listen 80", f"listen 127.0.0.1:{self.port}"),
                             ("/var/cache/nginx/sluicegate", str(self.folder / "cache"))):
            assert ours in site, ours
            site = site.replace(ours, theirs)
        temporary = "".join(f"{name}_temp_path {self.folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(
            f"user root;\nworker_processes 1;\ndaemon off;\npid {self.folder}/pid;\nerror_log {self.folder}/error.log error;\n"
            f"events {{ worker_connections 4096; }}\nhttp {{\nlog_format sent '$upstream_cache_status $upstream_status $uri';\n"
            f"access_log {self.folder}/access.log sent;\n{temporary}{site}}}\n")

    def __enter__(self):
        self.process = subprocess.Popen(["nginx", "-p", f"{self.folder}/", "-e", f"{self.folder}/error.log", "-c", f"{self.folder}/nginx.conf"])
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def log(self):
        return [line.split() for line in (self.folder / "access.log").read_text().splitlines()]


async def fetch(reader, writer, path):
    writer.write(f"GET {path} HTTP/1.1\r\nHost: cache\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    body = await reader.readexactly(int(re.search(r"Content-Length: (\d+)", head, re.I)[1]))
    return head.split()[1], body


async def viewer(port, playlist, offset, seen, failures):
    """Asks for the playlist every two seconds, and for each segment that is new in it, over one connection."""
    await asyncio.sleep(offset)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    folder, fetched = playlist.split("?")[0].rpartition("/")[0], set()
    deadline = asyncio.get_running_loop().time() + SECONDS
    while asyncio.get_running_loop().time() < deadline:
        status, text = await fetch(reader, writer, playlist)
        lines = [line for line in text.decode().splitlines() if line and line[0] != "#"]
        if status != "200" or not lines:
            failures.append((status, playlist))
        for line in lines[-3:]:
            if line not in fetched:
                fetched.add(line)
                status, body = await fetch(reader, writer, f"{folder}/{line}")
                seen[line] += 1
                if status != "200" or len(body) % 188:
                    failures.append((status, line))
        await asyncio.sleep(2)
    writer.close()


async def watch(port, playlist, count):
    seen, failures = collections.Counter(), []
    await asyncio.gather(*(viewer(port, playlist, 2 * n / count, seen, failures) for n in range(count)))
    return seen, failures


def measure(folder, clip, viewers=1000):
    """Requests that reach the gateway per segment, by how many watch."""
    small = make_clip(folder / "small.flv", mbit=0.3)
    found = {}
    for kind in ("unsigned", "signed"):
        for count in (viewers // 100, viewers // 10, viewers):
            with Sluicegate(folder) as gateway, Cameras(gateway, small, 1, signed=kind == "signed"), Cache(gateway, kind) as cache:
                time.sleep(9)
                before = gateway.cost()
                seen, failures = asyncio.run(watch(cache.port, gateway.playlist(0, kind == "signed"), count))
                if failures:
                    raise RuntimeError(f"{len(failures)} answers were not what was asked for: {failures[:3]}")
                log, cpu = cache.log(), gateway.cost().cpu - before.cpu
                asked = [line for line in log if line[1] != "-"]
                segments = sum(line[2].endswith(".ts") for line in asked)
                found[f"{kind}_{count}"] = {"requests": len(log), "to_gateway": len(asked), "of_them_segments": segments, "segments": len(seen),
                                            "to_gateway_per_segment": round(len(asked) / len(seen), 2), "gateway_cpu_s": round(cpu, 3)}
    return found

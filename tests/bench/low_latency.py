"""What viewers with low latency cost, beside those of the same stream at plain latency; and with nginx's proxy_cache in front of them."""

import asyncio
import re
import time

from cache import Cache
from load import Cameras
from servers import Sluicegate

SECONDS = 16
PART = re.compile(r'#EXT-X-PART:DURATION=[\d.]+,URI="([^"]+)",BYTERANGE="(\d+)@(\d+)"')


class LowLatency(Sluicegate):
    """The first of its channels lists parts."""

    streams = 1

    def configure(self):
        super().configure()
        self.config.write_text(self.config.read_text().replace('name = "s0"\n', 'name = "s0"\nlow_latency = { part = 0.33 }\n'))


class Viewer:
    """Asks as hls.js does, over one connection: for the next playlist, and for what is new in it."""

    def __init__(self, port, playlist):
        self.port, self.playlist, self.folder = port, playlist, playlist.split("?")[0].rpartition("/")[0]
        self.known, self.late_ms, self.requests = set(), [], 0

    async def get(self, path, extent=""):
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n{extent}\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        body = await self.reader.readexactly(int(re.search(r"Content-Length: (\d+)", head, re.I)[1]))
        self.requests += 1
        if head.split()[1] not in ("200", "206"):
            raise RuntimeError(f"{path}: {head}")
        return body

    async def watch(self, seconds, offset):
        await asyncio.sleep(offset)
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 21)
        deadline = time.monotonic() + seconds
        path, is_first = self.playlist, True
        while time.monotonic() < deadline:
            text = (await self.get(path)).decode()
            lines = text.splitlines()
            segments = [line for line in lines if not line.startswith("#")]
            parts = PART.findall(text)
            wanted = [(uri, f"Range: bytes={first}-{int(first) + int(size) - 1}\r\n") for uri, size, first in parts] or [(uri, "") for uri in segments]
            for uri, extent in wanted:
                if (uri, extent) not in self.known:
                    self.known.add((uri, extent))
                    if not is_first:
                        await self.get(f"{self.folder}/{uri}", extent)
            is_first = False
            if parts:
                number = int(re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text)[1]) + len(segments)
                following = [uri for uri, *_ in PART.findall(text[text.rindex(segments[-1] + "\n"):])]
                path = f"{self.playlist}{'&' if '?' in self.playlist else '?'}_HLS_msn={number}&_HLS_part={len(following)}"
            else:
                await asyncio.sleep(2)
        self.writer.close()


async def watch(port, playlist, count):
    viewers = [Viewer(port, playlist) for _ in range(count)]
    await asyncio.gather(*(viewer.watch(SECONDS, 2 * n / count) for n, viewer in enumerate(viewers)))
    return viewers


def measure_direct(server, clip, count):
    with server, Cameras(server, clip, 1):
        time.sleep(12)
        idle = server.cost()
        time.sleep(SECONDS)
        before = server.cost()
        viewers = asyncio.run(watch(server.http, server.playlist(0), count)) if count else []
        after = server.cost()
    camera_cpu = before.cpu - idle.cpu
    return {"requests_per_viewer_s": round(sum(viewer.requests for viewer in viewers) / count / SECONDS, 2),
            "cpu_ms_per_viewer_s": round((after.cpu - before.cpu - camera_cpu) * 1000 / count / SECONDS, 3),
            "kib_per_viewer": round((after.peak - before.peak) / count, 2)}


def measure_cached(folder, clip, count):
    with LowLatency(folder) as gateway, Cameras(gateway, clip, 1), Cache(gateway, "unsigned") as cache:
        time.sleep(12)
        before = gateway.cost()
        viewers = asyncio.run(watch(cache.port, gateway.playlist(0), count))
        cpu = gateway.cost().cpu - before.cpu
        asked = [line for line in cache.log() if line[1] != "-"]
    return {"requests": sum(viewer.requests for viewer in viewers), "to_gateway": len(asked),
            "to_gateway_per_s": round(len(asked) / (SECONDS + 2), 2), "gateway_cpu_s": round(cpu, 3)}


def measure(folder, clip):
    found = {}
    for count in (1, 8, 32):
        found[f"low_latency_{count}"] = measure_direct(LowLatency(folder), clip, count)
        found[f"plain_{count}"] = measure_direct(Sluicegate(folder), clip, count)
    for count in (10, 100):
        found[f"cached_{count}"] = measure_cached(folder, clip, count)
    return found

"""What the servers are given: clips, cameras, viewers. Each returns once it has begun."""

import contextlib
import dataclasses
import pathlib
import re
import subprocess
import time

GOP_S = 2


@dataclasses.dataclass
class Clip:
    path: pathlib.Path
    seconds: float
    payload: int  # bytes of FLV tag bodies

    @property
    def rate(self):
        return self.payload / self.seconds


def make_clip(path, seconds=20, mbit=4):
    """1280x720, 25 fps, key frames every 2 s, AAC; in noise, so that the bit rate is real."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25,noise=alls=12:allf=t",
         "-f", "lavfi", "-i", "anoisesrc=color=pink:amplitude=0.3:sample_rate=48000", "-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast",
         "-tune", "zerolatency", "-x264-params", "sliced-threads=0", "-pix_fmt", "yuv420p", "-b:v", f"{mbit}M", "-maxrate", f"{mbit}M",
         "-bufsize", f"{mbit}M", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-c:a", "aac", "-b:a", "128k", "-ac", "2",
         "-flvflags", "no_duration_filesize", str(path)], check=True, stdin=subprocess.DEVNULL)
    flv, at, payload = path.read_bytes(), 13, 0
    while at + 11 < len(flv):
        length = int.from_bytes(flv[at + 1:at + 4], "big")
        payload += length
        at += 15 + length
    return Clip(path, float(seconds), payload)


class Cameras:
    """The sender, and what it said so far."""

    program = None  # built by `run`

    def __init__(self, server, clip, streams, mode="burst", chunk=4096, seconds=3600, hold=0, signed=False):
        app, name = server.publish_name(signed)
        self.log = server.folder / "sender"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [self.program, str(server.rtmp), app, name, str(clip.path), str(streams), str(chunk), mode, str(seconds), str(hold)],
                stdout=log, stdin=subprocess.DEVNULL)

    def events(self, kind):
        lines = [line.split() for line in self.log.read_text().splitlines()]
        if any(line[0] == "fail" for line in lines):
            raise RuntimeError(f"a stream failed: {[line for line in lines if line[0] == 'fail'][0]}")
        return [(int(stream), float(ms), float(at)) for name, stream, ms, at in (line for line in lines if len(line) == 4) if name == kind]

    def wait(self, kind, count, limit=120):
        deadline = time.monotonic() + limit
        while len(self.events(kind)) < count:
            if time.monotonic() > deadline or self.process.poll() not in (None, 0):
                raise RuntimeError(f"{count} times {kind!r} expected of the sender: {self.log.read_text()[-300:]}")
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


def wrk(server, path, connections, seconds):
    """Requests and bytes of keep-alive connections that ask again as soon as they are answered."""
    said = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", f"http://127.0.0.1:{server.http}{path}"],
        stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(r"(\d+) requests in ([\d.]+)(m?s), ([\d.]+)(B|KB|MB|GB) read", said)
    if not found or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{server.name}: {said}")
    unit = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}[found[5]]
    return int(found[1]), float(found[4]) * unit, float(found[2]) / (1000 if found[3] == "ms" else 1)

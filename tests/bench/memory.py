"""The printed memory budget against the worst load that the limits allow."""

import base64
import hashlib
import hmac
import http.client
import pathlib
import re
import socket
import struct
import subprocess
import time
import urllib.parse

from load import Cameras, Clip, make_clip
from servers import Sluicegate

PUBLISHERS, VIEWERS, WAITING = 16, 128, 16


class Small(Sluicegate):
    """Channels with rings whose indexes are full of small segments, and one long playlist."""

    streams, ring = PUBLISHERS, "256MiB"
    limits = f'publishers = {PUBLISHERS}\nviewers = {VIEWERS}\nmemory = "64MiB"'

    def configure(self):
        super().configure()
        self.config.write_text(self.config.read_text().replace("frag_count = 6", "frag_count = 100").replace("[store]", '[store]\ndurability = "relaxed"'))


def signed(server, method, path, query, expires):
    """A request's target, signed in version 1 (OSS: Add signatures to URLs)."""
    resource = path + ("?" + "&".join(sorted(query.split("&"))) if query else "")
    digest = hmac.new(b"not-a-secret", f"{method}\n\n\n{expires}\n{resource}".encode(), hashlib.sha1).digest()
    signature = urllib.parse.quote(base64.b64encode(digest), safe="")
    return f"{path}?{query}{query and '&'}OSSAccessKeyId=bench&Expires={expires}&Signature={signature}"


def message(chunk_stream, kind, body, size=None):
    return struct.pack(">BI", chunk_stream, 0)[:1] + b"\0\0\0" + struct.pack(">I", size or len(body))[1:] + bytes([kind]) + b"\0\0\0\0" + body


def half_messages():
    """Four messages of 8 KiB, of which the last chunk is missing."""
    chunk, whole = 128, 8192
    out = b"".join(message(stream, 20, b"\2" * chunk, whole) for stream in (10, 11, 12, 13))
    for _ in range(whole // chunk - 2):
        out += b"".join(bytes([0xC0 | stream]) + b"\2" * chunk for stream in (10, 11, 12, 13))
    return out


def encoder(server):
    """An encoder that never publishes and holds what it may."""
    peer = socket.create_connection(("127.0.0.1", server.rtmp))
    peer.sendall(b"\3" + bytes(2 * 1536) + half_messages())
    return peer


def deaf(server, request, times):
    """A viewer that asks and does not read."""
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    viewer.connect(("127.0.0.1", server.http))
    viewer.sendall(request * times)
    return viewer


def measure(folder):
    server = Small(folder)
    light = make_small_clip(folder / "light.flv")
    with server:
        time.sleep(1)
        idle = server.cost()
        # Every index is filled. A card that lags behind such a stream loses segments, hence many times.
        for _ in range(8):
            with Cameras(server, light, PUBLISHERS, "fast", seconds=2 * 1100) as cameras:
                cameras.wait("end", PUBLISHERS, 300)
            server.wait_idle()
        recorded = server.cost()
        peak = worst(server, make_clip(folder / "heavy.flv", 4, 8))
        after = server.cost()
        report = subprocess.run([server.program, "check", "--config", str(server.config)], stdout=subprocess.PIPE, text=True, check=True).stdout
    budget = re.search(r"Memory, at most:\n(.*?in all)", report, re.S)[1]
    return {"idle_kib": idle.peak, "indexes_full_kib": recorded.pss, "worst_kib": peak, "after_kib": after.pss, "budget_kib": kib(budget.splitlines()[-1]),
            "budget": [line.strip() for line in budget.splitlines()]}


def make_small_clip(path):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5", "-t", "20", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10",
                    "-keyint_min", "10", "-sc_threshold", "0", "-b:v", "20k", "-flvflags", "no_duration_filesize", str(path)], check=True, stdin=subprocess.DEVNULL)
    return Clip(path, 20.0, path.stat().st_size)


def kib(line):
    number, unit = re.match(r"\s*([\d.]+) (B|KiB|MiB)", line).groups()
    return round(float(number) * {"B": 1 / 1024, "KiB": 1, "MiB": 1024}[unit])


def worst(server, heavy):
    """All at once. The most that was ever resident, in KiB."""
    expires = int(time.time()) + 86_400
    flash = next(task.name for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir() if (task / "comm").read_text().strip() == "flash")
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    now = int(time.time())
    # The catalogue is filled with recordings until it takes no more.
    for n in range(2000):
        connection.request("POST", signed(server, "POST", f"/open/s0/{n:04}{'x' * 90}.m3u8", f"endTime={now + 80000}&startTime={now - 5000}&vod", expires))
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            break
    connection.close()
    open_ones, cameras, peak = [], None, 0
    strace = subprocess.Popen(["strace", "-qq", "-p", flash, "-e", "trace=pwrite64,fdatasync", "-e", "inject=pwrite64,fdatasync:delay_enter=300000",
                               "-o", "/dev/null"], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        cameras = Cameras(server, heavy, PUBLISHERS, "hostile", chunk=256, seconds=3600)
        open_ones += [encoder(server) for _ in range(WAITING)]
        body = signed(server, "PUT", "/open/s0", "live", expires)
        for _ in range(4):
            viewer = socket.create_connection(("127.0.0.1", server.http))
            viewer.sendall(f"PUT {body} HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\nx: {'y' * 7000}\r\n\r\n".encode() + b"<" * 65000)
            open_ones.append(viewer)
        for _ in range(32 - 4):
            viewer = socket.create_connection(("127.0.0.1", server.http))
            viewer.sendall(b"GET / HTTP/1.1\r\nx: " + b"y" * 8100)
            open_ones.append(viewer)
        # Long playlists with signed addresses, unread, with further requests behind them.
        play = subprocess.run([server.program, "sign", "play", "open", "s0", "--raw", "--url", "http://a", "--expires", "86400",
                               "--playlist", f"0000{'x' * 90}.m3u8", "--config", str(server.config)],
                              stdout=subprocess.PIPE, text=True, check=True).stdout.strip().removeprefix("http://a")
        for n in range(VIEWERS - 32):
            request = f"GET {play if n % 2 else server.playlist(0)} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {'identity' if n % 4 else 'gzip'}\r\n\r\n".encode()
            open_ones.append(deaf(server, request, 8000 // len(request)))
        time.sleep(4)
        # A change: the catalogue as it is, as it will be, and as text on its way to the flash.
        change = signed(server, "DELETE", f"/open/s0/0001{'x' * 90}.m3u8", "", expires)
        open_ones.append(deaf(server, f"DELETE {change} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), 1))
        time.sleep(4)
        if len(cameras.events("publish")) < PUBLISHERS:
            raise RuntimeError("not all cameras publish")
    finally:
        peak = server.cost().peak
        strace.terminate()
        strace.wait()
        for one in open_ones:
            one.close()
        if cameras:
            cameras.__exit__()
    time.sleep(3)
    return peak

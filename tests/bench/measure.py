"""The measurements that are made of both servers. Each takes a server that is not running, and gives figures by name."""

import http.client
import os
import re
import signal
import socket
import statistics
import subprocess
import time

from load import GOP_S, Cameras, wrk


def start(server, clip):
    """Start, idle memory, and the programs' size."""
    with server:
        time.sleep(1)
        cost = server.cost()
        sizes = sum(os.path.getsize(file) for file in server.files())
        yield {"start_ms": server.started_ms, "idle_private_kib": cost.private, "idle_pss_kib": cost.pss, "idle_anonymous_kib": cost.anonymous, "program_mb": sizes / 1e6}


def paced(server, clip, streams, mode="burst", chunk=4096, seconds=8):
    """Cameras in real time."""
    with server, Cameras(server, clip, streams, mode, chunk) as cameras:
        cameras.wait("publish", streams)
        time.sleep(GOP_S + 1.5)
        before, began = server.cost(), time.monotonic()
        time.sleep(seconds)
        after, took = server.cost(), time.monotonic() - began
        payload = streams * took * clip.rate
        cpu = after.cpu - before.cpu
        yield {
            "cpu_s_per_gb": cpu / payload * 1e9,
            "cpu_s_per_stream_minute": cpu / streams / took * 60,
            "wakeups_per_media_s": (after.wakeups - before.wakeups) / streams / took,
            "private_kib": after.private,
            "pss_kib": after.pss,
            "anonymous_kib": after.anonymous,
        }


def unpaced(server, clip, chunk=4096, streams=8, seconds=60):
    """Cameras that send as fast as they can."""
    with server:
        before = server.cost()
        with Cameras(server, clip, streams, "fast", chunk, seconds) as cameras:
            cameras.wait("end", streams)
            server.wait_idle()
        after, payload = server.cost(), streams * seconds * clip.rate
        if len(server.segments(server.playlist(streams - 1))) < 3:
            raise RuntimeError(f"{server.name} took the streams and made no HLS of them")
        yield {"cpu_s_per_gb": (after.cpu - before.cpu) / payload * 1e9, "dirtied_per_byte": (after.dirtied - before.dirtied) / payload}


def syscalls(server, clip, streams=4, seconds=10):
    """Counted by strace, which slows the server down: nothing else is measured meanwhile."""
    with server, Cameras(server, clip, streams) as cameras:
        cameras.wait("publish", streams)
        time.sleep(GOP_S + 1)
        counts = server.folder / "strace"
        pids = [argument for pid in server.pids() for argument in ("-p", str(pid))]
        strace = subprocess.Popen(["strace", "-c", "-f", "-U", "calls,name", "-o", str(counts), *pids], stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        strace.send_signal(signal.SIGINT)
        strace.wait()
        called = {name: int(calls) for calls, name in re.findall(r"^\s*(\d+)\s+(\w+)$", counts.read_text(), re.M) if name != "total"}
        media_s = streams * seconds
        total = lambda *names: sum(called.get(name, 0) for name in names)
        yield {
            "syscalls_per_media_s": sum(called.values()) / media_s,
            "files_per_stream_minute": total("open", "openat", "creat") / media_s * 60,
            "renames_per_stream_minute": total("rename", "renameat", "renameat2") / media_s * 60,
            "flushes_per_segment": total("fsync", "fdatasync", "sync_file_range", "msync") / media_s * GOP_S,
            "most_called": dict(sorted(((name, round(n / media_s, 1)) for name, n in called.items()), key=lambda item: -item[1])[:8]),
        }


def latency(server, clip, seconds=13):
    """From the last byte of a key frame to the playlist that lists the segment before it; asked for every 2 ms."""
    with server, Cameras(server, clip, 1) as cameras:
        cameras.wait("publish", 1)
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=10)
        listed, deadline = {}, time.monotonic() + seconds
        while time.monotonic() < deadline:
            status, text = server.get(server.playlist(0), connection)
            at = time.monotonic()
            if status == 200:
                first = re.search(rb"MEDIA-SEQUENCE:(\d+)", text)
                listed.setdefault((int(first[1]) if first else 0) + text.count(b"#EXTINF"), at)
            time.sleep(0.002)
        sequences, keys = sorted(listed), [at for _, _, at in cameras.events("key")]
        # Both number from 0, and count one segment for each key frame but the first.
        late = [(listed[n] - keys[n]) * 1000 for n in sequences if n < len(keys)]
        yield {"key_to_listed_ms": statistics.median(late), "key_to_listed_worst_ms": max(late)}


def serving(server, clip, seconds=2, connections=(1, 32, 256)):
    """Segments and playlists, over connections that ask again at once."""
    kinds = (False, True) if server.name == "sluicegate" else (False,)
    for signed in kinds:
        with server, Cameras(server, clip, 1, "fast", seconds=14, hold=3600, signed=signed) as cameras:
            cameras.wait("sent", 1)
            server.wait_idle()
            playlist = server.playlist(0, signed)
            paths = {"playlist": playlist, "segment": server.segments(playlist)[2]}
            figures = {}
            for what, path in paths.items():
                for count in connections:
                    wrk(server, path, count, 1)
                    before = server.cost()
                    requests, body, took = wrk(server, path, count, seconds)
                    cpu = server.cost().cpu - before.cpu
                    name = f"{what}{'_signed' if signed else ''}_{count}"
                    figures |= {f"{name}_requests_per_s": requests / took, f"{name}_cpu_us": cpu / requests * 1e6, f"{name}_cpu_s_per_gb": cpu / body * 1e9}
            yield figures


def viewers(server, clip, count=256):
    """Connections that were answered once and stay open."""
    with server, Cameras(server, clip, 1, "fast", seconds=14, hold=3600) as cameras:
        cameras.wait("sent", 1)
        server.wait_idle()
        ask = f"GET {server.playlist(0)} HTTP/1.1\r\nHost: a\r\n\r\n".encode()

        def connect():
            viewer = socket.create_connection(("127.0.0.1", server.http))
            viewer.sendall(ask)
            viewer.recv(65536)
            return viewer

        open_ones = [connect()]
        before = server.cost()
        open_ones += [connect() for _ in range(count)]
        yield {"kib_per_idle_viewer": (server.cost().anonymous - before.anonymous) / count}
        for viewer in open_ones:
            viewer.close()

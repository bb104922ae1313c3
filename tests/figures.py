#!/usr/bin/env python3
"""Measures what the daemon costs on this machine, and prints the table that the README shows.

Usage: tests/figures.py [PROGRAM]        (default target/release/sluicegate; needs ffmpeg; takes about two minutes)

Streams are a clip of 1280x720, 25 fps, 4 Mbit/s with 2 s GOPs that ffmpeg makes from its own test source, in noise so that the bit
rate is real. CPU is the process's own clock. GB is 10^9 bytes of FLV. Compare figures of one run with each other, not of two machines.
"""

import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else "target/release/sluicegate"
STREAMS = 8
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="sluicegate-figures-"))
CLIP = FOLDER / "clip.flv"


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


HTTP, RTMP = port(), port()


def start():
    channels = "".join(
        f'[[bucket.live_channel]]\nname = "s{n}"\nfrag_duration = 2\nfrag_count = 6\nring = "32MiB"\n' for n in range(STREAMS)
    )
    config = FOLDER / "config.toml"
    config.write_text(
        f'[listen]\nhttp = ["127.0.0.1:{HTTP}"]\nrtmp = ["127.0.0.1:{RTMP}"]\n[store]\npath = "{FOLDER}/store"\n'
        f'[[bucket]]\nname = "cams"\nacl = "public-read-write"\n{channels}'
    )
    began = time.monotonic()
    daemon = subprocess.Popen([PROGRAM, "serve", "--config", str(config)], stderr=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", HTTP)).close()
            return daemon, (time.monotonic() - began) * 1000
        except ConnectionRefusedError:
            time.sleep(0.001)


def status(pid, key):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def written(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/io") if line.startswith("write_bytes"))


def publish(n, paced, secs):
    pace = ["-re"] if paced else []
    return subprocess.Popen(
        ["ffmpeg", "-v", "error", *pace, "-stream_loop", "-1", "-i", str(CLIP), "-t", str(secs), "-c", "copy", "-f", "flv",
         "-flvflags", "no_duration_filesize", f"rtmp://127.0.0.1:{RTMP}/cams/live/s{n}"],
        stderr=subprocess.DEVNULL,
    )


def run(paced, secs):
    """CPU seconds per GB and device bytes per payload byte of all streams at once."""
    before, bytes_before = cpu(daemon.pid), written(daemon.pid)
    for sender in [publish(n, paced, secs) for n in range(STREAMS)]:
        sender.wait()
    time.sleep(1)
    payload = STREAMS * CLIP.stat().st_size * secs / 20
    return (cpu(daemon.pid) - before) / payload * 1e9, (written(daemon.pid) - bytes_before) / payload


subprocess.run(
    ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25,noise=alls=20:allf=t", "-f", "lavfi", "-i", "sine",
     "-t", "20", "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-b:v", "4M", "-maxrate", "4M", "-bufsize", "4M",
     "-c:a", "aac", "-b:a", "128k", str(CLIP)],
    check=True,
)
daemon, started_ms = start()
time.sleep(2)
idle, idle_own = status(daemon.pid, "VmRSS"), status(daemon.pid, "RssAnon")
viewers = [socket.create_connection(("127.0.0.1", HTTP)) for _ in range(100)]
time.sleep(1)
per_viewer = (status(daemon.pid, "RssAnon") - idle_own) / len(viewers)
for viewer in viewers:
    viewer.close()
growth = []
senders = []
for n in range(STREAMS):
    before = status(daemon.pid, "RssAnon")
    senders.append(publish(n, True, 60))
    time.sleep(4)
    growth.append(status(daemon.pid, "RssAnon") - before)
busy = status(daemon.pid, "VmRSS")
for sender in senders:
    sender.kill()
    sender.wait()
time.sleep(1)
paced, amplification = run(True, 20)
unpaced, _ = run(False, 200)
listed = urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/cams/s0/playlist.m3u8").read().decode()
segment = [line for line in listed.splitlines() if line.endswith(".ts")][-1]
before, got = cpu(daemon.pid), 0
for _ in range(500):
    got += len(urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/cams/s0/{segment}").read())
serving = (cpu(daemon.pid) - before) / got * 1e9
daemon.terminate()
daemon.wait()
print(f"memory, idle ({STREAMS} channels): {idle} KiB resident, {idle_own} KiB of its own")
print(f"memory per publisher: {statistics.median(growth)} KiB (the first: {growth[0]} KiB)")
print(f"memory with {STREAMS} publishers: {busy} KiB resident")
print(f"memory per idle viewer: {per_viewer:.1f} KiB")
print(f"processor, receiving {STREAMS} streams in real time: {paced:.2f} s per GB; as fast as it goes: {unpaced:.2f} s per GB")
print(f"processor, serving segments: {serving:.2f} s per GB")
print(f"bytes written to flash per byte of FLV: {amplification:.3f}")
print(f"start to listening: {started_ms:.0f} ms")
print(f"program on disk: {os.path.getsize(PROGRAM) / 1e6:.2f} MB")

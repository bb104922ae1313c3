#!/usr/bin/env python3
"""Measures what reaches the card while a camera streams, by the counters of a block device, and prints a table.

Usage: tests/wear.py [PROGRAM] [SECS]        (default target/release/sluicegate and 600; Linux, as root; needs ffmpeg and mkfs.ext4)

Each row is a loop device of its own with a fresh ext4 and one camera of 4 Mbit/s with segments of 5 s. Nothing else is on the device, so what its
counters in /sys/block count is the daemon's, the file system's journal included. Bytes of TS are those of the segments that were listed meanwhile.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

PROGRAM = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/sluicegate")
SECS = int(sys.argv[2]) if len(sys.argv) > 2 else 600
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="sluicegate-wear-"))
CLIP = FOLDER / "clip.flv"
MIB = 1 << 20


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout.strip()


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Row:
    """One device, one daemon, one camera."""

    def __init__(self, title, ring_mib, is_filled, mount="defaults", features="has_journal", durability="segment"):
        self.title, self.is_filled = title, is_filled
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDER))
        self.card = self.folder / "card"
        image = self.folder / "image"
        with open(image, "wb") as file:
            file.truncate((ring_mib + 96) * MIB)
        # Inode tables and journal are written now, not by and by: only what streaming writes is to be counted.
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-O", features, image)
        self.device = run("losetup", "--find", "--show", image)
        self.card.mkdir()
        run("mount", "-o", mount, self.device, self.card)
        self.http, self.rtmp = port(), port()
        self.config = self.folder / "config.toml"
        self.config.write_text(
            f'[listen]\nhttp = ["127.0.0.1:{self.http}"]\nrtmp = ["127.0.0.1:{self.rtmp}"]\n'
            f'[store]\npath = "{self.card}"\ndurability = "{durability}"\n[[bucket]]\nname = "cams"\nacl = "public-read-write"\n'
            f'[[bucket.live_channel]]\nname = "c"\nfrag_duration = 5\nfrag_count = 3\nring = "{ring_mib}MiB"\n'
        )
        self.daemon = subprocess.Popen([PROGRAM, "serve", "--config", self.config], stderr=open(self.folder / "log", "w"))
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.http)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        self.ring_bytes = ring_mib * MIB

    def publish(self, secs, paced):
        pace = ["-re"] if paced else []
        return subprocess.Popen(
            ["ffmpeg", "-v", "error", "-nostdin", *pace, "-stream_loop", "-1", "-i", CLIP, "-t", str(secs), "-c", "copy", "-f", "flv",
             "-flvflags", "no_duration_filesize", f"rtmp://127.0.0.1:{self.rtmp}/cams/live/c"],
        )

    def counters(self):
        """Bytes written, and flushes (Documentation/block/stat.rst)."""
        fields = pathlib.Path(f"/sys/block/{self.device.removeprefix('/dev/')}/stat").read_text().split()
        return int(fields[6]) * 512, int(fields[15])

    def segments(self):
        """Names and lengths of the segments that are listed."""
        at = f"http://127.0.0.1:{self.http}/cams/c/"
        try:
            listed = urllib.request.urlopen(at + "playlist.m3u8").read().decode()
            for name in re.findall(r"^\d{13}\.ts$", listed, re.M):
                with urllib.request.urlopen(urllib.request.Request(at + name, method="HEAD")) as reply:
                    yield name, int(reply.headers["Content-Length"])
        except urllib.error.HTTPError:
            return

    def measure(self):
        if self.is_filled:
            # Once round the ring, as fast as it goes.
            self.publish(int(self.ring_bytes * 1.3 * 8 / 4e6), False).wait()
        camera = self.publish(SECS + 60, True)
        seen = {}

        def next_segment():
            """Waits for one more: what was listed before is on the card then, and little of what comes behind it."""
            known = len(seen)
            while len(seen) == known:
                time.sleep(0.1)
                seen.update(self.segments())

        # What was written before has settled by then.
        for _ in range(6):
            next_segment()
        before, (bytes_before, flushes_before) = dict(seen), self.counters()
        end = time.monotonic() + SECS
        while time.monotonic() < end:
            next_segment()
        bytes_after, flushes_after = self.counters()
        camera.kill()
        camera.wait()
        new = {name: length for name, length in seen.items() if name not in before}
        written, flushes = bytes_after - bytes_before, flushes_after - flushes_before
        self.result = (len(new), sum(new.values()), written, flushes)

    def close(self):
        self.daemon.terminate()
        self.daemon.wait()
        run("umount", self.card)
        run("losetup", "--detach", self.device)


run("ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25,noise=alls=20:allf=t", "-f", "lavfi", "-i", "sine",
    "-t", "20", "-c:v", "libx264", "-preset", "ultrafast", "-g", "125", "-b:v", "4M", "-maxrate", "4M", "-bufsize", "4M", "-c:a", "aac",
    "-b:a", "128k", CLIP)
rows = [
    Row("ext4, the ring's first lap", 512, False),
    Row("ext4, later laps", 64, True),
    Row("ext4 with commit=60, later laps", 64, True, mount="commit=60"),
    Row("ext4 without journal, later laps", 64, True, features="^has_journal"),
    Row("the same, relaxed", 64, True, features="^has_journal", durability="relaxed"),
]
threads = [threading.Thread(target=row.measure) for row in rows]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(f"{'':42}  segments   MB of TS  MB written  per byte of TS  flushes per segment")
for row in rows:
    segments, payload, written, flushes = row.result
    print(f"{row.title:42}  {segments:8}  {payload / 1e6:9.1f}  {written / 1e6:10.1f}  {written / payload:14.4f}  {flushes / segments:19.2f}")
    row.close()
shutil.rmtree(FOLDER)

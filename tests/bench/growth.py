"""How costs grow with channels, viewers, the size of a ring and uptime, at four sizes each; and the picture of it."""

import math
import pathlib
import socket
import time

import load
import memory
from servers import Sluicegate

COUNTS = pathlib.Path(__file__).resolve().parent / "instructions.tsv"


class Many(Sluicegate):
    """Many channels with the smallest rings, or many viewers."""

    ring = "4MiB"
    limits = 'publishers = 8\nviewers = 1100\nmemory = "64MiB"'

    def __init__(self, folder, streams):
        super().__init__(folder)
        self.streams = streams

    def configure(self):
        super().configure()
        self.config.write_text(self.config.read_text().replace("frag_count = 6", "frag_count = 2"))


def channels(folder, count):
    with Many(folder, count) as server:
        time.sleep(1)
        before = server.cost()
        time.sleep(4)
        after = server.cost()
        return {"memory, KiB": after.anonymous, "idle CPU, µs/s": (after.cpu - before.cpu) / 4 * 1e6}


def viewers(folder, count, clip):
    with Many(folder, 1) as server, load.Cameras(server, clip, 1, "fast", seconds=14, hold=3600) as cameras:
        cameras.wait("sent", 1)
        server.wait_idle()
        before = server.cost()
        ask, connections = f"GET {server.playlist(0)} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), []
        for _ in range(count):
            connections.append(socket.create_connection(("127.0.0.1", server.http)))
            connections[-1].sendall(ask)
            connections[-1].recv(65536)
        after = server.cost()
        for connection in connections:
            connection.close()
        return {"memory, KiB": after.anonymous, "CPU of their requests, µs": (after.cpu - before.cpu) * 1e6}


def hours(folder, count, clip):
    """A camera's stream of so many hours, as fast as it goes."""
    with Sluicegate(folder) as server:
        before = server.cost()
        with load.Cameras(server, clip, 1, "fast", seconds=3600 * count) as cameras:
            cameras.wait("end", 1, 600)
            server.wait_idle()
        after = server.cost()
        return {"memory, KiB": after.anonymous, "CPU, ms": (after.cpu - before.cpu) * 1000}


def rings(mib):
    """Instructions, as tests/bench/instructions counted them."""
    counts = dict(line.split("\t") for line in COUNTS.read_text().splitlines() if "\t" in line)
    paths = {"playlist": f"playlist, ring of {mib} MiB", "segment": f"head of a segment, ring of {mib} MiB", "opening": f"opening a full ring of {mib} MiB"}
    return {f"{name}, instructions": int(counts[path]) for name, path in paths.items()}


def measure(folder, is_quick):
    small = memory.make_small_clip(folder / "small.flv")
    return {
        "channels": {n: channels(folder, n) for n in (8, 32, 128, 512)},
        "viewers": {n: viewers(folder, n, small) for n in (16, 64, 256, 1024)},
        "ring, MiB": {n: rings(n) for n in (64, 256, 1024, 4096)},
        "hours of video": {n: hours(folder, n, small) for n in ((1, 2, 4, 8) if is_quick else (3, 6, 12, 24))},
    }


WIDTH, HEIGHT, GAP, COLOURS = 205, 170, 40, ("#1f6feb", "#d1570a", "#2da44e")


def picture(panels):
    """One panel for each size that grows. Both axes double and double; grey is what grows as its size does."""
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {4 * (WIDTH + GAP)} {HEIGHT + 100}" font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="#fff"/>']
    for n, (size, points) in enumerate(panels.items()):
        left, sizes = GAP / 2 + n * (WIDTH + GAP), [int(size) for size in points]
        factor = sizes[-1] / sizes[0]
        x = lambda at: left + at * WIDTH / (len(sizes) - 1)
        # The height is what linear growth makes of the smallest size.
        y = lambda ratio: 30 + HEIGHT - (HEIGHT - 15) * max(-0.05, log(ratio, factor))
        out.append(f'<text x="{left}" y="18" font-weight="bold">{size}</text>')
        out.append(f'<path d="M{left} 30v{HEIGHT}h{WIDTH}" fill="none" stroke="#888"/>')
        out.append(f'<path d="M{x(0):.1f} {y(1):.1f}L{x(len(sizes) - 1):.1f} {y(factor):.1f}" stroke="#bbb" stroke-dasharray="4"/>')
        for at, number in enumerate(sizes):
            out.append(f'<text x="{x(at):.1f}" y="{HEIGHT + 44}" text-anchor="middle">{number}</text>')
        for line, (name, colour) in enumerate(zip(next(iter(points.values())), COLOURS)):
            values = [values[name] for values in points.values()]
            path = "L".join(f"{x(at):.1f} {y(value / values[0]):.1f}" for at, value in enumerate(values))
            out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            out.append(f'<text x="{left}" y="{HEIGHT + 62 + 15 * line}" fill="{colour}">{name}: {values[0]:,.0f} → {values[-1]:,.0f}</text>')
    return "\n".join([*out, "</svg>", ""])


def log(value, base):
    return math.log(max(value, 1e-9)) / math.log(base)

"""The servers that are measured: how each is configured, started, fed and asked; and what a process has cost so far."""

import dataclasses
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

STREAMS = 32
MODULES = pathlib.Path("/usr/lib/nginx/modules")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclasses.dataclass
class Cost:
    """What a server and its children have used."""

    cpu: float = 0.0  # seconds
    private: int = 0  # KiB
    pss: int = 0  # KiB
    anonymous: int = 0  # KiB of the PSS that is no file
    peak: int = 0  # KiB resident, at most
    dirtied: int = 0  # bytes of pages that go to a disk
    wakeups: int = 0


def fields(path):
    lines = (line.split(":") for line in pathlib.Path(path).read_text().splitlines() if ":" in line)
    return {name: value.split() for name, value in lines}


class Server:
    """One server in a folder of its own, on ports of its own."""

    folder: pathlib.Path

    def __init__(self, folder):
        self.folder = folder / self.name
        self.rtmp, self.http = free_port(), free_port()
        self.process = None

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.configure()
        return self.start()

    def start(self):
        began = time.monotonic()
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for port in (self.rtmp, self.http):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    if self.process.poll() is not None:
                        raise SystemExit(f"{self.name} did not start:\n{(self.folder / 'log').read_text()}") from None
                    time.sleep(0.0002)
        self.started_ms = (time.monotonic() - began) * 1000
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self):
        """Its process and its children; no server here has grandchildren."""
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cost(self):
        cost = Cost()
        for pid in self.pids():
            memory, life = fields(f"/proc/{pid}/smaps_rollup"), fields(f"/proc/{pid}/status")
            # The process's CPU clock: like utime + stime of /proc/PID/stat, without its steps of 10 ms.
            cost.cpu += time.clock_gettime((~pid << 3) | 2)
            cost.private += int(memory["Private_Dirty"][0]) + int(memory["Private_Clean"][0])
            cost.pss += int(memory["Pss"][0])
            cost.anonymous += int(memory["Pss_Anon"][0])
            cost.peak += int(life["VmHWM"][0])
            cost.dirtied += int(fields(f"/proc/{pid}/io")["write_bytes"][0])
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                cost.wakeups += int(fields(task / "status")["voluntary_ctxt_switches"][0])
        return cost

    def wait_idle(self):
        """Returns once it has used no more than 2 ms of CPU in half a second."""
        before = self.cost().cpu
        while True:
            time.sleep(0.5)
            after = self.cost().cpu
            if after - before < 0.002:
                return
            before = after

    def get(self, path, connection=None, headers=None):
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.http, timeout=10)
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()

    def segments(self, playlist):
        """The paths that a playlist lists, as a player resolves them."""
        status, text = self.get(playlist)
        lines = text.decode().splitlines() if status == 200 else []
        folder = playlist.split("?")[0].rpartition("/")[0]
        return [line if line.startswith("/") else f"{folder}/{line}" for line in lines if line and not line.startswith("#")]


class Sluicegate(Server):
    name = "sluicegate"
    app = "open/live"
    program = "target/release/sluicegate"
    streams, ring, limits = STREAMS, "16MiB", 'publishers = 40\nviewers = 300\nmemory = "64MiB"'

    def configure(self):
        channel = '[[bucket.live_channel]]\nname = "s{}"\nfrag_duration = 2\nfrag_count = 6\nring = "{}"\n'
        self.config = self.folder / "sluicegate.toml"
        self.config.write_text(
            f'[listen]\nhttp = ["127.0.0.1:{self.http}"]\nrtmp = ["127.0.0.1:{self.rtmp}"]\n'
            f'[store]\npath = "{self.folder}/store"\n[limits]\n{self.limits}\n'
            '[[access_key]]\nid = "bench"\nsecret = "not-a-secret"\n'
            '[[bucket]]\nname = "open"\nacl = "public-read-write"\n' + "".join(channel.format(n, self.ring) for n in range(self.streams))
            + '[[bucket]]\nname = "cams"\n' + channel.format(0, self.ring))

    def start(self):
        super().start()
        # Rings are opened beside the listeners.
        deadline = time.monotonic() + 60
        while (self.folder / "log").read_text().count("the ring is open") < self.streams + 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        self.ready_ms = self.started_ms
        return self

    def command(self):
        return [self.program, "serve", "--config", str(self.config)]

    def files(self):
        return [self.program]

    def version(self):
        return subprocess.run([self.program, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def playlist(self, stream, signed=False):
        if not signed:
            return f"/open/s{stream}/playlist.m3u8"
        return self.sign("play").removeprefix(f"http://127.0.0.1:{self.http}")

    def publish_name(self, signed=False):
        return ("cams/live", self.sign("publish").rpartition("/live/")[2].replace("%", "%%")) if signed else (self.app, "s%d")

    def sign(self, what):
        base = f"rtmp://127.0.0.1:{self.rtmp}" if what == "publish" else f"http://127.0.0.1:{self.http}"
        command = [self.program, "sign", what, "cams", "s0", "--raw", "--url", base, "--expires", "86400", "--config", str(self.config)]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


class NginxRtmp(Server):
    name = "nginx-rtmp"

    def configure(self):
        (self.folder / "hls").mkdir()
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(
            f"load_module {MODULES}/ngx_rtmp_module.so;\nuser root;\nworker_processes 1;\ndaemon off;\npid {self.folder}/pid;\n"
            f"error_log {self.folder}/log error;\nevents {{ worker_connections 1024; }}\n"
            f"rtmp {{ server {{ listen 127.0.0.1:{self.rtmp}; access_log off; application live {{ live on; hls on; hls_path {self.folder}/hls;\n"
            "hls_fragment 2s; hls_playlist_length 12s; } } }\n"
            f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type video/mp2t;\n{temporary}"
            f"server {{ listen 127.0.0.1:{self.http}; root {self.folder}/hls; }} }}\n")

    def command(self):
        return ["nginx", "-p", f"{self.folder}/", "-e", str(self.folder / "log"), "-c", str(self.folder / "nginx.conf")]

    def files(self):
        return [shutil.which("nginx"), MODULES / "ngx_rtmp_module.so"]

    def version(self):
        packages = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}, ", "nginx", "libnginx-mod-rtmp"], stdout=subprocess.PIPE, text=True)
        return packages.stdout.rstrip(", ")

    def playlist(self, stream, signed=False):
        return f"/s{stream}.m3u8"

    def publish_name(self, signed=False):
        return "live", "s%d"

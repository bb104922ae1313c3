"""Results → the tables of the README, in Markdown."""


def number(value):
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


# What, where it stands among the results, divided by what, and the machine's floor where there is one.
ROWS = [
    ("8 cameras in real time: CPU s per GB", "paced_8", "cpu_s_per_gb", 1),
    ("1 camera", "paced_1", "cpu_s_per_gb", 1),
    ("32 cameras", "paced_32", "cpu_s_per_gb", 1),
    ("8, chunks of 128 bytes", "paced_8_chunk_128", "cpu_s_per_gb", 1),
    ("8, chunks of 60,000 bytes", "paced_8_chunk_60000", "cpu_s_per_gb", 1),
    ("8, in writes of 1,448 bytes", "paced_8_trickle", "cpu_s_per_gb", 1),
    ("CPU s per camera and minute, of 8", "paced_8", "cpu_s_per_stream_minute", 1),
    ("8 cameras as fast as it goes, chunks of 4,096 bytes: CPU s per GB", "unpaced_chunk_4096", "cpu_s_per_gb", 1),
    ("chunks of 128 bytes", "unpaced_chunk_128", "cpu_s_per_gb", 1),
    ("system calls per media second, of 4 cameras", "syscalls", "syscalls_per_media_s", 1),
    ("wake-ups per media second, of 8 cameras", "paced_8", "wakeups_per_media_s", 1),
    ("the same in writes of 1,448 bytes", "paced_8_trickle", "wakeups_per_media_s", 1),
    ("flushes per segment", "syscalls", "flushes_per_segment", 1),
    ("files opened per stream and minute", "syscalls", "files_per_stream_minute", 1),
    ("bytes dirtied per byte received", "unpaced_chunk_4096", "dirtied_per_byte", 1),
    ("memory (PSS), idle, MB", "start", "idle_pss_kib", 1024),
    ("1 camera", "paced_1", "pss_kib", 1024),
    ("8 cameras", "paced_8", "pss_kib", 1024),
    ("32 cameras", "paced_32", "pss_kib", 1024),
    ("of it anonymous, idle", "start", "idle_anonymous_kib", 1024),
    ("of it anonymous, 32 cameras", "paced_32", "anonymous_kib", 1024),
    ("memory per idle viewer, KiB", "viewers", "kib_per_idle_viewer", 1),
    ("key frame sent until its segment is listed, ms", "latency", "key_to_listed_ms", 1),
    *((f"segments, {count} connections: CPU s per GB", "serving", f"segment_{count}_cpu_s_per_gb", 1) for count in (1, 32, 256)),
    *((f"segments, {count} connections: requests per s", "serving", f"segment_{count}_requests_per_s", 1) for count in (1, 32, 256)),
    *((f"playlists, {count} connections: CPU µs per request", "serving", f"playlist_{count}_cpu_us", 1) for count in (1, 32, 256)),
    *((f"playlists, {count} connections: requests per s", "serving", f"playlist_{count}_requests_per_s", 1) for count in (1, 32, 256)),
    ("signed segments, 32 connections: CPU s per GB", "serving", "segment_signed_32_cpu_s_per_gb", 1),
    *((f"signed playlists of 6 signed segments, {count} connections: CPU µs per request", "serving", f"playlist_signed_{count}_cpu_us", 1) for count in (1, 32, 256)),
    ("start to listening, ms", "start", "start_ms", 1),
    ("program, MB", "start", "program_mb", 1),
]

FLOOR = {
    "unpaced_chunk_4096": ("recv_64k", "memcpy", "pwrite_ring"),
    "unpaced_chunk_128": ("recv_64k", "memcpy", "pwrite_ring"),
    "paced_8_trickle": ("recv_4k", "memcpy", "pwrite_ring"),
}


def peers(results):
    versions, floor = results["versions"], results["floor"]
    out = ["| | Sluicegate | nginx-rtmp | the machine |", "|---|---:|---:|---:|"]
    ahead, behind = 0, []
    for what, measurement, figure, unit in ROWS:
        both = results["peers"].get(measurement)
        if both is None:
            continue
        ours, theirs = (both[name].get(figure) for name in ("sluicegate", "nginx-rtmp"))
        ours, theirs = ours / unit if ours is not None else None, theirs / unit if theirs is not None else None
        least = sum(floor[name] for name in FLOOR.get(measurement, ())) if figure == "cpu_s_per_gb" else 0
        if measurement == "serving" and figure.startswith("segment") and figure.endswith("per_gb"):
            least = floor["sendfile"]
        if ours is not None and theirs is not None:
            is_ahead = ours >= theirs if figure.endswith("requests_per_s") else ours <= theirs
            ahead, behind = (ahead + 1, behind) if is_ahead else (ahead, [*behind, what])
        out.append(f"| {what} | {number(ours)} | {number(theirs)} | {number(least) if least else ''} |")
    out += ["", f"Ahead in {ahead} of {ahead + len(behind)} rows that both have; not in: {'; '.join(behind) or 'none'}.",
            f"{results['date']}, commit {results['commit']}, {results['machine']}; medians of {results['rounds']} rounds; load average before: "
            f"{results['load_before']:.1f}. {versions['nginx-rtmp']}."]
    return out


def tables(results):
    out = peers(results) if "peers" in results else []
    if "memory" in results:
        memory = results["memory"]
        out += ["", "Memory, budget and worst load:", *(f"    {line}" for line in memory["budget"]),
                f"    idle {memory['idle_kib']} KiB, at worst {memory['worst_kib']} KiB, budget {memory['budget_kib']} KiB: "
                f"{(memory['budget_kib'] / memory['worst_kib'] - 1) * 100:+.0f} %"]
    if "cache" in results:
        out += ["", "| nginx's proxy_cache in front | viewers' requests | of them to the gateway | per segment | gateway's CPU, s |", "|---|---:|---:|---:|---:|"]
        out += [f"| {name.replace('_', ', ')} viewers | {found['requests']:,} | {found['to_gateway']} | {found['to_gateway_per_segment']} | {found['gateway_cpu_s']} |"
                for name, found in results["cache"].items()]
    if "low_latency" in results:
        found = results["low_latency"]
        direct = {name: figures for name, figures in found.items() if not name.startswith("cached")}
        out += ["", "| viewers | requests per s, each | CPU ms per s, each | memory, KiB each |", "|---|---:|---:|---:|"]
        out += [f"| {name.replace('_', ' ')} | {figures['requests_per_viewer_s']} | {figures['cpu_ms_per_viewer_s']} | {figures['kib_per_viewer']} |"
                for name, figures in direct.items()]
        out += ["", *(f"{name}: {figures}" for name, figures in found.items() if name.startswith("cached"))]
    if "growth" in results:
        out += ["", *(f"{size}: " + "; ".join(f"{at}: {values}" for at, values in points.items()) for size, points in results["growth"].items())]
    return "\n".join(out)

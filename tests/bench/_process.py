"""A whole lane as its users meet it: start to first seal, latency under image load, memory, kill -9."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _row import Row, percentile
from _store import draft

from station.lanefile import shipped
from station.runtime.clock import SystemClock
from station.store.open import open_store

WARM_TRUCKS, TRUCKS, RATE = 4, 20, 5
LANE = "DEMO-01"


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = _first_seal(Path(folder) / "first")
        found += _memory(Path(folder))
        found.append(_kill9(Path(folder) / "kill"))
    return found


@contextmanager
def station(state: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "station.cli", "run", "--state", str(state), "--port", str(port)]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - loopback
        return str(reply.read().decode())


def wait_for(check, limit_s: float) -> float:  # type: ignore[no-untyped-def]  # any callable that may raise OSError
    start_s = time.monotonic()
    while time.monotonic() - start_s < limit_s:
        try:
            if check():
                break
        except OSError:
            pass
        time.sleep(0.02)
    return time.monotonic() - start_s


def sealed(base: str) -> int:
    return sum(
        int(float(n))
        for n in re.findall(r"^carril_inspections_sealed_total\{.*\} (\S+)$", get(base + "/metrics"), re.M)
    )


def _first_seal(state: Path) -> list[Row]:
    """Start at rate 1; the stream's records carry the station's monotonic stamps, which are ours too."""
    with station(state) as (_, base):
        wait_for(lambda: get(base + "/healthz"), 20)
        stop = threading.Event()
        threads = [threading.Thread(target=_image_load, args=(base, stop))]
        late_ms: list[float] = []
        threads.append(threading.Thread(target=_watch, args=(base, stop, late_ms)))
        start_s = time.monotonic()
        for thread in threads:
            thread.start()
        wait_for(lambda: sealed(base) >= 1, 60)
        taken_s = time.monotonic() - start_s
        wait_for(lambda: sealed(base) >= 2, 60)
        stop.set()
        for thread in threads:
            thread.join()
    return [
        Row("start to first seal", taken_s, "s", 30),
        Row("reading to SSE write under image load, p99", percentile(late_ms, 0.99), "ms", 100),
    ]


def _watch(base: str, stop: threading.Event, late_ms: list[float]) -> None:
    """Read the stream and note how old each record is when it arrives."""
    at = json.loads(get(base + "/v1/lane"))["at"]
    epoch = at.partition(":")[0]
    arrived: dict[int, int] = {}
    with urllib.request.urlopen(f"{base}/v1/lane/events?after={at}", timeout=10) as stream:  # noqa: S310
        for line in stream:
            if line.startswith(b"id: "):
                arrived[int(line.rpartition(b":")[2])] = time.monotonic_ns()
            if stop.is_set():
                break
    first = min(arrived) - 1
    page = json.loads(get(f"{base}/v1/feed?after={first}&epoch={epoch}&limit=2000&include=simulated"))
    for item in page["items"]:
        if item["seq"] in arrived:
            late_ms.append(arrived[item["seq"]] / 1e6 - item["event"]["data"]["stamp"]["mono_us"] / 1e3)


def _fast_lane(folder: Path) -> list[str]:
    lane = folder / "lane.toml"
    text = shipped("lanes", "demo").read_text().replace("seed = 1", f"seed = 1\nrate = {RATE}")
    lane.write_text(text)
    scenario = folder / "fast.toml"
    scenario.write_text(
        'title = "bench"\ngap_s = 1.0\n[[truck]]\nname = "a"\nplate = "AB 1234"\n'
        '[[truck]]\nname = "b"\nplate = "CD 5678"\nload = "tiles"\n'
        "[[truck.sources]]\nat_m = 7.0\nspan_m = 4.0\ngamma_cps = 2500.0\n"
    )
    return ["--lane", str(lane), "--scenario", str(scenario)]


def _memory(folder: Path) -> list[Row]:
    """Resident memory while trucks pass and images are read."""
    arguments = _fast_lane(folder)
    with station(folder / "load", *arguments) as (process, base):
        wait_for(lambda: sealed(base) >= WARM_TRUCKS, 240)
        warm_mb = _resident_mb(process.pid)
        stop = threading.Event()
        load = threading.Thread(target=_image_load, args=(base, stop))
        load.start()
        wait_for(lambda: sealed(base) >= TRUCKS, 600)
        stop.set()
        load.join()
        end_mb = _resident_mb(process.pid)
    growth = (end_mb - warm_mb) / (TRUCKS - WARM_TRUCKS)
    return [
        Row("resident memory after 20 trucks", end_mb, "MB", 350),
        Row("resident memory growth per truck", growth, "MB", 0.1),
    ]


def _image_load(base: str, stop: threading.Event) -> None:
    """Ask for the largest thing there is, again and again: whole radiographs of the vehicle in the lane."""
    while not stop.is_set():
        try:
            inspection = json.loads(get(base + "/v1/lane"))["inspection"]
            if inspection and inspection["scan"]:
                scan = inspection["scan"]["scan_id"]
                with urllib.request.urlopen(f"{base}/v1/scans/{scan}/columns?from=0&to=4096", timeout=5) as r:  # noqa: S310
                    r.read()
        except OSError:
            pass
        stop.wait(0.1)


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found.group(1)) / 1024 if found else 0.0


def _kill9(state: Path) -> Row:
    """10,000 records wait; the daemon is killed and started again: how long until it serves?"""
    store = open_store(state, LANE, SystemClock(), consumers=[("central", True)])
    futures = [store.append_soon([draft(n)]) for n in range(100)]
    for start in range(100, 10_000, 100):
        for future in futures:
            future.result()
        futures = [store.append_soon([draft(start + n)]) for n in range(100)]
    for future in futures:
        future.result()
    store.close()
    with station(state) as (process, base):
        wait_for(lambda: get(base + "/healthz"), 20)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with station(state) as (_, base):
        taken_s = wait_for(lambda: get(base + "/healthz"), 20)
    return Row("kill -9 to serving, 10,000 records", taken_s, "s", 3)

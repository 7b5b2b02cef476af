"""A whole lane as its users meet it: start to first seal, latency under image load, memory, kill -9."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from _row import Row, percentile
from _store import draft

from drivers.plant.rig import free_port
from station.cli.loopback import Station, call
from station.lanefile import shipped
from station.runtime.clock import SystemClock
from station.store.open import open_store

WARM_TRUCKS, TRUCKS, RATE = 6, 20, 5
KILLS, WAITING = 3, 10_000
LANE = "DEMO-01"
LEAST_RECORDS = 20
"""Below a hundred the 99th percentile is the greatest value, the harder measure."""
COLUMNS = "/v1/scans/{}/columns?from=0&to=4096"


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _first_seal(Path(folder) / "first")
        yield _kill9(Path(folder) / "kill")
        yield from _memory(Path(folder))


@contextmanager
def station(state: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a station in its own process group, with its output in ``<state>.log``."""
    port = free_port()
    command = [sys.executable, "-m", "station.cli", "run", "--state", str(state), "--port", str(port)]
    with state.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen([*command, *arguments], stdout=log, stderr=log, start_new_session=True)
    try:
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def get(port: int, path: str) -> str:
    return call(port, "GET", path).decode()


def wait_for(check: Callable[[], object], limit_s: float) -> None:
    """Wait until ``check`` is true; no answer yet is no error, no answer at all is."""
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        with suppress(OSError):
            if check():
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing came within {limit_s:g} s")


def sealed(port: int) -> int:
    return sum(
        int(float(n))
        for n in re.findall(r"^carril_inspections_sealed_total\{.*\} (\S+)$", get(port, "/metrics"), re.M)
    )


@contextmanager
def image_load(port: int) -> Iterator[None]:
    """Ask for the largest thing there is, again and again: whole radiographs of the vehicle in the lane."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.1):
            with suppress(OSError):
                inspection = json.loads(get(port, "/v1/lane"))["inspection"]
                if inspection and inspection["scan"]:
                    call(port, "GET", COLUMNS.format(inspection["scan"]["scan_id"]))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _first_seal(state: Path) -> Iterator[Row]:
    """Start at rate 1; records carry the station's monotonic stamps, which are then ours too."""
    start_s = time.monotonic()
    with station(state) as (_, port):
        wait_for(lambda: get(port, "/healthz"), 20)
        arrived: dict[int, int] = {}
        epoch = json.loads(get(port, "/v1/lane"))["at"].partition(":")[0]
        threading.Thread(target=asyncio.run, args=(_watch(port, arrived),), daemon=True).start()
        with image_load(port):
            wait_for(lambda: sealed(port) >= 1, 90)
            yield Row("start to first seal", time.monotonic() - start_s, "s", 30)
            wait_for(lambda: sealed(port) >= 2, 90)
        page = json.loads(get(port, f"/v1/feed?after=0&epoch={epoch}&limit=2000&include=simulated"))
        ages_ms = [
            arrived[item["seq"]] / 1e6 - item["event"]["data"]["stamp"]["mono_us"] / 1e3
            for item in page["items"]
            if item["seq"] in arrived
        ]
    if len(ages_ms) < LEAST_RECORDS:
        raise RuntimeError(f"only {len(ages_ms)} records came on the stream: two trucks give more")
    yield Row("reading to SSE write under image load, p99", percentile(ages_ms, 0.99), "ms", 100)


async def _watch(port: int, arrived: dict[int, int]) -> None:
    """Read the stream as a screen does and note when each record arrives, until the station ends."""
    at = json.loads(get(port, "/v1/lane"))["at"]
    with suppress(OSError):
        async for _, record_id, _ in Station(port).events(f"/v1/lane/events?after={at}"):
            if record_id:
                arrived.setdefault(int(record_id.rpartition(":")[2]), time.monotonic_ns())


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


def _memory(folder: Path) -> Iterator[Row]:
    """Resident memory at each seal, while trucks pass and images are read; growth is the slope of it."""
    with station(folder / "load", *_fast_lane(folder)) as (process, port):
        wait_for(lambda: get(port, "/healthz"), 20)
        resident_mb: list[float] = []
        with image_load(port):
            for truck in range(1, TRUCKS + 1):
                wait_for(lambda truck=truck: sealed(port) >= truck, 120)
                resident_mb.append(_resident_mb(process.pid))
    slope, _ = statistics.linear_regression(range(WARM_TRUCKS, TRUCKS), resident_mb[WARM_TRUCKS:])
    yield Row("resident memory after 20 trucks", resident_mb[-1], "MB", 350)
    yield Row("resident memory growth per truck", slope, "MB", 0.1)


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def _kill9(state: Path) -> Row:
    """10,000 records wait; the daemon is killed and started again: how long until it serves?"""
    store = open_store(state, LANE, SystemClock(), consumers=[("central", True)])
    for start in range(0, WAITING, 100):
        for future in [store.append_soon([draft(start + n)]) for n in range(100)]:
            future.result(10)
    store.close()
    taken_s = []
    for kill in range(KILLS + 1):
        start_s = time.monotonic()
        with station(state) as (process, port):
            wait_for(lambda: get(port, "/healthz"), 30)
            taken_s.append(time.monotonic() - start_s)
            if int(json.loads(get(port, "/v1/lane"))["at"].rpartition(":")[2]) < WAITING:
                raise RuntimeError("the records are not there any more")
            if kill < KILLS:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Row(f"kill -9 to serving, 10,000 records, slowest of {KILLS}", max(taken_s[1:]), "s", 3)

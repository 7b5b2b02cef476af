"""Steps for a whole lane: an emulated station as a child process, watched through its public routes alone.

The lane's clock may run faster than real time. Durations of the lane (decision, image) are given in
seconds of its clock, so that a faster clock makes the limits harder, never softer; the way of an alarm
from the record to a screen does not depend on that clock and is given in real milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from drivers.plant.rig import free_port
from hil.measure import Strict
from hil.steps.library import Bench, Gives, NoArgs, Put, Step, StepError
from station.cli.actors import Officer
from station.cli.loopback import Station
from station.lanefile import LaneFile, shipped

START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0
LOOK_S = 0.1
PAGE = 200
LOG_FILE = "station.log"
FEED_FILE = "feed.ndjson"
STATION = (
    "import ctypes; ctypes.CDLL(None).prctl(1, 15)\n"  # PR_SET_PDEATHSIG: it stops when the bench is killed
    "from station.cli.main import main; raise SystemExit(main())"
)
SCANNED = "carril.scan.completed"
ALARMS = ("carril.radiation_alarm.raised", "carril.lane_alarm.raised")
DEVICE_SAID = (SCANNED, "carril.occupancy.ended", "carril.plate.read")


class Start(Strict):
    """How the child's lane differs from the lane file: ``rate`` of its clock, seconds between trucks."""

    rate: Annotated[float, Field(ge=1, le=5)] = 1.0
    gap_s: Annotated[float, Field(ge=0, le=60)] = 15.0


class Trucks(Strict):
    """How many trucks must be sealed."""

    trucks: Annotated[int, Field(ge=1, le=1000)]


@dataclass(slots=True)
class Child:
    """The station that was started."""

    process: asyncio.subprocess.Process
    port: int
    epoch: str
    rate: float

    def alive(self) -> None:
        """Raise ``StepError`` once it has ended."""
        if self.process.returncode is not None:
            raise StepError(
                f"the station ended by itself with exit code {self.process.returncode}; see {LOG_FILE}"
            )

    async def stop(self) -> int:
        """Ask it to stop, and insist after ten seconds; idempotent."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), STOP_LIMIT_S)
            except TimeoutError:
                self.process.kill()
        return await self.process.wait()


class BenchOfficer(Officer):
    """Obeys every lock like the demonstration's officer, but decides at the first look."""

    async def _look(self) -> None:
        lane = await self._station.get("/v1/lane")
        inspection = lane["inspection"]
        if inspection and inspection["state"] == "awaiting_decision" and not inspection["decision"]:
            await self._decide(lane, inspection)


@dataclass(slots=True)
class Seen:
    """What a screen and a central system got; times are real monotonic seconds of arrival."""

    screen_s: dict[int, float] = field(default_factory=dict)
    """Arrival of each record on the screen's stream, by sequence number."""
    columns_s: dict[str, float] = field(default_factory=dict)
    """Arrival of the last live columns of each scan."""
    image_s: dict[str, float] = field(default_factory=dict)
    """Arrival of the whole image of each scan, its bytes checked."""
    ahead_us: float = float("-inf")
    """UTC of the lane's clock minus ``rate`` times our monotonic microseconds: from the quickest beat."""
    records: list[dict[str, Any]] = field(default_factory=list)
    """Feed items in the order of their coming."""
    breaks: int = 0
    """Pages whose ``prev`` is not the hash of the record before."""

    def of(self, *types: str) -> list[dict[str, Any]]:
        """Return the records of these types."""
        return [item for item in self.records if item.get("event", {}).get("type") in types]


async def start(bench: Bench, args: Start, put: Put) -> None:
    """Start the lane in a temporary state folder and wait until it serves."""
    lane = bench.lane_file
    if real := [device.name for device in lane.devices if device.mode != "emulated"]:
        raise StepError(f"{', '.join(real)} is no emulated device: this step starts emulated lanes only")
    folder = Path(bench.stack.enter_context(tempfile.TemporaryDirectory(prefix="carril-bench-")))
    (folder / "lane.toml").write_bytes(_at_rate(lane, args.rate))
    scenario = shipped("scenarios", lane.simulation.scenario).read_text()
    quick = re.sub(r"^gap_s *=.*$", f"gap_s = {args.gap_s}", scenario, count=1, flags=re.MULTILINE)
    (folder / "scenario.toml").write_text(quick)
    port = free_port()
    log = bench.stack.enter_context((bench.out / LOG_FILE).open("wb"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STATION,
        "run", "--lane", str(folder / "lane.toml"), "--scenario", str(folder / "scenario.toml"),
        "--state", str(folder / "state"), "--port", str(port),
        stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,  # Ctrl-C in the terminal is for the bench, which stops its child itself
    )  # fmt: skip
    child = bench.parts[Child] = Child(process, port, "", args.rate)
    bench.stack.push_async_callback(child.stop)
    end_s = time.monotonic() + START_LIMIT_S
    while not child.epoch:
        child.alive()
        if time.monotonic() > end_s:
            raise StepError(f"the station did not serve within {START_LIMIT_S:g} s")
        with contextlib.suppress(OSError):
            child.epoch = (await Station(port).get("/v1/lane"))["at"].partition(":")[0]
        await asyncio.sleep(LOOK_S)


def _at_rate(lane: LaneFile, rate: float) -> bytes:
    """Return the lane file's bytes with another clock; the station checks them as any other file."""
    text = re.sub(r"^rate *=.*\n", "", lane.content.decode(), flags=re.MULTILINE)
    table = f"[simulation]\nrate = {rate}\n"
    if re.search(r"^\[simulation\]", text, re.MULTILINE):
        return re.sub(r"^\[simulation\].*\n", table, text, count=1, flags=re.MULTILINE).encode()
    return f"{text}\n{table}".encode()


async def trucks(bench: Bench, args: Trucks, put: Put) -> None:
    """Let trucks pass until enough are sealed, then hold what screen and central got against each other."""
    child, seen = bench.part(Child), Seen()
    works = (_watch(child, seen), _poll(child, seen), BenchOfficer(child.port).run())
    tasks = [asyncio.create_task(work) for work in works]
    try:
        while len(seen.of("carril.inspection.sealed")) < args.trucks:
            child.alive()
            for task in tasks:
                if task.done():
                    task.result()  # raises what ended it
            await asyncio.sleep(LOOK_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        (bench.out / FEED_FILE).write_text("".join(f"{json.dumps(item)}\n" for item in seen.records))
        tell(child.rate, seen, put)


async def _watch(child: Child, seen: Seen) -> None:
    """Read the stream of screens as a screen does; fetch each image as soon as its record comes."""
    async with asyncio.TaskGroup() as fetches:
        async for message in Station(child.port).events(f"/v1/lane/events?after={child.epoch}:0"):
            if scan := _take(child, seen, *message):
                fetches.create_task(_fetch_image(child, seen, *scan))
    raise StepError("the station closed the stream of screens")


def _take(
    child: Child, seen: Seen, event: str, record_id: str, data: dict[str, Any]
) -> tuple[str, str] | None:
    """Note when a message came; return scan and image of a scan that is completed now."""
    now_s = time.monotonic()
    if event == "hb":
        seen.ahead_us = max(seen.ahead_us, data["utc_us"] - child.rate * 1e6 * now_s)
    elif event == "scan.cols":
        seen.columns_s[data["scan_id"]] = now_s
    elif event == "record":
        seen.screen_s[int(record_id.rpartition(":")[2])] = now_s
        scan = (data["lane"]["inspection"] or {}).get("scan") if data["type"] == SCANNED else None
        if scan and scan.get("image"):
            return scan["scan_id"], scan["image"]
    return None


async def _fetch_image(child: Child, seen: Seen, scan_id: str, sha256: str) -> None:
    """Fetch the image's bytes; they count once they are those that the record names."""
    content = await Station(child.port).content(f"/v1/blobs/{sha256}", timeout_s=10)
    if hashlib.sha256(content).hexdigest() == sha256:
        seen.image_s[scan_id] = time.monotonic()


async def _poll(child: Child, seen: Seen) -> None:
    """Read the feed as a central system does: long polls, each from the last record of the one before."""
    station, after, last = Station(child.port), 0, None
    while True:
        query = f"after={after}&epoch={child.epoch}&limit={PAGE}&wait=1&include=simulated"
        page = await station.get(f"/v1/feed?{query}")
        seen.breaks += last is not None and page["prev"] != last
        seen.records += page["items"]
        after, last = page["next"], page["items"][-1]["hash"] if page["items"] else page["prev"]


# --- what it comes to -------------------------------------------------------------------------------


def tell(rate: float, seen: Seen, put: Put) -> None:
    """Measure what was seen; what nothing was seen of stays unset."""
    put("sealed", len(seen.of("carril.inspection.sealed")))
    decisions = {
        (item["seq"], item["event"]["data"]["inspection_id"]) for item in seen.of("carril.decision.recorded")
    }
    moves = [(item["seq"], item["event"]["data"]) for item in seen.of("carril.barrier.moved")]
    openings = [(seq, data) for seq, data in moves if data["to"] == "up"]
    put("barrier_openings", len(openings))
    put(
        "openings_without_decision",
        sum(
            (data["decision_seq"], data["inspection_id"]) not in decisions or data["decision_seq"] >= seq
            for seq, data in openings
        ),
    )
    on_screen = [item for item in seen.of(*ALARMS) if item["seq"] in seen.screen_s]
    put("alarms", len(on_screen))
    put("images", len(seen.image_s))
    if on_screen:
        put(
            "alarm_to_screen_p99_ms",
            _p99([1e3 * _lag_s(rate, seen, item, item) / rate for item in on_screen]),
        )
    if offered := _offered_s(rate, seen):
        put("decision_offered_s", max(offered))
    waits = [
        rate * (seen.image_s[scan] - seen.columns_s[scan]) for scan in seen.image_s.keys() & seen.columns_s
    ]
    if waits:
        put("image_available_s", max(waits))
    counts = Counter(item["seq"] for item in seen.records)
    if counts:
        missing = set(range(1, max(counts) + 1)) - counts.keys()
        unseen = set(range(1, max(seen.screen_s, default=0) + 1)) - seen.screen_s.keys()
        put("records_lost", len(missing) + len(unseen) + seen.breaks)
        put("records_doubled", counts.total() - len(counts))


def _lag_s(rate: float, seen: Seen, said: dict[str, Any], shown: dict[str, Any]) -> float:
    """Return seconds of the lane's clock from the stamp of one record to another one's way to the screen.

    Too short by the way of the quickest beat (about a millisecond): from it the two clocks are compared.
    """
    arrived_us = rate * 1e6 * seen.screen_s[shown["seq"]] + seen.ahead_us
    lag_us: float = arrived_us - said["event"]["data"]["stamp"]["utc_us"]
    return lag_us / 1e6


def _offered_s(rate: float, seen: Seen) -> list[float]:
    """Return for each inspection how long after the last word of a device the officer could decide."""
    last: dict[str, dict[str, Any]] = {}
    offered: dict[str, float] = {}
    for item in seen.of(*DEVICE_SAID, "carril.decision.requested"):
        inspection = item["event"]["data"]["inspection_id"]
        if item["event"]["type"] in DEVICE_SAID:
            last[inspection] = item
        elif inspection in last and item["seq"] in seen.screen_s:
            offered.setdefault(inspection, _lag_s(rate, seen, last[inspection], item))
    return list(offered.values())


def _p99(values: list[float]) -> float:
    """Return the 99th percentile by nearest rank; below a hundred values that is the greatest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


async def stop(bench: Bench, _: NoArgs, put: Put) -> None:
    """Stop the station; without one there is nothing to do."""
    if Child in bench.parts:
        put("exit_code", await bench.part(Child).stop())


_LOOK = "Look at the station's load, at its log and at the disk"
_RECORD = f"Report it with {FEED_FILE} and {LOG_FILE} of this run"
_DEVICES = f"See in {FEED_FILE} of this run which truck is missing, and which device was silent then"

STEPS = {
    "lane.start": Step(Start, {}, start),
    "lane.trucks": Step(
        Trucks,
        {
            "sealed": Gives("1", "A truck did not get through the lane", _DEVICES),
            "barrier_openings": Gives("1", "A truck was not let out, or the arm opened twice", _DEVICES),
            "openings_without_decision": Gives("1", "The arm opened without an officer's order",
                                               f"Take the lane out of service; {FEED_FILE} says when"),
            "alarms": Gives("1", "No alarm was raised although a truck carries a source", _DEVICES),
            "alarm_to_screen_p99_ms": Gives("ms", "The station is too slow or the disk too busy", _LOOK),
            "decision_offered_s": Gives("s", "The lane waits for something that never comes", _LOOK),
            "image_available_s": Gives("s", "The image is computed or stored too slowly", _LOOK),
            "images": Gives("1", "A scan gave no image, or its bytes are not those of the record", _DEVICES),
            "records_lost": Gives("1", "The feed or the screens' stream has a hole", _RECORD),
            "records_doubled": Gives("1", "The feed sent a record twice", _RECORD),
        },
        trucks,
    ),
    "lane.stop": Step(
        NoArgs,
        {"exit_code": Gives("1", "The station did not stop by itself", "Read its log")},
        stop,
    ),
}  # fmt: skip

"""A real daemon as a subprocess: temporary state folder, free port, its public routes, kill and stop.

The scripted officer steps back while somebody touches a screen: ``officer_away`` does that, so that a
test decides by itself. Real seconds are the lane's seconds divided by ``rate``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent.parent
CARRIL = (str(Path(sys.executable).parent / "carril"),)
START_LIMIT_S = 40.0
POLL_S = 0.05

Record = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers and bytes of an answer; no status raises."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(slots=True)
class Station:
    """One station on one state folder; may be started, killed and started again."""

    lane_file: Path
    state: Path
    log: Path
    options: tuple[str, ...] = ()
    """More arguments of ``carril run``."""
    port: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    """Where the station's driver meets each emulated device."""
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """More environment of the daemon and of its emulators."""
    _feed: list[Record] = field(default_factory=list)
    """What was read since the last start; ``_place`` is where the next reading goes on."""
    _place: str = ""

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the daemon and wait until it serves; AssertionError with its log when it does not."""
        self.until_served(self.launch())

    def launch(self) -> int:
        """Start the daemon; return how many bytes its log had before."""
        where = ("--lane", str(self.lane_file), "--state", str(self.state), "--port", "0")
        command = [*CARRIL, "run", *where, *self.options]
        began = self.log.stat().st_size if self.log.exists() else 0
        self._feed, self._place = [], ""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | {"PYTHONFAULTHANDLER": "1"} | self.environment,
            )
        return began

    def until_served(self, began: int) -> None:
        """Wait until it serves; ``began`` is where its log stood."""

        def told() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"the daemon ended: {self.said()}"
            return "Ctrl-C stops" in self.said()[began:]

        try:
            self.until(told, "the daemon serves", START_LIMIT_S)
        except AssertionError:
            if not self.alive:
                raise
            self.process.send_signal(signal.SIGABRT)  # it says where it stands
            self.process.wait(10)
            raise AssertionError(f"the daemon does not serve: {self.said()[began:]}") from None
        said = self.said()[began:]
        self.port = int(re.findall(r"screen +http://127\.0\.0\.1:(\d+)/", said)[0])
        self.ports = {name: int(p) for name, p in re.findall(r"(\w+) +emulated on 127\.0\.0\.1:(\d+)", said)}
        assert self.get("/healthz").status == 200

    def kill(self) -> None:
        """End the daemon as a power cut would: SIGKILL to it alone; its child ends by itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """Ask it to end (SIGTERM); return the seconds that it took. It must end well."""
        assert self.process is not None
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        assert code == 0, f"the daemon ended with {code}: {self.said()}"
        return time.monotonic() - began_s

    def end(self) -> None:
        """End whatever is left of the process group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def alive(self) -> bool:
        """Whether the daemon runs."""
        return self.process is not None and self.process.poll() is None

    def said(self) -> str:
        """Return everything that it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def carril(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the command line against the same state folder."""
        command = [*CARRIL, *arguments, "--state", str(self.state)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    def fault(self, device: str, fault: str, for_s: float | None = None) -> None:
        """What ``carril sim fault`` does, without a new interpreter; ``for_s`` is in real seconds."""
        control = json.loads((self.state / "simulation.json").read_text())["control"]
        order = {"device": device, "fault": fault, "for_s": for_s}
        with socket.create_connection(("127.0.0.1", control), 5) as link, link.makefile("rwb") as lines:
            lines.write(json.dumps(order).encode() + b"\n")
            lines.flush()
            assert json.loads(lines.readline()) == {"ok": True}

    # --- its routes ---------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Send one request."""
        head = {"Content-Type": "application/json", "X-Carril": "1", **(headers or {})}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, head, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - http, above
                return Reply(reply.status, dict(reply.headers), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, dict(error.headers), error.read())

    def get(self, path: str, **headers: str) -> Reply:
        """GET a path."""
        return self.call("GET", path, headers=headers)

    def post(self, path: str, body: Any, key: str | None = None) -> Reply:
        """POST a command, with a fresh idempotency key unless one is given."""
        return self.call("POST", path, body, {"Idempotency-Key": key or str(uuid.uuid4())})

    def lane(self) -> Any:
        """Return the snapshot of now."""
        return self.get("/v1/lane").json()

    def device(self, name: str) -> str:
        """Return a device's state."""
        return str(self.device_view(name)["state"])

    def device_view(self, name: str) -> Any:
        """Return a device as the screen shows it: state and cause."""
        return next(device for device in self.lane()["devices"] if device["name"] == name)

    def all_online(self) -> bool:
        """Whether every device is online."""
        return all(device["state"] == "online" for device in self.lane()["devices"])

    def starved(self, after: int, struck: str) -> bool:
        """Whether a device that nobody struck fell silent after this record: the computer is too busy."""
        news = self.records("device_health.changed", to="stale", cause="silence")
        return any(record["seq"] > after and record["device"] != struck for record in news)

    def assert_sound(self) -> None:
        """What no fault may change: it lives, no driver crashed, no arm went up without a recorded order."""
        assert self.alive, self.said()[-3000:]
        reports = [path.read_text() for path in (self.state / "crash").glob("*")]
        assert not reports, reports[0]
        orders = {record["seq"] for record in self.records("decision.recorded")}
        assert {moved["decision_seq"] for moved in self.records("barrier.moved", to="up")} <= orders
        assert not self.records("lane_alarm.raised", code="barrier_moved_unordered")

    def feed(self) -> list[Record]:
        """Return every record (``seq`` beside the event's own fields), proven dense from the first.

        What has been read since the last start is not asked for again.
        """
        while True:
            if not self._place:
                begin = self.get("/v1").json()
                self._place = f"after={begin['first_seq'] - 1}&epoch={begin['epoch']}"
            page = self.get(f"/v1/feed?{self._place}&limit=2000&include=simulated").json()
            begun = self._feed[0]["seq"] if self._feed else int(page["next"]) - len(page["items"]) + 1
            for item in page["items"]:
                assert item["seq"] == begun + len(self._feed), "the feed has a gap"
                self._feed.append({"seq": item["seq"], **item["event"]})
            self._place = f"after={page['next']}&epoch={page['epoch']}"
            if not page["more"]:
                return list(self._feed)

    def records(self, kind: str, **data: Any) -> list[Record]:
        """Return the data of all records of a kind (``inspection.sealed``) that have these values."""
        found = [{"seq": r["seq"], **r["data"]} for r in self.feed() if r["type"] == f"carril.{kind}"]
        return [r for r in found if all(r.get(name) == value for name, value in data.items())]

    def decide(self, verdict: str, seen: Any, key: str | None = None) -> Reply:
        """Give an order for the inspection (of a snapshot) that was seen."""
        body = {"inspection_id": seen["inspection_id"], "version": seen["version"], "verdict": verdict}
        return self.post("/v1/lane/decisions", body, key)

    # --- vehicles -----------------------------------------------------------------------------

    def next_vehicle(self) -> str:
        """Wait until a vehicle has just come and return its inspection; one that waits is sent on first.

        The scripted officer must be away.
        """
        seen = self.lane()["inspection"]
        if seen is not None and seen["state"] != "open":
            self.send_on(seen["inspection_id"])

        def came() -> Any:
            return (self.lane()["inspection"] or {}).get("inspection_id")

        return str(self.until(came, "a vehicle comes"))

    def send_on(self, inspection_id: str, limit_s: float = 45.0) -> Record:
        """Order Secondary as soon as the lane asks, as often as it asks; return the sealed record."""

        def sealed() -> list[Record]:
            seen = self.lane()["inspection"] or {}
            if (seen.get("inspection_id"), seen.get("state")) == (inspection_id, "awaiting_decision"):
                self.decide("secondary", seen)
            return self.records("inspection.sealed", inspection_id=inspection_id)

        return self.until(sealed, f"{inspection_id} is sealed", limit_s)[0]

    # --- waiting ------------------------------------------------------------------------------

    def until(self, what: Callable[[], T], sentence: str, limit_s: float = 30.0) -> T:
        """Ask again until the answer is true, at most ``limit_s`` (real); return the answer."""
        ends_s = time.monotonic() + limit_s
        while not (answer := what()):
            assert time.monotonic() < ends_s, f"not within {limit_s} s: {sentence}\n{self.said()[-3000:]}"
            time.sleep(POLL_S)
        return answer

    def until_state(self, *states: str, limit_s: float = 30.0) -> Any:
        """Wait until the vehicle in the lane is in one of these states; return its inspection."""

        def there() -> Any:
            inspection = self.lane()["inspection"]
            return inspection if inspection is not None and inspection["state"] in states else None

        return self.until(there, f"an inspection is {' or '.join(states)}", limit_s)

    @contextlib.contextmanager
    def officer_away(self) -> Iterator[None]:
        """Touch a screen again and again, so that the scripted officer decides nothing."""
        ended = threading.Event()
        touched = threading.Event()

        def touch() -> None:
            body = {"visible": True, "audio": "none", "touched_s": 0}
            while not ended.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self.call("PUT", "/v1/lane/screens/test", body)
                    touched.set()
                ended.wait(0.3)

        thread = threading.Thread(target=touch, name="touches the screen")
        thread.start()
        touched.wait(5)
        try:
            yield
        finally:
            ended.set()
            thread.join()


def lane_file(folder: Path, scenario: str, rate: float) -> Path:
    """Write the demonstration's lane file with another scenario and rate; return its path."""
    text = (ROOT / "config/lanes/demo.toml").read_text(encoding="utf-8")
    old = 'scenario = "demo"'
    assert old in text
    text = text.replace(old, f'scenario = "{scenario}"\nrate = {rate}')
    board = 'driver = "modbus_io"\nmode = "emulated"'
    assert board in text
    # A polled board is stale after 0.5 s of the lane: too little of a busy computer's time at such a rate.
    text = text.replace(board, f"{board}\nstale_after_s = {0.5 * rate}")
    path = folder / "lane.toml"
    path.write_text(text, encoding="utf-8")
    return path


TRUCK = """
[[truck]]
name = "truck {n}"
plate = "{plate}"
load = "machine"
cab = "{cab}"
speed_mps = 5.0
length_m = 8.0
seed = {n}
"""
CABS = ("white", "blue", "green", "sand", "red")


def short_trucks(folder: Path, count: int = 5) -> tuple[str, ...]:
    """Return the options of ``carril run`` for short trucks close behind each other, no two alike."""
    trucks = [TRUCK.format(n=n, plate=f"LXR 48{n:02}", cab=CABS[n % len(CABS)]) for n in range(count)]
    path = folder / "trucks.toml"
    path.write_text('title = "Short trucks, one behind the other"\ngap_s = 0.0\n' + "".join(trucks), "utf-8")
    return ("--scenario", str(path))


@contextlib.contextmanager
def running_station(
    folder: Path,
    scenario: str = "demo",
    rate: float = 5.0,
    options: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    more: str = "",
) -> Iterator[Station]:
    """Give a running lane, ``more`` at the end of its file; all that it started is ended afterwards."""
    path = lane_file(folder, scenario, rate)
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    station = Station(path, folder / "state", folder / "daemon.log", options)
    station.environment.update(environment or {})
    try:
        station.start()
        yield station
    finally:
        station.end()

"""The lane's events, folded into a tally for each hour (UTC) and kind as they happen.

It reads the events in the form that the journal has, so that a restart folds the records of the hour that it
broke in the same way. An event counts for the hour of its own stamp. Durations are of monotonic time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from drivers.readings import Counts, Phase, Stamp
from imaging.radiation.health import BLOCK, block_dispersion
from station.domain.alarms import LATE
from station.domain.statistics import HOUR_US, Kind, Tally, kind_of, rounded

MOST_DISPERSIONS = 500
"""Of one panel in one tally: forty hours of records that come each 5 s."""
MOST_ALARMED = 64
"""Vehicles with an alarm that wait for a decision."""
UP = frozenset({"online", "degraded"})
STARTED, COUNTED = "carril.lane.started", "carril.hour.counted"
FAULTS = {"gamma_fault": "gamma_faults", "neutron_fault": "neutron_faults", "device_fault": None}
"""Causes of a degraded portal that are faults which it reports itself."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_FORMAT = "%Y-%m-%dT%H"

Tree = dict[str, Any]
Place = tuple[int, Kind]
"""Hour since 1970 (UTC), and what its records are of."""


def hour_name(hour: int) -> str:
    """Return an hour since 1970 as ``YYYY-MM-DDTHH``."""
    return f"{EPOCH + timedelta(hours=hour):{HOUR_FORMAT}}"


def hour_of(name: str) -> int:
    """Return the hour since 1970 of ``YYYY-MM-DDTHH``; raises ``ValueError``."""
    return (datetime.strptime(name, HOUR_FORMAT).replace(tzinfo=UTC) - EPOCH) // timedelta(hours=1)


def more(tree: Tree, amount: float, *path: str) -> None:
    """Add to a number in a tree; what is not there is 0."""
    *way, last = path
    for step in way:
        tree = tree.setdefault(step, {})
    tree[last] = tree.get(last, 0) + amount


class Hours:
    """Tallies that nobody has taken yet."""

    def __init__(self, devices: Mapping[str, Sequence[str]]) -> None:
        """``devices`` are all of the lane, with the names of their panels (portals alone have any)."""
        self._devices = devices
        self._tallies: dict[Place, Tree] = {}
        self._place: Place = (0, "real")
        self._last: tuple[str, int] | None = None
        """Boot and monotonic time of what came last."""
        self._down: dict[str, str] = {}
        self._causes: dict[str, frozenset[str]] = {}
        self._alarmed: dict[str, tuple[str, int]] = {}
        self._blocks: dict[tuple[str, str, str], list[int]] = {}

    # --- what comes in ----------------------------------------------------------------------------

    def tick(self, utc_us: int, mono_us: int, boot_id: str, kind: Kind) -> Tree:
        """Let time pass: it belongs to the hour in which it began. Returns the tally of now."""
        if self._last is not None and self._last[0] == boot_id and mono_us > self._last[1]:
            passed_s = (mono_us - self._last[1]) / 1e6
            tally = self._tallies.setdefault(self._place, {})
            more(tally, passed_s, "covered_s")
            for device, cause in self._down.items():
                more(tally, passed_s, "down_s", device, cause)
        self._last = boot_id, mono_us
        self._place = utc_us // HOUR_US, kind
        return self._tallies.setdefault(self._place, {})

    def take(self, type_: str, data: Mapping[str, Any]) -> None:
        """Take one event as the journal has it."""
        if type_ == STARTED:
            self._last = None  # nobody ran before it
        stamp = data["stamp"]
        tally = self.tick(stamp["utc_us"], stamp["mono_us"], stamp["boot_id"], kind_of(data))
        if type_ in self._TAKES:
            self._TAKES[type_](self, tally, data)

    def background(self, device: str, reading: Counts, now: Stamp, kind: Kind, *, averaged: bool) -> None:
        """Take counts of a portal; only those of the vacant portal say something of its panels."""
        if reading.phase != Phase.BACKGROUND:
            return
        tally = self.tick(now.utc_ns // 1000, now.mono_ns // 1000, now.boot_id, kind)
        channels = tally.setdefault("panels", {}).setdefault(device, {})
        panels = channels.setdefault(str(reading.channel), {})
        names = self._devices.get(device, ())
        for index, count in enumerate(reading.counts):
            if count is None:
                continue
            name = names[index] if index < len(names) else str(index + 1)
            panel = panels.setdefault(name, {"dispersions": []})
            more(panel, 1, "records")
            more(panel, count, "counts")
            more(panel, reading.interval_s, "counted_s")
            self._scatter(panel["dispersions"], (device, str(reading.channel), name), count, averaged)

    def _scatter(self, found: list[float], whose: tuple[str, str, str], count: int, averaged: bool) -> None:
        block = self._blocks.setdefault(whose, [])
        block.append(count)
        if len(block) == BLOCK:
            figure = block_dispersion(block, averaged=averaged)
            block.clear()
            if figure is not None and len(found) < MOST_DISPERSIONS:
                found.append(figure)

    # --- what comes out ---------------------------------------------------------------------------

    @property
    def down(self) -> dict[str, str]:
        """The devices that are down now, with the cause."""
        return dict(self._down)

    def all(self) -> Iterator[tuple[Place, Tally]]:
        """Yield what nobody has taken."""
        for place, tally in sorted(self._tallies.items()):
            if tally:
                yield place, Tally.model_validate(rounded(tally))

    def over(self, *, whole: bool = False) -> list[tuple[Place, Tally]]:
        """Take the tallies of hours that are over; with ``whole`` that of the running hour as well."""
        taken = [(place, tally) for place, tally in self.all() if whole or place != self._place]
        self._tallies = {} if whole else {self._place: self._tallies.get(self._place, {})}
        return taken

    # --- events -----------------------------------------------------------------------------------

    def _started(self, tally: Tree, data: Mapping[str, Any]) -> None:
        self._down = dict.fromkeys(self._devices, "starting")
        self._causes = {}

    def _counted(self, tally: Tree, data: Mapping[str, Any]) -> None:
        """A tally was taken: what came before of its hour is in it, and nothing of another hour is."""
        self._tallies.pop((hour_of(data["hour"]), kind_of(data)), None)
        self._down = dict(data["down"])

    def _health(self, tally: Tree, data: Mapping[str, Any]) -> None:
        device, cause = data["device"], data["cause"]
        if data["to"] in UP:
            self._down.pop(device, None)
        else:
            self._down[device] = cause or data["to"]
        causes = frozenset((cause or "").split(",")) if data["to"] == "degraded" else frozenset()
        before, self._causes[device] = self._causes.get(device, frozenset()), causes
        for fault in (causes - before) & FAULTS.keys() if self._devices.get(device) else ():
            more(tally, 1, "faults")
            if (channel := FAULTS[fault]) is not None:
                more(tally, 1, channel)

    def _occupancy(self, tally: Tree, data: Mapping[str, Any]) -> None:
        more(tally, 1, "occupancies")
        alarms = [channel for channel in ("gamma", "neutron") if data.get(f"{channel}_alarm")]
        if alarms:
            more(tally, 1, "_".join(alarms))
        if not data["complete"]:
            more(tally, 1, "incomplete", data.get("close_reason", "unknown"))
        if data.get("suppression") is not None:
            tally.setdefault("suppressions", {}).setdefault(data["device"], []).append(data["suppression"])

    def _amended(self, tally: Tree, data: Mapping[str, Any]) -> None:
        """Later facts: an occupancy that ended, or was told, after the seal of its inspection; a finding."""
        fields = data["fields"]
        if data["what"] == "occupancy":
            self._occupancy(tally, {"device": data["device"], **fields})
        elif data["what"] == "report":
            self._reported(tally, data)
        elif data["what"] == "adjudication":
            raised = self._tallies.setdefault((fields["raised_utc_us"] // HOUR_US, kind_of(data)), {})
            more(raised, 1, "codes", str(fields["code"]))
            more(raised, -1, "codes", str(fields["before"]))

    def _reported(self, tally: Tree, data: Mapping[str, Any]) -> None:
        """A portal told afterwards of a vehicle that has left, or of nobody that this lane knows."""
        if data.get("occupancy"):  # else it was counted before
            self._occupancy(tally, data["occupancy"])

    def _late_alarm(self, tally: Tree, data: Mapping[str, Any]) -> None:
        if data["code"] in LATE.values():
            more(tally, 1, "alarms")
            more(tally, 1, "codes", "0")

    def _alarm(self, tally: Tree, data: Mapping[str, Any]) -> None:
        more(tally, 1, "alarms")
        more(tally, 1, "codes", "0")
        stamp = data["stamp"]
        self._alarmed.setdefault(data["inspection_id"], (stamp["boot_id"], stamp["mono_us"]))
        while len(self._alarmed) > MOST_ALARMED:
            del self._alarmed[next(iter(self._alarmed))]

    def _decision(self, tally: Tree, data: Mapping[str, Any]) -> None:
        boot_id, raised_us = self._alarmed.pop(data["inspection_id"], ("", 0))
        if boot_id == data["stamp"]["boot_id"]:
            waited_s = (data["stamp"]["mono_us"] - raised_us) / 1e6
            tally.setdefault("decisions_s", []).append(waited_s)

    def _disagreed(self, tally: Tree, data: Mapping[str, Any]) -> None:
        more(tally, 1, "disagreed", data["relation"])

    def _missed(self, tally: Tree, data: Mapping[str, Any]) -> None:
        more(tally, data["missed"], "missed")

    def _noted(self, tally: Tree, data: Mapping[str, Any]) -> None:
        if data["code"] == "extended":
            more(tally, 1, "extended")

    def _tamper(self, tally: Tree, data: Mapping[str, Any]) -> None:
        more(tally, 1, "tampers")

    _TAKES: ClassVar[Mapping[str, Callable[[Hours, Tree, Mapping[str, Any]], None]]] = {
        STARTED: _started,
        COUNTED: _counted,
        "carril.device_health.changed": _health,
        "carril.occupancy.ended": _occupancy,
        "carril.inspection.amended": _amended,
        "carril.radiation_alarm.raised": _alarm,
        "carril.lane_alarm.raised": _late_alarm,
        "carril.report.unattributed": _reported,
        "carril.decision.recorded": _decision,
        "carril.radiation_opinion.disagreed": _disagreed,
        "carril.counts.missed": _missed,
        "carril.portal.noted": _noted,
        "carril.tamper.opened": _tamper,
    }

"""A lane without devices, threads or disk: readings in, events and outputs out, time moved by hand."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers.readings import (
    CameraRead,
    Channel,
    Counts,
    DeviceFlag,
    Inputs,
    OccupancyEnd,
    Phase,
    Picture,
    Reading,
    ScanClosed,
    ScanKey,
    ScanKind,
    ScanOpened,
    Stamp,
)
from station.cli.before import REMEMBERED, directive_of
from station.domain.events import Event
from station.domain.values import ScanSummary, Verdict
from station.domain.view import DeviceView, InspectionView
from station.lane.commands import Command, Decide
from station.lane.core import LaneFacts, Passage
from station.lane.effects import (
    Append,
    Effect,
    EndScan,
    KeepPictures,
    KeepReport,
    KeepTrace,
    ScanReady,
    SetOutputs,
    Suspect,
    TakeReport,
)
from station.lane.lane import Lane
from station.lane.rawfile import LeftOver
from station.lane.restart import Before, Record, alarms_before, found_open, portals_before
from station.lane.vault import keep_pictures, keep_report, keep_trace
from station.store import schema
from station.store.directives import StoredDirective, note, open_directives
from station.store.readers import Tip, View
from tests.support.imaging_lane import Shelf
from tests.support.lane_facts import REST, SCANNER, facts


@contextlib.contextmanager
def projection(told: Sequence[Record]) -> Iterator[sqlite3.Connection]:
    """Give the journal's tables of directives as the records leave them."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for statement in schema.create_statements("directive", "legal_hold"):
            connection.execute(statement)
        for seq, kind, data in told:
            note(connection, seq, kind, data.get("inspection_id") or "", data)
        yield connection


def directives_before(told: Sequence[Record]) -> list[StoredDirective]:
    """Return the open directives as the journal's own table has them."""
    with projection(told) as connection:
        return open_directives(View(connection, Tip(bytes(16), 1, told[-1][0], bytes(32))))


@dataclass
class Rig:
    """One lane under test; appends are durable at once unless ``broken``."""

    lane_facts: LaneFacts = field(default_factory=facts)
    now_s: float = 1000.0
    broken: bool = False
    events: list[Event] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    outputs: dict[str, bool] = field(default_factory=dict)
    inputs: dict[str, bool] = field(default_factory=lambda: dict(REST))
    scan_result: dict[str, Any] = field(default_factory=dict)
    suspected: dict[tuple[str, str], bool] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    """Reports of which the device was told that they are durable."""
    appends: list[Append] = field(default_factory=list)
    hold_appends: bool = False
    """Whether the disk takes its time."""
    _held: list[Append] = field(default_factory=list)
    vault: Any = field(default_factory=Shelf)
    seq: int = 0
    device_count: int = 7
    invented: bool = False
    """Whether the scanner says that its lines are simulated."""
    scan_key: ScanKey = field(default_factory=lambda: ScanKey(1, 0))

    def __post_init__(self) -> None:
        self.lane = Lane(self.lane_facts, self.stamp(), lambda: f"id-{next(self.ids)}")
        self.carry(self.lane.start("test", Before(), self.stamp()))
        for device in self.lane_facts.devices:
            if not device.board:
                self.health(device.name, "online")
        self.board()
        self.carry(self.lane.tick(self.stamp()))

    def decide(self, verdict: str = "release", version: int | None = None) -> None:
        """Order something for the vehicle as it is now, or as it was at ``version``."""
        inspection = self.lane.core.inspection
        assert inspection is not None
        seen = inspection.version if version is None else version
        self.order(Decide(inspection.inspection_id, seen, Verdict(verdict), "O-1"))

    @property
    def locks(self) -> list[str]:
        """Codes of the locks on Release."""
        assert self.lane.core.inspection is not None
        return [lock.code for lock in self.lane.core.inspection.locks]

    @property
    def seen(self) -> InspectionView:
        """The vehicle in the lane as a screen shows it."""
        view = self.lane.view().inspection
        assert view is not None
        return view

    def records(self) -> list[Record]:
        """Everything recorded, as the journal returns it."""
        return [
            (seq, event.type_name(), event.model_dump(mode="json", by_alias=True))
            for seq, event in enumerate(self.events, start=1)
        ]

    def found(self) -> Passage | None:
        """What the records of the inspection in the lane tell."""
        inspection = self.lane.core.inspection
        if inspection is None:
            return None
        subject = inspection.inspection_id
        return found_open(
            self.lane_facts, [r for r in self.records() if r[2].get("inspection_id") == subject]
        )

    def restart(
        self, before: Sequence[Passage] = (), cut: Sequence[LeftOver] = (), away_s: float = 5.0
    ) -> None:
        """Kill the station and start it again, with what else was not sealed before the vehicle of now."""
        mine = self.found()
        told = self.records()[-REMEMBERED:]
        known = Before(
            open=(*before, *([] if mine is None else [mine])),
            alarms=alarms_before(told),
            portals=portals_before(told),
            directives=tuple(map(directive_of, directives_before(self.records()))),
            cut=tuple(cut),
            told=tuple(told),
            config_sha256=self.lane_facts.config_sha256,
        )
        self.now_s += away_s
        quality = self.lane.core.clock_quality
        self.lane = Lane(self.lane_facts, self.stamp(), lambda: f"id-{next(self.ids)}")
        self.lane.core.clock_quality = quality
        self.outputs.clear()
        self.carry(self.lane.start("test", known, self.stamp()))
        for device in self.lane_facts.devices:
            if not device.board:
                self.health(device.name, "online")
        self.board()

    def stamp(self) -> Stamp:
        return Stamp(1_795_000_000_000_000_000 + round(self.now_s * 1e9), round(self.now_s * 1e9), "boot")

    def carry(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SetOutputs):
                self.outputs = dict(effect.outputs)
            elif isinstance(effect, Suspect):
                self.suspected[effect.device, effect.code] = effect.on
            elif isinstance(effect, Append):
                self._append(effect)
            elif isinstance(effect, KeepPictures):
                self.carry(self.lane.result(keep_pictures(self.vault.keep, effect), self.stamp()))
            elif isinstance(effect, KeepTrace):
                self.carry(self.lane.result(keep_trace(self.vault.keep, effect), self.stamp()))
            elif isinstance(effect, KeepReport):
                self.carry(self.lane.result(keep_report(self.vault.keep, effect), self.stamp()))
            elif isinstance(effect, TakeReport):
                self.taken.append(effect.key)
            elif isinstance(effect, EndScan):
                self._scan_ready(effect)

    def take_held(self) -> list[Append]:
        """Return the appends that wait for the disk, which is then as always."""
        held, self._held, self.hold_appends = self._held, [], False
        return held

    def release_appends(self) -> None:
        """The disk answers."""
        for append in self.take_held():
            self._append(append)

    def _append(self, append: Append) -> None:
        if self.hold_appends:
            self._held.append(append)
            return
        if self.broken:
            self.carry(self.lane.not_stored(append.token, "cannot_record", self.stamp()))
            return
        first = self.seq + 1
        self.seq += len(append.events)
        self.events += append.events
        self.appends.append(append)
        self.carry(self.lane.stored(append.token, first, self.stamp()))

    def _scan_ready(self, work: EndScan) -> None:
        values = {"state": "complete", "cause": work.cause, **self.scan_result}
        summary = ScanSummary(scan_id=work.scan_id, device=work.device, lines=100, **values)
        self.carry(self.lane.result(ScanReady(work.scan_id, summary, {}), self.stamp()))

    # --- devices ----------------------------------------------------------------------------------

    def read(self, device: str, reading: Reading) -> None:
        self.carry(self.lane.accept(device, reading, self.stamp()))

    def health(self, name: str, state: str, cause: str | None = None) -> None:
        device = next(d for d in self.lane_facts.devices if d.name == name)
        before = self.lane.core.devices[name].state if name in self.lane.core.devices else "starting"
        view = DeviceView.model_validate(
            {
                "name": name,
                "role": device.role,
                "mode": "emulated",
                "required": device.role != "DigitalIo",
                "state": state,
                "cause": cause,
            }
        )
        self.carry(self.lane.health(view, before, self.stamp()))

    def board(self, **values: bool) -> None:
        self.inputs.update(values)
        self.read("io1", Inputs(self.stamp(), dict(self.inputs)))

    def counts(
        self, channel: Channel, phase: Phase, counts: tuple[int | None, ...], flag: str = "none"
    ) -> None:
        interval_s = 0.2 if channel == Channel.GAMMA and phase == Phase.SCAN else 1.0
        self.read("rpm1", Counts(self.stamp(), channel, phase, interval_s, counts, DeviceFlag(flag)))

    def background(self, records: int = 6) -> None:
        for record in range(records):
            more = (
                600 + record % 2,
                600 - record % 2,
            )  # the same again and again would be a panel that is stuck
            self.counts(Channel.GAMMA, Phase.BACKGROUND, more * 2)
            self.counts(Channel.NEUTRON, Phase.BACKGROUND, (1, 0, 1, 0))
            self.wait(5.0)

    def occupancy(self, gamma: str = "none", neutron: str = "none", end: bool = True) -> None:
        for second in range(3):
            for step in range(5):
                hit = gamma if (second, step) == (1, 2) else "none"
                self.counts(Channel.GAMMA, Phase.SCAN, (120, 120, 120, 120), hit)
                self.wait(0.2)
            hit = neutron if second == 1 else "none"
            self.counts(Channel.NEUTRON, Phase.SCAN, (1, 0, 1, 1), hit)
        if end:
            self.device_count += 1
            self.read("rpm1", OccupancyEnd(self.stamp(), self.device_count))
            self.wait(1.4)

    def scan(
        self,
        *,
        end: bool = True,
        aborted: str | None = None,
        encoder: bool = True,
        key: ScanKey | None = None,
        resent: bool = False,
    ) -> None:
        self.scan_key = key = key or ScanKey(1, self.seq)
        self.read(
            "scanner1",
            ScanOpened(
                self.stamp(),
                key,
                ScanKind.VEHICLE,
                8,
                1,
                0.002,
                65535,
                encoder,
                resent,
                SCANNER,
                b"",
                self.invented,
            ),
        )
        if end:
            self.wait(3.0)
            self.close_scan(aborted)

    def close_scan(self, aborted: str | None = None) -> None:
        """End the scan that was begun last."""
        self.read("scanner1", ScanClosed(self.stamp(), self.scan_key, 100, 0, None, aborted))

    def camera_read(
        self, text: str = "R4K7719", confidence: float | None = 0.97, late: bool = False
    ) -> CameraRead:
        pictures = (Picture("scene", b"\xff\xd8%d" % self.stamp().mono_ns),)
        return CameraRead(self.stamp(), "plate", text, "US-TX", confidence, "e1", "", late, pictures, b"body")

    def plate(self, text: str = "R4K7719", confidence: float | None = 0.97, late: bool = False) -> None:
        self.read("lpr1", self.camera_read(text, confidence, late))

    def wait(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            self.now_s = min(end_s, self.now_s + 0.1)
            self.board()
            self.carry(self.lane.tick(self.stamp()))

    # --- a whole truck ----------------------------------------------------------------------------

    def arrive(self, *, gamma: str = "none", neutron: str = "none", plate: str = "R4K7719") -> None:
        """Drive a truck through loop, portal, camera and scanner up to the booth."""
        self.board(entry_loop=True)
        self.wait(1.0)
        self.board(entry_loop=False)
        self.occupancy(gamma, neutron)
        self.plate(plate)
        self.scan()
        self.board(booth_loop=True)
        self.wait(0.6)

    def enter(self) -> None:
        """Touch the entry loop alone."""
        self.board(entry_loop=True)
        self.board(entry_loop=False)

    def codes(self) -> dict[str, str]:
        """Return each alarm that stands, and its state."""
        return {alarm.code: alarm.state for alarm in self.lane.core.book}

    def leave(self) -> None:
        """Drive away under a raised arm."""
        self.board(barrier_down=False)
        self.wait(1.8)
        self.board(barrier_up=True)
        self.board(obstruction=True)
        self.board(exit_loop=True)
        self.board(booth_loop=False)
        self.wait(1.0)
        self.board(obstruction=False)
        self.board(exit_loop=False)
        self.wait(1.0)
        self.board(barrier_up=False)
        self.wait(1.8)
        self.board(barrier_down=True)
        self.wait(0.2)

    def order(self, command: Command) -> None:
        self.carry(self.lane.command(command, self.stamp(), "screen", "key-00000001", "00" * 32))

    def types(self) -> list[str]:
        return [event.type_name().removeprefix("carril.") for event in self.events]

    def last(self, kind: str) -> Any:
        return next(e for e in reversed(self.events) if e.type_name() == f"carril.{kind}")

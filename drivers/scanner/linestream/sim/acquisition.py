"""The acquisition of the emulated scanner: dark and air once, then every vehicle in the plane, line by line.

It has no clock of its own: ``step`` looks at the plant and makes the lines that are due since the last look.
Vehicle lines follow the encoder, one every 8 mm, so that a vehicle that stops stops the lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from drivers.formats.linestream.codes import AbortReason, EndReason, GapReason, LineFlag, SourceState
from drivers.formats.linestream.messages import LINE_RECORD, Gap, Lines, ScanAbort, ScanBegin, ScanEnd, Status
from drivers.plant.column import DetectorColumn
from drivers.plant.phantom import Fan, Phantom
from drivers.plant.trucks import truck_solids
from drivers.plant.world import Plant
from drivers.scanner.linestream.sim.faults import Misbehaviour
from drivers.scanner.linestream.sim.front_end import FrontEnd

LINE_PITCH_M = 0.008
LINE_PERIOD_S = 0.002
UM_PER_TICK = 1_000
TICKS_PER_LINE = round(LINE_PITCH_M * 1e6) // UM_PER_TICK
MARGIN_M = 0.4
"""Air that is scanned before the nose and behind the tail."""
BLOCK_LINES = 64
FLUSH_S = 0.1
DARK_LINES, AIR_LINES = 1_000, 2_000
GAP_LINES = 16
"""Lines that the fault ``gap`` takes."""
STATUS_S = 1.0

VEHICLE, DARK, AIR = 1, 2, 3
FORWARD, TRUCK_MODE = 1, 1
TIME_TRIGGER, ENCODER_TRIGGER = 1, 2
EFFECTIVE_KEV = 1_250
CLOCK_FREE = 1

BEAM = LineFlag.BEAM_ON | LineFlag.SHUTTER_OPEN | LineFlag.MONITOR_VALID


@dataclass(slots=True)
class _Scan:
    """The scan that is being taken; ``times_s`` are lines that are due and not yet made."""

    kind: int
    lines: int
    """It ends by itself after so many."""
    begun_s: float
    passage: int = 0
    length_m: float = 0.0
    phantom: Phantom | None = None
    due: int = 0
    made: int = 0
    times_s: list[float] = field(default_factory=list)


class Acquisition:
    """Detector, source and encoder of one scanner."""

    def __init__(
        self, plant: Plant, fan: Fan, column: DetectorColumn, geometry_crc: int, faults: Misbehaviour
    ) -> None:
        """Stand idle; ``front_end`` is set by its owner at every boot."""
        self.calibrated = False
        self._plant = plant
        self._fan = fan
        self._column = column
        self._geometry_crc = geometry_crc
        self._faults = faults
        self._scan: _Scan | None = None
        self._done_passage = 0
        """Vehicle that needs no (further) scan."""
        self._seen_s = 0.0
        self._seen_at_m = float("-inf")
        self._odometer = 0
        self._frozen: NDArray[np.uint16] | None = None
        self._status_state = -1
        self._status_s = 0.0

    @property
    def phase(self) -> str:
        """What is being taken now."""
        kind = self._scan.kind if self._scan else 0
        return {VEHICLE: "vehicle", DARK: "dark", AIR: "air"}.get(kind, "idle")

    def abandon(self) -> None:
        """Forget the scan in progress: the device has restarted; this vehicle is not taken up again."""
        self._scan = None
        self._done_passage = self._plant.passage if self._at_m() > -MARGIN_M else self._done_passage

    def step(self, front: FrontEnd, now_s: float, utc_ns: int) -> None:
        """Make everything that is due; ``now_s`` is the device's monotonic time."""
        at_m = self._at_m()
        if self._plant.emergency_stop:
            self._stop(front)
        elif self._scan is None:
            self._perhaps_begin(front, now_s, utc_ns, at_m)
        if self._scan is not None:
            self._advance(front, self._scan, now_s, utc_ns, at_m)
        self._seen_s, self._seen_at_m = now_s, at_m
        self._perhaps_report(front, now_s, utc_ns, at_m)

    def _at_m(self) -> float:
        """Return what stands in the plane, in metres behind the nose; minus infinity without a vehicle."""
        return self._plant.scan_s_m if self._plant.vehicle is not None else float("-inf")

    def _in_plane(self, at_m: float) -> bool:
        vehicle = self._plant.vehicle
        return vehicle is not None and -MARGIN_M <= at_m <= vehicle.length_m + MARGIN_M

    # --- beginning and ending -------------------------------------------------------------------

    def _perhaps_begin(self, front: FrontEnd, now_s: float, utc_ns: int, at_m: float) -> None:
        vehicle = self._plant.vehicle if self._in_plane(at_m) else None
        if vehicle is not None and self._plant.passage != self._done_passage:
            lines = round((vehicle.length_m + 2 * MARGIN_M) / LINE_PITCH_M)
            phantom = Phantom(truck_solids(vehicle), self._fan)
            scan = _Scan(VEHICLE, lines, now_s, self._plant.passage, vehicle.length_m, phantom)
            self._begin(front, scan, utc_ns)
        elif vehicle is None and not self.calibrated and front.attached:
            self._begin(front, _Scan(DARK, DARK_LINES, now_s), utc_ns)

    def _begin(self, front: FrontEnd, scan: _Scan, utc_ns: int) -> None:
        self._scan = scan
        vehicle = scan.kind == VEHICLE
        front.begin(
            ScanBegin(
                kind=scan.kind,
                direction=FORWARD if vehicle else 0,
                mode=TRUCK_MODE,
                channels=1,
                detectors=self._fan.detectors,
                sample_format=1,
                trigger=ENCODER_TRIGGER if vehicle else TIME_TRIGGER,
                start_ns=round(scan.begun_s * 1e9),
                start_utc=utc_ns,
                clock=CLOCK_FREE,
                geometry_crc=self._geometry_crc,
                line_period_ns=round(LINE_PERIOD_S * 1e9),
                full_scale=self._column.model.full_scale,
                kev_0=EFFECTIVE_KEV,
                kev_1=0,
            )
        )

    def _stop(self, front: FrontEnd) -> None:
        """Emergency stop: the scan is aborted, and nothing restarts for this vehicle."""
        if self._scan is not None:
            self._abort(front, AbortReason.EMERGENCY_STOP, "emergency stop")
        self.abandon()

    def _abort(self, front: FrontEnd, reason: AbortReason, text: str) -> None:
        lines = front.open_scan.next_line if front.open_scan else 0
        front.end(ScanAbort(lines, reason, text))
        self._scan = None

    def _finish(self, front: FrontEnd, scan: _Scan, now_s: float, utc_ns: int) -> None:
        held = front.open_scan
        if held is not None:
            beam_s = 0.0 if scan.kind == DARK else now_s - scan.begun_s
            front.end(
                ScanEnd(
                    lines_total=held.next_line,
                    lines_lost=held.lost,
                    end_ns=round(now_s * 1e9),
                    encoder=self._odometer,
                    samples_crc=held.samples_crc,
                    beam_on_ms=round(beam_s * 1000),
                    reason=EndReason.NORMAL,
                )
            )
        self._scan = None
        if scan.kind == DARK:
            self._begin(front, _Scan(AIR, AIR_LINES, scan.begun_s + DARK_LINES * LINE_PERIOD_S), utc_ns)
        elif scan.kind == AIR:
            self.calibrated = True
        else:
            self._done_passage = scan.passage

    # --- lines ----------------------------------------------------------------------------------

    def _advance(self, front: FrontEnd, scan: _Scan, now_s: float, utc_ns: int, at_m: float) -> None:
        if scan.kind == VEHICLE:
            self._count_encoder(scan, now_s, at_m)
        elif self._in_plane(at_m):
            self._abort(front, AbortReason.OPERATOR, "a vehicle came before the calibration was complete")
            return
        else:
            due = min(scan.lines, int((now_s - scan.begun_s) / LINE_PERIOD_S))
            scan.times_s += [scan.begun_s + line * LINE_PERIOD_S for line in range(scan.due, due)]
            scan.due = due
        self._take_gap(front, scan)
        while scan.times_s and (
            len(scan.times_s) >= BLOCK_LINES or now_s - scan.times_s[0] >= FLUSH_S or scan.due == scan.lines
        ):
            front.add(self._make(scan, scan.times_s[:BLOCK_LINES]))
            del scan.times_s[:BLOCK_LINES]
        if scan.made == scan.lines:
            self._finish(front, scan, now_s, utc_ns)

    def _count_encoder(self, scan: _Scan, now_s: float, at_m: float) -> None:
        """Note when each line's place passed the plane: speed is even between two looks."""
        if self._plant.vehicle is None or self._plant.passage != scan.passage:
            at_m = scan.length_m + MARGIN_M  # it has left between two looks
        due = min(scan.lines, int((at_m + MARGIN_M) / LINE_PITCH_M) + 1)
        for line in range(scan.due, due):
            passed = (line * LINE_PITCH_M - MARGIN_M - self._seen_at_m) / (at_m - self._seen_at_m)
            even = np.isfinite(passed) and 0 <= passed <= 1
            scan.times_s.append(self._seen_s + passed * (now_s - self._seen_s) if even else now_s)
        scan.due = max(scan.due, due)

    def _take_gap(self, front: FrontEnd, scan: _Scan) -> None:
        """Lose lines, and say so: the fault ``gap``."""
        lost = min(GAP_LINES, len(scan.times_s))
        if "gap" in self._faults.on and lost:
            self._faults.set("gap", on=False)
            front.add(Gap(scan.made, lost, GapReason.READOUT))
            del scan.times_s[:lost]
            scan.made += lost
            self._odometer += lost * TICKS_PER_LINE

    def _make(self, scan: _Scan, times_s: list[float]) -> Lines:
        """Digitise lines that are due."""
        count = len(times_s)
        beam = scan.kind != DARK and "beam_off" not in self._faults.on
        x_m = np.arange(scan.made, scan.made + count, dtype=np.float64) * LINE_PITCH_M - MARGIN_M
        shape = (count, self._fan.detectors)
        if scan.phantom is not None and beam:
            samples = self._column.expose(scan.phantom.transmission(x_m))
        else:
            samples = self._column.expose(np.full(shape, float(beam)))
        if "frozen" in self._faults.on:
            self._frozen = samples[-1] if self._frozen is None else self._frozen
            samples = np.tile(self._frozen, (count, 1))
        else:
            self._frozen = None
        flags = np.full(count, 0 if scan.kind == DARK else BEAM if beam else LineFlag.SOURCE_OFF, np.uint16)
        records = np.zeros(count, LINE_RECORD)
        if scan.kind == VEHICLE:
            flags |= np.uint16(LineFlag.ENCODER_VALID)
            flags[(x_m >= 0) & (x_m <= scan.length_m)] |= np.uint16(LineFlag.VEHICLE)
            records["encoder"] = self._odometer + TICKS_PER_LINE * np.arange(count)
            self._odometer += TICKS_PER_LINE * count
        flags[(samples >= self._column.model.full_scale).any(axis=1)] |= np.uint16(LineFlag.SATURATED)
        records["t_ns"] = np.rint(np.array(times_s) * 1e9)
        records["integration_ns"] = round(LINE_PERIOD_S * 1e9)
        records["flags"] = flags
        if beam:
            records["monitor"][:, 0] = self._column.monitor(count)
        first = scan.made
        scan.made += count
        sent_ns = round(times_s[-1] * 1e9)
        return Lines(first, self._geometry_crc, sent_ns, records, samples.reshape(count, 1, -1))

    # --- status ---------------------------------------------------------------------------------

    def _perhaps_report(self, front: FrontEnd, now_s: float, utc_ns: int, at_m: float) -> None:
        """Send STATUS once a second, at once on a change, and first of all to a new station."""
        state = self._state(at_m) if front.attached else -1
        if state == -1 or (state == self._status_state and now_s - self._status_s < STATUS_S):
            self._status_state = state
            return
        self._status_state, self._status_s = state, now_s
        front.report(
            Status(
                device_ns=round(now_s * 1e9),
                utc_ns=utc_ns,
                state=state,
                faults=0,
                held_lines=front.ring.held_lines,
                ring_lines=front.ring.capacity_lines,
                detector_mdegc=21_500,
                enclosure_mdegc=24_000,
                rate_mhz=0 if self._scan is None else round(1000 / LINE_PERIOD_S),
                dropped=front.ring.dropped,
                monitor_0=0,
                monitor_1=0,
                clock=CLOCK_FREE,
            )
        )

    def _state(self, at_m: float) -> SourceState:
        """Return the source's state; the lamp warns 5 s and more before a vehicle meets the beam."""
        beam = self._scan is not None and self._scan.kind != DARK and "beam_off" not in self._faults.on
        stopped = self._plant.emergency_stop
        vehicle = self._plant.vehicle
        coming = vehicle is not None and at_m <= vehicle.length_m + MARGIN_M
        state = SourceState.DETECTOR_OK
        state |= SourceState.BEAM_ON | SourceState.SHUTTER_OPEN if beam else SourceState.SHUTTER_CLOSED
        state |= (
            SourceState.EMERGENCY_STOP if stopped else SourceState.INTERLOCK_OK | SourceState.SOURCE_READY
        )
        if coming or not self.calibrated:
            state |= SourceState.WARNING_ACTIVE
        return state

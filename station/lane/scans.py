"""Scans: which lines belong to the vehicle in the lane, when a scan is over, and what its image says."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from drivers.readings import (
    LineBlock,
    LinesLost,
    ScanClosed,
    ScanKey,
    ScanKind,
    ScannerReading,
    ScanOpened,
    SourceStatus,
)
from station.domain.device_events import CalibrationApplied
from station.domain.events import ScanCompleted, ScanStarted
from station.domain.values import ScanSummary
from station.lane.core import Core, Passage, blob_uses
from station.lane.effects import CalibrationReady, EndScan, FeedScan, OpenScan, ScanProgress, ScanReady
from station.lane.rawfile import LeftOver
from station.lane.scanrun import pixel_m
from station.lane.sequencer import open_inspection

LINK_LIMIT_S = 120.0
"""A scan whose link was lost stays open so long for the device to come back."""
SILENT_LIMIT_S = 10.0
"""A scanner that takes lines by the clock, beam on and link up, has ended its scan after such a silence."""
SCAN_LIMIT_S = 2 * 3600.0
KEPT_SCANS = 64
STAND_IN_BEAM_S = 2.0
MOVED_M = 0.02
"""Travel that is more than the encoder's own unrest."""
TRACK_STEP_LINES = 16

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Running:
    """A scan that has begun and not ended."""

    scan_id: str
    device: str
    opened: ScanOpened
    inspection_id: str | None
    begun_s: float
    last_line_s: float
    moved_s: float
    """When the vehicle last moved, as far as the encoder says; without one, the last line."""
    place_m: float | None = None
    link_lost_s: float | None = None
    device_offset_s: float = field(default=float("inf"))
    """Station's monotonic time minus the device's, by the block that came with the least delay."""


class Scans:
    """All scanners of the lane."""

    def __init__(self, core: Core) -> None:
        """Begin with no scan."""
        self._core = core
        self._running: dict[str, Running] = {}
        self._ending: dict[str, str | None] = {}
        """Inspection of each scan whose image is being made."""
        self._owners: dict[tuple[str, ScanKey], str] = {}
        """Inspection of each of the last scans: one that was given up may go on when its link is back."""

    # --- readings -------------------------------------------------------------------------------

    def reading(self, device: str, reading: ScannerReading) -> None:
        """Take one reading of a scanner."""
        if isinstance(reading, ScanOpened):
            self._opened(device, reading)
        elif isinstance(reading, LineBlock | LinesLost):
            self._lines(device, reading)
        elif isinstance(reading, ScanClosed):
            self._closed(device, reading.key, reading, reading.aborted)
        elif isinstance(reading, SourceStatus):
            on = reading.beam_on or reading.shutter_open
            (self._core.sources.add if on else self._core.sources.discard)(device)

    def _opened(self, device: str, opened: ScanOpened) -> None:
        core = self._core
        known = self._running.get(device)
        if known is not None and known.opened.key == opened.key:
            known.link_lost_s = None
            core.effects.append(OpenScan(known.scan_id, device, opened, known.inspection_id))
            return
        if known is not None:
            self._closed(device, known.opened.key, None, "superseded")
        inspection_id = self._owner(device, opened) if opened.kind == ScanKind.VEHICLE else None
        now_s = core.now_s
        running = Running(core.new_id(), device, opened, inspection_id, now_s, now_s, now_s)
        self._running[device] = running
        if inspection_id is not None:
            remember(core.scanned, running.scan_id, inspection_id)
        passage = self._passage(running)
        speed_mps = passage.track.speed_mps if passage is not None else None
        core.effects.append(OpenScan(running.scan_id, device, opened, inspection_id, speed_mps))
        if passage is not None:
            passage.scan = _begun(running, core.calibrated.get(device, "none"), speed_mps)
            core.tell(ScanStarted, scan_id=running.scan_id, device=device)

    def _owner(self, device: str, opened: ScanOpened) -> str:
        """Return the inspection that a vehicle's scan belongs to; that of the vehicle in the lane begins."""
        core = self._core
        known = self._owners.get((device, opened.key))
        if known is not None and (core.inspection is None or core.inspection.inspection_id != known):
            return known
        passage = core.passage or open_inspection(core, "scan")
        core.begin("scanner")
        passage.inspection.image_read = False  # there is another one to read
        if opened.resent and known is None:  # it began unseen: perhaps with the vehicle before
            core.doubt("scanner", "ambiguous")
        if opened.invented and core.facts.mode_of(device) == "real":
            core.doubt("scanner", "not_real")
        remember(self._owners, (device, opened.key), passage.inspection.inspection_id)
        return passage.inspection.inspection_id

    def _lines(self, device: str, reading: LineBlock | LinesLost) -> None:
        running = self._running.get(device)
        if running is None or running.opened.key != reading.key:
            return
        self._core.effects.append(FeedScan(running.scan_id, device, reading))
        running.last_line_s = self._core.now_s
        self._note_motion(running, reading)
        passage = self._passage(running)
        if passage is not None and isinstance(reading, LineBlock):
            passage.inspection.seen(self._core.now_s)
            self._follow(passage, running, reading)

    def _note_motion(self, running: Running, reading: LineBlock | LinesLost) -> None:
        places_m = reading.x_m if isinstance(reading, LineBlock) else None
        place_m = None if places_m is None else float(places_m[-1])
        before_m = running.place_m
        if place_m is None or before_m is None or abs(place_m - before_m) >= MOVED_M:
            running.moved_s = self._core.now_s
            running.place_m = before_m if place_m is None else place_m

    def _follow(self, passage: Passage, running: Running, block: LineBlock) -> None:
        """Put encoder positions on the station's own time axis."""
        if block.x_m is None:
            return
        delay_s = block.stamp.mono_ns / 1e9 - float(block.t_ns[-1]) / 1e9
        running.device_offset_s = min(running.device_offset_s, delay_s)
        scan = passage.scan
        if scan is not None and scan.px_mm_x == 0:
            scan = passage.scan = scan.model_copy(update={"px_mm_x": scan.px_mm_y})
        plane_m = self._core.facts.geometry.scan_plane_m
        lead_m = 0.0 if scan is None else self._lead_m(scan)
        for index in range(0, len(block.t_ns), TRACK_STEP_LINES):
            time_s = float(block.t_ns[index]) / 1e9 + running.device_offset_s
            passage.track.add(time_s, plane_m + float(block.x_m[index]) - lead_m)

    @staticmethod
    def _lead_m(scan: ScanSummary) -> float:
        """Travel that was scanned before the nose came: known once the nose is seen."""
        return (scan.col_nose or 0) * scan.px_mm_x / 1000

    def _closed(self, device: str, key: ScanKey, closed: ScanClosed | None, cause: str | None) -> None:
        running = self._running.get(device)
        if running is None or running.opened.key != key:
            return
        del self._running[device]
        standing = self._core.book.find("vehicle_in_beam", device)
        if standing is not None:
            self._core.end_alarm(standing.alarm_id)
        self._ending[running.scan_id] = running.inspection_id
        passage = self._passage(running)
        if passage is not None:
            passage.inspection.work(+1, self._core.now_s)
        self._core.effects.append(EndScan(running.scan_id, device, key, closed, cause))

    def _passage(self, running: Running) -> Passage | None:
        passage = self._core.passage
        if passage is None or passage.inspection.inspection_id != running.inspection_id:
            return None
        return passage

    # --- results --------------------------------------------------------------------------------

    def progress(self, progress: ScanProgress) -> None:
        """The imaging thread has made columns."""
        passage = self._core.passage
        if passage is None or passage.scan is None or passage.scan.scan_id != progress.scan_id:
            return
        first_nose = passage.scan.col_nose is None and progress.col_nose is not None
        passage.scan = passage.scan.model_copy(
            update={"lines": progress.lines, "width": progress.width, "col_nose": progress.col_nose}
        )
        if first_nose:
            lead_m = self._lead_m(passage.scan)
            passage.track.noses_m = [nose_m - lead_m for nose_m in passage.track.noses_m]

    def ready(self, result: ScanReady) -> None:
        """The image is stored: the check is done, or failed for a reason."""
        core = self._core
        summary = result.summary
        passage = core.passage
        inspection_id = self._ending.pop(result.scan_id, None)
        if inspection_id is None:
            return
        if passage is None or passage.inspection.inspection_id != inspection_id:
            _amend(core, inspection_id, result)
            return
        if passage.scan is None or passage.scan.scan_id == result.scan_id:
            passage.scan = summary
        kept = passage.keep(result.blobs)
        inspection = passage.inspection
        inspection.work(-1, core.now_s)
        inspection.finish("scanner", core.now_s, summary.reason, summary.whole)
        core.tell(ScanCompleted, **summary.model_dump(), blobs=kept)

    def cut_off(self, scan: LeftOver) -> None:
        """Raw lines that a stop of the station left behind: evidence of their inspection, open or sealed."""
        core, passage = self._core, self._core.passage
        if scan.inspection_id is None:
            return
        if passage is not None and passage.inspection.inspection_id == scan.inspection_id:
            passage.keep({"raw": scan.raw})
            if passage.scan is not None and passage.scan.scan_id == scan.scan_id:
                passage.scan = passage.scan.model_copy(update={"raw": scan.raw.sha256})
        core.amend(
            scan.inspection_id,
            "scan",
            fields={"scan_id": scan.scan_id, "state": "incomplete", "cause": "station_restart"},
            blobs=blob_uses({"raw": scan.raw}),
        )

    def calibrated(self, result: CalibrationReady) -> None:
        """Dark and air are in: from now on images are measured with them."""
        if result.state is None:
            self._core.lane_alarm("calibration_failed", result.device)
            return
        failed = self._core.book.find("calibration_failed", result.device)
        if failed is not None:
            self._core.end_alarm(failed.alarm_id)
        self._core.calibrated[result.device] = result.state
        self._core.emit(
            CalibrationApplied,
            device=result.device,
            state=result.state,
            dark_lines=result.dark_lines,
            air_lines=result.air_lines,
            sha256=result.kept.sha256 if result.kept else "",
            blobs=blob_uses({"calibration": result.kept} if result.kept else {}),
        )

    # --- time and links -------------------------------------------------------------------------

    def link(self, device: str, *, up: bool) -> None:
        """A scanner's link changed: its scan waits for it."""
        running = self._running.get(device)
        if running is not None and not up and running.link_lost_s is None:
            running.link_lost_s = self._core.now_s

    def tick(self) -> None:
        """End what the device will not end, and watch for a vehicle that stands in the beam."""
        core = self._core
        for running in list(self._running.values()):
            if running.link_lost_s is not None and core.now_s - running.link_lost_s >= LINK_LIMIT_S:
                self._closed(running.device, running.opened.key, None, "link")
                continue
            vehicle = running.opened.kind == ScanKind.VEHICLE and running.link_lost_s is None
            beam_on = running.device in core.sources and running.link_lost_s is None
            stands = vehicle and beam_on and core.now_s - running.moved_s >= STAND_IN_BEAM_S
            alarm = core.book.find("vehicle_in_beam", running.device)
            if stands:
                core.lane_alarm("vehicle_in_beam", running.device)
            elif alarm is not None:
                core.end_alarm(alarm.alarm_id)
            silent = beam_on and core.now_s - running.last_line_s >= SILENT_LIMIT_S
            if silent and not running.opened.encoder_triggered:
                self._closed(running.device, running.opened.key, None, "timeout")
            elif core.now_s - running.begun_s >= SCAN_LIMIT_S:
                self._closed(running.device, running.opened.key, None, "limit")


def remember(owners: dict[K, str], key: K, inspection_id: str) -> None:
    """Note whose a scan is; of too many the oldest is forgotten."""
    owners[key] = inspection_id
    while len(owners) > KEPT_SCANS:
        del owners[next(iter(owners))]


def _begun(running: Running, calibration: str, speed_mps: float | None) -> ScanSummary:
    geometry = running.opened.geometry
    pixel_mm = round(pixel_m(geometry) * 1000, 4)
    begun = {
        "scan_id": running.scan_id,
        "device": running.device,
        "state": "scanning",
        "height": geometry.detectors,
        "px_mm_x": 0.0 if speed_mps is None else pixel_mm,
        "px_mm_y": pixel_mm,
        "calibration": calibration,
    }
    return ScanSummary.model_validate(begun)


def _amend(core: Core, inspection_id: str, result: ScanReady) -> None:
    """Add a scan that became ready after its inspection was sealed."""
    summary = result.summary
    core.amend(
        inspection_id,
        "scan",
        device=summary.device,
        fields={"scan_id": summary.scan_id, "state": summary.state, "image": summary.image},
        blobs=blob_uses(result.blobs),
    )

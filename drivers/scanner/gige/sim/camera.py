"""What the emulated camera sees: dark and air once, then every vehicle in the plane, frame by frame.

It has no clock of its own: ``step`` looks at the plant and makes the frames that are due since the last look.
Its line trigger is gated by the vehicle, and follows the encoder or the clock as the options say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from drivers.formats.gige.gvsp import CHUNK_TAIL
from drivers.plant.column import ColumnModel, DetectorColumn
from drivers.plant.phantom import Fan, Phantom
from drivers.plant.trucks import truck_solids
from drivers.plant.world import Plant
from drivers.scanner.gige.options import GigeOptions

MARGIN_M = 0.4
"""Air that is scanned before the nose and behind the tail."""
DARK_LINES, AIR_LINES = 1_024, 2_048
REST_S = 0.2
"""Between dark and air."""
IMAGE_CHUNK = 1


@dataclass(slots=True)
class _Scan:
    kind: str
    begun_s: float
    lines: float
    """It ends by itself after so many; infinite while nobody knows."""
    length_m: float = 0.0
    phantom: Phantom | None = None
    due: int = 0
    waiting: list[tuple[float, float]] = field(default_factory=list)
    """Time, and metres behind the nose, of lines that are not yet in a frame."""


class Camera:
    """Detector, source and trigger of one camera."""

    def __init__(self, options: GigeOptions, plant: Plant, seed: int) -> None:
        """Stand idle."""
        self.phase = "idle"
        self.calibrated = options.inputs is None
        """Without inputs it could not say which of its frames are dark or air."""
        self._options = options
        self._plant = plant
        column = options.column
        self._fan = Fan(
            options.detectors, column.pitch_mm / 1e3, column.bottom_m, column.plane_distance_m,
            column.detector_distance_m, column.source_height_m,
        )  # fmt: skip
        self._column = DetectorColumn(ColumnModel(options.detectors, full_scale=column.full_scale), seed)
        self._scan: _Scan | None = None
        self._done_passage = 0
        self._rests_until_s = 0.0
        self._seen_s = 0.0
        self._seen_at_m = -math.inf

    @property
    def payload_bytes(self) -> int:
        """Bytes of one frame with its chunk data."""
        chunked = 0 if self._options.inputs is None else 2 * CHUNK_TAIL.size + 4
        return self._options.image_bytes + chunked

    def abandon(self) -> None:
        """Acquisition was stopped: forget the scan in progress."""
        self._scan, self.phase = None, "idle"

    def step(self, now_s: float) -> list[tuple[float, bytes]]:
        """Return the frames that are due: time of the first line (monotonic seconds), payload."""
        at_m = self._plant.scan_s_m if self._plant.vehicle is not None else -math.inf
        if self._plant.emergency_stop:
            self.abandon()
        elif self._scan is None:
            self._perhaps_begin(now_s, at_m)
        frames = [] if self._scan is None else self._advance(self._scan, now_s, at_m)
        self._seen_s, self._seen_at_m = now_s, at_m
        return frames

    def _perhaps_begin(self, now_s: float, at_m: float) -> None:
        vehicle, plant = self._plant.vehicle, self._plant
        if vehicle is not None and -MARGIN_M <= at_m <= vehicle.length_m + MARGIN_M:
            if plant.passage != self._done_passage:
                self._done_passage = plant.passage
                pitch_mm = self._options.line_pitch_mm
                way_m = vehicle.length_m + 2 * MARGIN_M
                lines = self._whole(way_m / (pitch_mm / 1e3)) if pitch_mm else math.inf
                phantom = Phantom(truck_solids(vehicle), self._fan)
                self._scan = _Scan("vehicle", now_s, lines, vehicle.length_m, phantom)
        elif not self.calibrated and now_s >= self._rests_until_s:
            dark = self.phase != "dark done"
            self._scan = _Scan(
                "dark" if dark else "air", now_s, self._whole(DARK_LINES if dark else AIR_LINES)
            )
        if self._scan is not None:
            self.phase = self._scan.kind

    def _whole(self, lines: float) -> int:
        """Return so many lines that the last frame is full."""
        return math.ceil(lines / self._options.lines) * self._options.lines

    def _advance(self, scan: _Scan, now_s: float, at_m: float) -> list[tuple[float, bytes]]:
        if scan.kind == "vehicle" and self._plant.vehicle is None:
            at_m = scan.length_m + 10 * MARGIN_M  # it has left between two looks
        if scan.kind == "vehicle" and self._options.line_pitch_mm:
            self._by_encoder(scan, now_s, at_m, self._options.line_pitch_mm / 1e3)
        else:
            self._by_clock(scan, now_s, at_m)
        frames, size = [], self._options.lines
        while len(scan.waiting) >= size:
            lines, scan.waiting = scan.waiting[:size], scan.waiting[size:]
            frames.append((lines[0][0], self._frame(scan, [x_m for _, x_m in lines])))
        if scan.due >= scan.lines and not scan.waiting:
            self._finish(scan, now_s)
        return frames

    def _by_encoder(self, scan: _Scan, now_s: float, at_m: float, pitch_m: float) -> None:
        """Note when each line's place passed the plane: speed is even between two looks."""
        due = int(min(scan.lines, (at_m + MARGIN_M) / pitch_m + 1))
        for line in range(scan.due, due):
            x_m = line * pitch_m - MARGIN_M
            passed = (x_m - self._seen_at_m) / (at_m - self._seen_at_m) if at_m > self._seen_at_m else 1.0
            even = math.isfinite(passed) and 0 <= passed <= 1
            time_s = self._seen_s + passed * (now_s - self._seen_s) if even else now_s
            scan.waiting.append((time_s, x_m))
        scan.due = max(scan.due, due)

    def _by_clock(self, scan: _Scan, now_s: float, at_m: float) -> None:
        period_s = self._options.line_period_us / 1e6
        while scan.due < scan.lines and (time_s := scan.begun_s + scan.due * period_s) <= now_s:
            share = 1.0 if now_s <= self._seen_s else (time_s - self._seen_s) / (now_s - self._seen_s)
            known = math.isfinite(self._seen_at_m) and math.isfinite(at_m)
            x_m = self._seen_at_m + share * (at_m - self._seen_at_m) if known else at_m
            scan.waiting.append((time_s, x_m))
            scan.due += 1
            if scan.kind == "vehicle" and x_m > scan.length_m + MARGIN_M:
                scan.lines = min(scan.lines, self._whole(scan.due))

    def _frame(self, scan: _Scan, x_m: list[float]) -> bytes:
        if scan.phantom is not None:
            transmission = scan.phantom.transmission(np.array(x_m))
        else:
            shape = (len(x_m), self._options.detectors)
            transmission = np.full(shape, float(scan.kind == "air"))
        samples = self._column.expose(transmission)
        if self._options.column.first_pixel == "bottom":
            samples = samples[:, ::-1]
        return samples.astype("<u2").tobytes() + self._chunks(scan)

    def _chunks(self, scan: _Scan) -> bytes:
        inputs = self._options.inputs
        if inputs is None:
            return b""
        bits = (scan.kind != "dark") << inputs.beam | (scan.kind != "vehicle") << inputs.calibration
        image = CHUNK_TAIL.pack(IMAGE_CHUNK, self._options.image_bytes)
        return image + bits.to_bytes(4, "big") + CHUNK_TAIL.pack(inputs.chunk, 4)

    def _finish(self, scan: _Scan, now_s: float) -> None:
        self._scan = None
        self.phase = "dark done" if scan.kind == "dark" else "idle"
        self._rests_until_s = now_s + REST_S
        self.calibrated |= scan.kind == "air"

"""A scan on its way from lines to an image, in threads: journal, columns, calibration, preview.

For each scanner one thread makes columns while the store's own thread makes the raw lines durable; the
scanner is told only what is durable. The event loop never touches a sample.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.readings import LineBlock, LinesLost, ScanClosed, ScanKey, ScanKind
from imaging.radiograph.calibrate import AirScan, Dark, DarkScan, compare
from imaging.radiograph.measure import VehicleFinder, area_m2
from imaging.radiograph.model import Calibration, Columns, RadiographError
from imaging.radiograph.normalize import ScanChain
from imaging.radiograph.render import JPEG_SIDE, preview_jpeg
from station.domain.values import ScanSummary
from station.lane.effects import (
    BlobKept,
    CalibrationReady,
    EndScan,
    FeedScan,
    OpenScan,
    Result,
    ScanProgress,
    ScanReady,
)

KEPT_IMAGES = 4
"""Finished images that stay in memory for the screen; older ones come from their blobs."""

U16 = NDArray[np.uint16]


class Vault(Protocol):
    """What the imager needs of the store, callable from any thread."""

    def keep(self, data: bytes, media: str) -> BlobKept:
        """Make a blob durable; raises when it cannot be kept."""
        ...

    def write_lines(self, scan_id: str, wire: bytes, durable: Callable[[], None]) -> None:
        """Append to the scan's raw file; ``durable`` is called once it is on the disk."""
        ...

    def keep_lines(self, scan_id: str) -> BlobKept | None:
        """Close the raw file and make it a blob."""
        ...


class Image:
    """Columns of one scan as far as they are made; read by any thread while another one adds."""

    def __init__(self, height: int) -> None:
        """Begin without a column."""
        self.height = height
        self.complete = False
        self._lock = threading.Lock()
        self._parts: list[U16] = []
        self._flags: list[NDArray[np.uint8]] = []
        self.width = 0

    def add(self, columns: list[Columns]) -> None:
        """Append consecutive columns."""
        with self._lock:
            for part in columns:
                self._parts.append(part.d16)
                self._flags.append(part.flags)
                self.width += part.d16.shape[0]

    def d16(self) -> U16:
        """Return all columns so far, uint16 (lines, detectors)."""
        with self._lock:
            if len(self._parts) > 1:
                self._parts = [np.concatenate(self._parts)]
            return self._parts[0] if self._parts else np.empty((0, self.height), dtype=np.uint16)

    def flags(self) -> NDArray[np.uint8]:
        """Return the flags of all columns so far, uint8 (lines, detectors)."""
        with self._lock:
            if not self._flags:
                return np.empty((0, self.height), dtype=np.uint8)
            return np.concatenate(self._flags)


def reduced(d16: U16, first: int, last: int, level: int) -> bytes:
    """Return columns ``first`` to ``last`` (exclusive) at 1/2^level, little-endian uint16, line-major.

    Numbers count columns of that level; each value is the mean of 2^level x 2^level pixels, and a last
    row or column that is not whole is left out of the mean only, never of the picture.
    """
    step = 1 << level
    cut = d16[first * step : last * step]
    if level == 0 or cut.size == 0:
        return cut.astype("<u2").tobytes()
    lines, rows = cut.shape
    pad = ((0, -lines % step), (0, -rows % step))
    whole = np.pad(cut, pad, mode="edge").astype(np.uint32)
    blocks = whole.reshape(whole.shape[0] // step, step, whole.shape[1] // step, step)
    means: U16 = ((blocks.sum(axis=(1, 3)) + step * step // 2) // (step * step)).astype("<u2")
    return means.tobytes()


@dataclass(slots=True)
class _Run:
    work: OpenScan
    image: Image | None = None
    chain: ScanChain | None = None
    finder: VehicleFinder | None = None
    dark: DarkScan | None = None
    air: AirScan | None = None
    trouble: str | None = None
    undeclared: bool = False
    pitch_m: float = 0.0
    end: tuple[EndScan, ScanClosed | None] | None = None
    waits: list[Future[None]] = field(default_factory=list)


class Imager:
    """All scans of the lane; ``report`` and ``acknowledge`` are called from its threads."""

    def __init__(
        self,
        vault: Vault,
        report: Callable[[Result], None],
        acknowledge: Callable[[str, ScanKey, int, bool], None],
        grown: Callable[[str, int, int], None],
    ) -> None:
        """Prepare; ``grown(scan_id, from, to)`` tells that columns were added."""
        self._vault = vault
        self._report = report
        self._acknowledge = acknowledge
        self._grown = grown
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._runs: dict[str, _Run] = {}
        self._images: OrderedDict[str, Image] = OrderedDict()
        self._dark: dict[str, Dark] = {}
        self._calibrations: dict[str, Calibration] = {}

    def image(self, scan_id: str) -> Image | None:
        """Return a running or recent image."""
        return self._images.get(scan_id)

    def do(self, work: OpenScan | FeedScan | EndScan) -> None:
        """Queue work on the scanner's own thread, in order."""
        device = work.device
        if device not in self._threads:
            self._threads[device] = ThreadPoolExecutor(1, thread_name_prefix=f"imager-{device}")
        self._threads[device].submit(self._guarded, work)

    def close(self) -> None:
        """End the threads; what is queued is done first."""
        for thread in self._threads.values():
            thread.shutdown(wait=True)

    # --- in the scanner's thread ----------------------------------------------------------------

    def _guarded(self, work: OpenScan | FeedScan | EndScan) -> None:
        run = self._runs.get(work.scan_id)
        try:
            if isinstance(work, OpenScan):
                self._open(work)
            elif run is not None and isinstance(work, FeedScan):
                self._feed(run, work.reading)
            elif run is not None and isinstance(work, EndScan):
                self._end(run, work)
        except RadiographError as error:
            if run is not None:
                run.trouble = str(error)
            if isinstance(work, EndScan):
                self._give_up(work, str(error))
        except OSError as error:
            self._give_up(work, f"storage: {error}")

    def _open(self, work: OpenScan) -> None:
        run = self._runs.get(work.scan_id)
        if run is None:
            run = self._runs[work.scan_id] = _Run(work)
            self._prepare(run)
        if work.opened.wire:
            self._keep_wire(run, work.opened.wire, next_line=None)

    def _prepare(self, run: _Run) -> None:
        opened, device = run.work.opened, run.work.device
        geometry = opened.geometry
        if opened.kind == ScanKind.DARK:
            run.dark = DarkScan(opened.detectors)
        elif opened.kind == ScanKind.AIR:
            if device not in self._dark:
                raise RadiographError("an air scan came before any dark scan: repeat both")
            run.air = AirScan(
                self._dark[device],
                geometry.reference_detectors,
                full_scale=opened.full_scale,
                pulsed=geometry.quantity == "charge",
                units_per_quantum=geometry.units_per_quantum or None,
            )
        else:
            calibration = self._calibrations.get(device)
            run.image = Image(opened.detectors)
            self._images[run.work.scan_id] = run.image
            while len(self._images) > KEPT_IMAGES:
                self._images.popitem(last=False)
            if calibration is None:
                run.trouble = "not_calibrated"
                return
            run.chain = ScanChain(calibration, opened.detectors, opened.full_scale, max_lines=JPEG_SIDE)
            run.finder = VehicleFinder(calibration)

    def _feed(self, run: _Run, reading: LineBlock | LinesLost) -> None:
        if isinstance(reading, LinesLost):
            self._keep_wire(run, reading.wire, next_line=reading.first_line + reading.count)
            if run.chain is not None:
                self._add(run, run.chain.lost(reading.first_line, reading.count))
            return
        self._keep_wire(run, reading.wire, next_line=reading.next_line)
        samples = reading.samples[:, 0, :]
        if reading.x_m is not None and len(reading.x_m) > 1 and run.pitch_m == 0:
            run.pitch_m = abs(float(reading.x_m[-1] - reading.x_m[0])) / (len(reading.x_m) - 1)
        if run.dark is not None:
            run.dark.push(samples, reading.flags)
        elif run.air is not None:
            run.air.push(samples, reading.flags, reading.monitor)
        elif run.chain is not None:
            self._add(run, run.chain.push(reading.first_line, samples, reading.flags, reading.monitor))

    def _keep_wire(self, run: _Run, wire: bytes, next_line: int | None) -> None:
        if not wire:
            return
        device, key = run.work.device, run.work.opened.key

        def durable() -> None:
            if next_line is not None:
                self._acknowledge(device, key, next_line, False)

        self._vault.write_lines(run.work.scan_id, wire, durable)

    def _add(self, run: _Run, columns: list[Columns]) -> None:
        if not columns or run.image is None or run.finder is None:
            return
        before = run.image.width
        run.image.add(columns)
        for part in columns:
            run.finder.push(part)
        self._grown(run.work.scan_id, before, run.image.width)
        self._report(ScanProgress(run.work.scan_id, run.image.width, run.finder.nose))

    # --- the end of a scan ----------------------------------------------------------------------

    def _end(self, run: _Run, work: EndScan) -> None:
        del self._runs[work.scan_id]
        if work.closed is not None and work.closed.wire:
            self._keep_wire(run, work.closed.wire, next_line=None)
        if run.dark is not None:
            self._vault.keep_lines(work.scan_id)
            self._dark[work.device] = run.dark.result()
        elif run.air is not None:
            self._vault.keep_lines(work.scan_id)
            self._calibrate(run.air, work)
        else:
            self._finish(run, work)
        if work.closed is not None:
            self._acknowledge(work.device, work.key, work.closed.lines_total, True)

    def _calibrate(self, air: AirScan, work: EndScan) -> None:
        try:
            calibration = air.result()
            if work.device in self._calibrations:
                compare(calibration, self._calibrations[work.device])
        except RadiographError as error:
            self._report(CalibrationReady(work.device, None, 0, air.lines, "", failed=str(error)))
            return
        self._calibrations[work.device] = calibration
        digest = hashlib.sha256(calibration.gain.tobytes() + calibration.dark_mean.tobytes()).hexdigest()
        state = "provisional" if calibration.provisional else "full"
        lines = (calibration.dark_lines, calibration.air_lines)
        self._report(CalibrationReady(work.device, state, *lines, digest))

    def _finish(self, run: _Run, work: EndScan) -> None:
        blobs: dict[str, BlobKept] = {}
        raw = self._vault.keep_lines(work.scan_id)
        if raw is not None:
            blobs["raw"] = raw
        summary = _summary(run, work)
        if run.chain is not None and run.image is not None and run.finder is not None:
            self._add(run, run.chain.close())
            run.image.complete = True
            d16, flags = run.image.d16(), run.image.flags()
            if d16.size:
                blobs["preview"] = self._vault.keep(preview_jpeg(d16, flags), "image/jpeg")
                blobs["image"] = self._vault.keep(as_npy(d16), "application/x-npy")
            summary = self._measured(summary, run, work)
        names = {role: blob.sha256 for role, blob in blobs.items()}
        self._report(ScanReady(work.scan_id, summary.model_copy(update=names), blobs))

    def _measured(self, summary: ScanSummary, run: _Run, work: EndScan) -> ScanSummary:
        assert run.chain is not None  # noqa: S101 - the caller looked
        assert run.image is not None  # noqa: S101
        assert run.finder is not None  # noqa: S101
        lost = run.chain.lines_lost
        cause = work.cause or ("partial" if lost else None)
        if run.finder.nose is None and cause is None:
            cause = "no_vehicle"
        calibration = self._calibrations[work.device]
        pitch_m = run.work.opened.geometry.pitch_m
        return summary.model_copy(
            update={
                "state": "incomplete" if cause else "complete",
                "cause": cause,
                "lines": run.image.width - lost,
                "lines_lost": lost,
                "col_nose": run.finder.nose,
                "col_tail": run.finder.tail,
                "calibration": "provisional" if calibration.provisional else "full",
                "starved_m2": round(area_m2(run.chain.starved_pixels, pitch_m, run.pitch_m), 3),
            }
        )

    def _give_up(self, work: OpenScan | FeedScan | EndScan, why: str) -> None:
        run = self._runs.pop(work.scan_id, None)
        if run is None:
            return
        summary = _summary(run, work).model_copy(update={"cause": "storage" if "storage" in why else "fault"})
        self._report(ScanReady(work.scan_id, summary, {}))


def _summary(run: _Run, work: OpenScan | FeedScan | EndScan) -> ScanSummary:
    """Return what is true without any image: incomplete, and why."""
    geometry = run.work.opened.geometry
    cause = work.cause if isinstance(work, EndScan) else None
    return ScanSummary(
        scan_id=work.scan_id,
        device=work.device,
        state="incomplete",
        cause=cause or run.trouble or "fault",
        height=geometry.detectors,
        px_mm_x=round(run.pitch_m * 1000, 4),
        px_mm_y=round(geometry.pitch_m * 1000, 4),
    )


def as_npy(array: U16) -> bytes:
    """Return the array as a NumPy .npy file (format 1.0): self-describing, exact."""
    buffer = io.BytesIO()
    np.save(buffer, array.astype("<u2"), allow_pickle=False)
    return buffer.getvalue()


def from_npy(data: bytes) -> U16:
    """Return the array of a stored image."""
    array: U16 = np.load(io.BytesIO(data), allow_pickle=False)
    return array

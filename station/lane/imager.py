"""A scan on its way from lines to an image, in threads: journal, columns, calibration, preview.

For each scanner one thread makes columns while the store's own thread makes the raw lines durable; the
scanner is told only what is durable. The event loop never touches a sample. Whatever goes wrong on the way
makes the image incomplete, with the columns and raw lines that there are; it is never called complete.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from drivers.formats.linestream.codes import LineFlag
from drivers.readings import LineBlock, LinesLost, ScanKey, ScanKind
from imaging.radiograph.calibrate import AirScan, Dark, DarkScan, compare
from imaging.radiograph.chain import ImageChain
from imaging.radiograph.kept import as_json
from imaging.radiograph.measure import VehicleFinder
from imaging.radiograph.model import MAX_LINES, STARVED, U16, Calibration, Columns, RadiographError
from imaging.radiograph.render import preview_jpeg
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
from station.lane.image import Image, as_npy
from station.lane.rawfile import journal_head
from station.lane.scanrun import MAX_PIXELS, ScanRun, most_columns, pixel_m, summary_of
from station.lane.worker import Worker
from station.store.errors import StoreError

log = logging.getLogger("carril.imager")

KEPT_IMAGES = 4
"""Finished images that stay in memory for the screen; older ones come from their blobs."""
WAITING_BYTES = 64 * 1024 * 1024
"""Samples that wait for one scanner's thread at most."""
CLOSE_S = 3.0

Work = OpenScan | FeedScan | EndScan


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

    def drop_lines(self, scan_id: str) -> None:
        """Remove the raw file, once a durable record names its blob."""
        ...


@dataclass(frozen=True, slots=True)
class _Overrun:
    """Stands in the queue where lines of a scan found no room."""

    scan_id: str
    device: str


class Imager:
    """All scans of the lane; ``report`` and ``acknowledge`` are called from its threads."""

    def __init__(
        self,
        vault: Vault,
        report: Callable[[Result], None],
        acknowledge: Callable[[str, ScanKey, int, bool], None],
        grown: Callable[[str, int, int], None],
    ) -> None:
        """Prepare; ``grown(scan_id, from, to)`` tells of new columns."""
        self._vault = vault
        self._report = report
        self._acknowledge = acknowledge
        self._grown = grown
        self._workers: dict[str, Worker[Work | _Overrun]] = {}
        self._runs: dict[str, ScanRun] = {}
        self._images: dict[str, Image] = {}
        self._dark: dict[str, Dark] = {}
        self._calibrations: dict[str, Calibration] = {}
        self._kept: dict[str, BlobKept] = {}
        """Their blobs."""

    def image(self, scan_id: str) -> Image | None:
        """Return a running or recent image."""
        return self._images.get(scan_id)

    def do(self, work: Work) -> None:
        """Queue work on the scanner's own thread, in order; never waits."""
        device = work.device
        if device not in self._workers:
            self._workers[device] = Worker(f"imager-{device}", self._guarded, WAITING_BYTES)
        lines = isinstance(work, FeedScan) and isinstance(work.reading, LineBlock)
        size = len(work.reading.wire) + work.reading.samples.nbytes if lines else 0  # type: ignore[union-attr]
        if not self._workers[device].put(work, size):
            self._workers[device].put(_Overrun(work.scan_id, device))

    def close(self) -> None:
        """End the threads within three seconds; what is queued is done first, if there is time."""
        for worker in self._workers.values():
            worker.end()
        until_s = time.monotonic() + CLOSE_S
        for device, worker in self._workers.items():
            if not worker.ended(max(0.0, until_s - time.monotonic())):
                log.error("the imaging thread of %s does not end: what was queued is dropped", device)

    # --- in the scanner's thread ----------------------------------------------------------------

    def _guarded(self, work: Work | _Overrun) -> None:
        """Do work; an error of any kind spoils its scan and nothing else."""
        try:
            if isinstance(work, OpenScan):
                self._open(work)
                return
            run = self._runs.get(work.scan_id)
            if run is None:
                return
            if isinstance(work, EndScan):
                self._end(run, work)
            elif isinstance(work, FeedScan):
                self._feed(run, work.reading)
            elif isinstance(work, _Overrun):
                self._stop(run, "partial", "its lines come faster than they are worked on")
        except Exception:
            log.exception("a bug in the imager: scan %s is incomplete", work.scan_id)
            if (run := self._runs.get(work.scan_id)) is not None:
                run.spoil("fault")
                if isinstance(work, EndScan):
                    self._tell(run, work, summary_of(run, work), {})

    def _open(self, work: OpenScan) -> None:
        run = self._runs.get(work.scan_id)
        if run is None:
            detectors = work.opened.detectors
            vehicle = work.opened.kind not in (ScanKind.DARK, ScanKind.AIR)
            run = ScanRun(work, Image(detectors, most_columns(detectors) if vehicle else 0))
            self._runs[work.scan_id] = run
            if vehicle:
                self._images[work.scan_id] = run.image
                self._forget()
            self._keep_wire(run, journal_head(work))
            try:
                self._prepare(run)
            except RadiographError as error:
                log.error("scan %s of %s gives no image: %s", work.scan_id, work.device, error)
                run.spoil("fault")
        self._keep_wire(run, work.opened.wire)

    def _forget(self) -> None:
        """Give up the oldest finished images beyond the limits."""
        while True:
            finished = {scan_id: i for scan_id, i in list(self._images.items()) if i.complete}
            pixels = sum(image.width * image.height for image in finished.values())
            if len(finished) < KEPT_IMAGES and pixels <= MAX_PIXELS:
                return
            self._images.pop(next(iter(finished)), None)

    def _prepare(self, run: ScanRun) -> None:
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
        elif device not in self._calibrations:
            run.spoil("not_calibrated")
        else:
            run.calibration = self._calibrations[device]
            run.calibration_kept = self._kept.get(device)
            run.chain = ImageChain(
                run.calibration,
                opened.detectors,
                opened.full_scale,
                pitch_m=pixel_m(geometry),
                max_columns=most_columns(opened.detectors),
                directed=opened.directed,
                speed_mps=run.work.speed_mps,
            )
            run.finder = VehicleFinder(run.calibration)

    def _feed(self, run: ScanRun, reading: LineBlock | LinesLost) -> None:
        if isinstance(reading, LinesLost):
            next_line = reading.first_line + reading.count
        else:
            next_line = reading.next_line
        if next_line > MAX_LINES:
            self._stop(run, "partial", f"it has more than {MAX_LINES:,} lines")
            return
        self._keep_wire(run, reading.wire, next_line)
        if isinstance(reading, LinesLost):
            if run.chain is not None:
                run.chain.lost(reading.first_line, reading.count)
            return
        samples = reading.samples[:, 0, :]
        if run.trouble is not None:
            return
        if run.dark is not None:
            run.dark.push(samples, reading.flags)
        elif run.air is not None:
            run.air.push(samples, reading.flags, reading.monitor)
        elif run.chain is not None:
            self._draw_lines(run, run.chain, samples, reading)

    def _draw_lines(self, run: ScanRun, chain: ImageChain, samples: U16, block: LineBlock) -> None:
        doubted = (block.flags & np.uint16(LineFlag.TIME_JUMP)) != 0
        try:
            made = chain.push(
                block.first_line, samples, block.flags, block.monitor, block.t_ns, block.x_m, doubted
            )
        except RadiographError as error:
            log.error("scan %s of %s is not drawn to its end: %s", run.work.scan_id, run.work.device, error)
            run.spoil("partial")  # its raw lines are kept all the same
        else:
            self._add(run, made)

    def _keep_wire(self, run: ScanRun, wire: bytes, next_line: int | None = None) -> None:
        """Append to the raw file; lines are acknowledged once they are on the disk."""
        if not wire or not run.taking:
            return
        device, key = run.work.device, run.work.opened.key

        def durable() -> None:
            run.durable += 1
            if next_line is not None:
                self._acknowledge(device, key, next_line, False)

        try:
            run.written += 1
            self._vault.write_lines(run.work.scan_id, wire, durable)
        except OSError as error:
            self._stop(run, "storage", str(error))

    def _stop(self, run: ScanRun, cause: str, why: str) -> None:
        """Take no more lines of a scan: what comes behind a hole is neither kept nor acknowledged."""
        if run.taking:
            log.error("scan %s of %s is cut short: %s", run.work.scan_id, run.work.device, why)
        run.taking = False
        run.spoil(cause)

    def _add(self, run: ScanRun, columns: list[Columns]) -> None:
        if not columns or run.finder is None:
            return
        before = run.image.width
        for part in columns:
            run.image.add(part.d16, part.flags)
            run.finder.push(part)
            run.starved += int(np.count_nonzero(part.flags & STARVED))
        self._grown(run.work.scan_id, before, run.image.width)
        lines = run.chain.next_line - run.chain.lines_lost if run.chain is not None else 0
        self._report(ScanProgress(run.work.scan_id, lines, run.image.width, run.finder.nose))

    # --- the end of a scan ----------------------------------------------------------------------

    def _end(self, run: ScanRun, work: EndScan) -> None:
        """Make raw lines and image durable, report once whatever happened, acknowledge what is safe."""
        if work.closed is not None:
            self._keep_wire(run, work.closed.wire)
        blobs: dict[str, BlobKept] = {}
        unspoilt = run.trouble is None  # lines that find no room do not take the end off the preview
        try:
            raw = self._vault.keep_lines(work.scan_id)
            if raw is not None:
                blobs["raw"] = raw
            if run.durable != run.written:
                raise OSError("the disk refused lines that were already written")
        except (OSError, StoreError) as error:
            self._stop(run, "storage", str(error))
        if run.work.opened.kind in (ScanKind.DARK, ScanKind.AIR):
            del self._runs[work.scan_id]
            self._calibrate(run, work)
            self._vault.drop_lines(work.scan_id)  # no record will name them
        else:
            self._finish(run, work, blobs, unspoilt=unspoilt)
        if work.closed is not None and run.taking:
            self._acknowledge(work.device, work.key, work.closed.lines_total, True)

    def _calibrate(self, run: ScanRun, work: EndScan) -> None:
        dark, air, device = run.dark, run.air, work.device
        try:
            if (cause := work.cause or run.trouble) is not None:
                raise RadiographError(f"the {run.work.opened.kind.name} scan is not whole: {cause}")
            if dark is not None:
                self._dark[device] = dark.result()
            if air is None:
                return
            calibration = air.result(made_us=run.work.opened.stamp.utc_ns // 1000)
            if device in self._calibrations:
                compare(calibration, self._calibrations[device])
        except Exception as error:
            if not isinstance(error, RadiographError):
                log.exception("a bug in the calibration of %s", device)
            lines = (dark.lines if dark else 0, air.lines if air else 0)
            self._report(CalibrationReady(device, None, *lines, failed=str(error)))
            return
        self._calibrations[device] = calibration
        self._kept.pop(device, None)
        try:
            self._kept[device] = self._vault.keep(as_json(calibration), "application/json")
        except (OSError, StoreError) as error:
            log.error("the calibration of %s is used and not kept: %s", device, error)
        state = "provisional" if calibration.provisional else "full"
        lines = (calibration.dark_lines, calibration.air_lines)
        self._report(CalibrationReady(device, state, *lines, self._kept.get(device)))

    def _finish(self, run: ScanRun, work: EndScan, blobs: dict[str, BlobKept], *, unspoilt: bool) -> None:
        try:
            self._draw(run, work, blobs, unspoilt=unspoilt)
        except (RadiographError, OSError) as error:
            log.error("scan %s has no whole image: %s", work.scan_id, error)
            run.spoil("storage" if isinstance(error, OSError) else "partial")
        self._tell(run, work, summary_of(run, work), blobs)

    def _draw(self, run: ScanRun, work: EndScan, blobs: dict[str, BlobKept], *, unspoilt: bool) -> None:
        """Make the last columns, and keep what there is of an image."""
        if run.chain is None:
            return
        if unspoilt:
            self._add(run, run.chain.close(0 if work.closed is None else work.closed.lines_total))
        d16 = run.image.d16()
        if d16.size:
            flags = run.image.flags()
            blobs["preview"] = self._vault.keep(preview_jpeg(d16, flags), "image/jpeg")
            blobs["image"] = self._vault.keep(as_npy(d16), "application/x-npy")
            blobs["flags"] = self._vault.keep(as_npy(flags), "application/x-npy")

    def _tell(self, run: ScanRun, work: EndScan, summary: ScanSummary, blobs: dict[str, BlobKept]) -> None:
        """Report the end of a vehicle's scan, once."""
        del self._runs[work.scan_id]
        run.image.complete = True
        names = {role: blob.sha256 for role, blob in blobs.items()}
        if run.calibration_kept is not None:
            blobs = {**blobs, "calibration": run.calibration_kept}
            names["calibration_sha256"] = run.calibration_kept.sha256
        self._report(ScanReady(work.scan_id, summary.model_copy(update=names), blobs))

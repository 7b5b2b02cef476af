"""One scan on its way to an image: what has become of its lines, and in the end its summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drivers.readings import ScannerGeometry
from imaging.radiograph.calibrate import AirScan, DarkScan
from imaging.radiograph.chain import ImageChain
from imaging.radiograph.measure import VehicleFinder
from imaging.radiograph.model import Calibration
from imaging.radiograph.render import JPEG_SIDE
from station.domain.values import ScanSummary
from station.lane.effects import BlobKept, EndScan, OpenScan
from station.lane.image import Image

MAX_PIXELS = 64 * 1024 * 1024
"""Of one image, and of all finished ones in memory: 65,536 lines of 1,024 detectors, 128 MiB."""


@dataclass(slots=True)
class ScanRun:
    """What becomes of one scan's lines."""

    work: OpenScan
    image: Image
    chain: ImageChain | None = None
    finder: VehicleFinder | None = None
    dark: DarkScan | None = None
    air: AirScan | None = None
    calibration: Calibration | None = None
    calibration_kept: BlobKept | None = None
    starved: int = 0
    """Pixels that were not penetrated."""
    trouble: str | None = None
    """Why the scan is not whole, as a code of coverage; no column is made after it."""
    taking: bool = True
    """False after a hole in the raw lines: nothing behind it is kept or acknowledged."""
    written: int = 0
    durable: int = 0
    """Messages given to the raw file, and those that are on the disk: counted by one thread each."""

    def spoil(self, cause: str) -> None:
        """Take note of trouble; the first one counts."""
        self.trouble = self.trouble or cause


def summary_of(run: ScanRun, work: EndScan) -> ScanSummary:
    """Return what is true of the scan; it is complete only when nothing at all speaks against it.

    ``lines_lost`` are lines without data: those that never came, or along the vehicle without beam.
    """
    geometry, chain, finder = run.work.opened.geometry, run.chain, run.finder
    without = max(chain.lines_lost if chain else 0, finder.blind if finder else 0)
    nose = finder.nose if finder else None
    cause = work.cause or run.trouble or (None if work.closed is not None and chain is not None else "fault")
    cause = cause or ("partial" if without else None) or ("no_vehicle" if nose is None else None)
    provisional = run.calibration is not None and run.calibration.provisional
    measured: Literal["full", "none"] = "none" if run.calibration is None else "full"
    pixel_mm = round(pixel_m(geometry) * 1000, 4)
    return ScanSummary(
        scan_id=work.scan_id,
        device=work.device,
        state="incomplete" if cause else "complete",
        cause=cause,
        lines=chain.next_line - without if chain else 0,
        lines_lost=without,
        width=run.image.width,
        height=geometry.detectors,
        px_mm_x=0.0 if chain is None or chain.guessed else pixel_mm,
        px_mm_y=pixel_mm,
        col_nose=nose,
        col_tail=finder.tail if finder else None,
        calibration="provisional" if provisional else measured,
        # Without any speed the pixels are taken as square: an unknown area must not read as none.
        starved_m2=round(run.starved * pixel_m(geometry) ** 2, 3),
    )


def pixel_m(geometry: ScannerGeometry) -> float:
    """Return the height of a pixel at the lane plane, which is its width, too."""
    return geometry.pitch_m * geometry.plane_distance_m / geometry.detector_distance_m


def most_columns(detectors: int) -> int:
    """Return how many columns an image may have."""
    return min(JPEG_SIDE, MAX_PIXELS // max(1, detectors))

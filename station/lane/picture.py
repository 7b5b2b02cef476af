"""A scan as files that other systems read: made on request of what is kept of it, of nothing else.

The same records and blobs give the same bytes. Lines that never came are zero in the raw pages, and their
line records say that there was no beam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.formats.dicos import Facts, write
from drivers.formats.linestream.describe import parse
from drivers.formats.linestream.frames import Frame, FrameReader
from drivers.formats.linestream.messages import Describe, Lines
from drivers.formats.tiff import write_archive
from drivers.readings import DeviceIdentity
from imaging.radiograph.attenuation import SOURCES
from imaging.radiograph.kept import from_json
from imaging.radiograph.model import D16_WINDOW, RadiographError
from imaging.radiograph.render import whole_png
from station.domain.values import ScanSummary
from station.lane.export import sealed_record
from station.lane.image import from_npy
from station.lane.restart import Record

NEEDS = {
    "tiff": ("raw", "calibration"),
    "dicos-raw": ("raw", "calibration"),
    "dicos": ("image", "raw", "calibration"),
    "png": ("image", "flags"),
}
"""Kinds of files, and the roles of the blobs that each is made of; the first of them must be there."""
MEDIA = {
    "tiff": "image/tiff",
    "dicos-raw": "application/dicom",
    "dicos": "application/dicom",
    "png": "image/png",
}
SUFFIX = {"tiff": "tif", "dicos-raw": "raw.dcs", "dicos": "dcs", "png": "png"}
UNKNOWN_MEV = 1.25


class Raw(NamedTuple):
    """The raw lines of a scan: ``samples`` uint16 (lines, detectors), ``records`` uint32 (lines, 8)."""

    samples: NDArray[np.uint16]
    records: NDArray[np.uint32]
    identity: DeviceIdentity
    source: str


def scan_of(told: Sequence[Record]) -> ScanSummary | None:
    """Return an inspection's last scan that ended, by its records, oldest first."""
    ended = [data for _, kind, data in told if kind == "carril.scan.completed"]
    return (
        ScanSummary.model_validate({n: v for n, v in ended[-1].items() if n in ScanSummary.model_fields})
        if ended
        else None
    )


def blobs_of(told: Sequence[Record]) -> dict[str, str]:
    """Return the digests of the last scan's blobs by role."""
    ended = [data["blobs"] for _, kind, data in told if kind == "carril.scan.completed"]
    return {use["role"]: use["sha256"] for use in ended[-1]} if ended else {}


def made(kind: str, lane_id: str, told: Sequence[Record], blobs: Mapping[str, bytes]) -> bytes:
    """Return the scan as ``kind``, of the blobs by role that are there; blocks: for threads.

    Raises ``RadiographError`` where it cannot be made of them.
    """
    scan = scan_of(told)
    if scan is None:
        raise RadiographError("no scan of it has ended")
    if kind == "png":
        return whole_png(from_npy(blobs["image"]), from_npy(blobs["flags"]) if "flags" in blobs else None)  # type: ignore[arg-type]
    raw = raw_lines(blobs["raw"]) if "raw" in blobs else None
    calibration = from_json(blobs["calibration"]) if "calibration" in blobs else None
    if kind == "tiff":
        rows = None
        if calibration is not None:
            rows = np.array(
                [calibration.dark_mean, calibration.dark_sigma, calibration.gain], dtype=np.float32
            )
        if raw is None:
            raise RadiographError("its raw lines are not kept any more")
        described = {
            "lane": lane_id,
            "scan": scan.model_dump(mode="json"),
            "scanner": raw.identity.model,
            "source": raw.source,
        }
        return write_archive(raw.samples, rows, raw.records, described)
    facts = _facts(scan, lane_id, told, raw, calibration.made_us if calibration else 0)
    if kind == "dicos":
        return write(np.ascontiguousarray(from_npy(blobs["image"]).T), "presentation", facts, D16_WINDOW)
    if raw is None:
        raise RadiographError("its raw lines are not kept any more")
    return write(np.ascontiguousarray(raw.samples.T), "raw", facts)


def raw_lines(data: bytes) -> Raw:
    """Read the acquisition journal of a scan; ``RadiographError`` where no line is in it.

    Of two energies the first is returned.
    """
    frames = [frame.message for frame in FrameReader(journal=True).feed(data) if isinstance(frame, Frame)]
    blocks = [message for message in frames if isinstance(message, Lines)]
    if not blocks:
        raise RadiographError("no line of it was kept")
    count, detectors = max(block.next_line for block in blocks), blocks[0].samples.shape[2]
    samples, records = np.zeros((count, detectors), np.uint16), np.zeros((count, 8), np.uint32)
    for block in blocks:
        at = slice(block.first_line, block.next_line)
        samples[at] = block.samples[:, 0, :]
        records[at] = np.frombuffer(block.records.tobytes(), np.uint32).reshape(-1, 8)
    identity, source = DeviceIdentity(), ""
    for message in frames:
        if isinstance(message, Describe):
            identity, geometry = parse(message.text)
            source = geometry.source
    return Raw(samples, records, identity, source)


def _facts(
    scan: ScanSummary, lane_id: str, told: Sequence[Record], raw: Raw | None, calibrated_us: int
) -> Facts:
    sealed = sealed_record(told) or {}
    begun = next(data for _, kind, data in told if data.get("scan_id") == scan.scan_id)
    identity = sealed.get("identity") or {}
    item = (identity.get("container") or {}).get("text") or (identity.get("plate") or {}).get("text") or ""
    lines = SOURCES.get(raw.source if raw else "", ((UNKNOWN_MEV, 1.0),))
    taken_us = int(begun["stamp"]["utc_us"])
    known = raw.identity if raw else DeviceIdentity()
    return Facts(
        inspection_id=str(begun["inspection_id"]),
        scan_id=scan.scan_id,
        taken_us=taken_us,
        calibrated_us=calibrated_us or taken_us,
        item=item,
        make=known.make,
        model=known.model,
        serial=known.serial,
        firmware=known.firmware,
        station=lane_id,
        effective_mev=sum(mev * share for mev, share in lines),
        pixel_mm=scan.px_mm_x,
        simulated=bool(begun.get("simulated")),
        test=bool(begun.get("test")),
    )

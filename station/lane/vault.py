"""Evidence on its way to the disk: blobs and the raw lines of scans, from any thread."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from station.lane.effects import (
    BlobKept,
    KeepPictures,
    KeepReport,
    KeepTrace,
    PicturesKept,
    ReportKept,
    TraceKept,
)
from station.lane.hotspot import find
from station.lane.judge import judged
from station.store.errors import StoreError
from station.store.journal import Store
from station.store.quota import Pressure
from station.store.scanfile import ScanFile, discard

log = logging.getLogger("carril.imager")

RAW_MEDIA = "application/x-carril-linestream"
LARGE = frozenset({RAW_MEDIA, "application/x-npy"})
"""Media of the large parts of an image."""
Keep = Callable[[bytes, str], BlobKept]
"""Makes a blob of this media type durable; raises when it cannot be kept."""


class StoreVault:
    """The store's blobs, and one acquisition journal per running scan."""

    def __init__(self, store: Store, scans: Path) -> None:
        """Keep scans under ``scans`` until they are blobs."""
        self._store = store
        self._scans = scans
        self._files: dict[str, ScanFile] = {}

    def keep(self, data: bytes, media: str) -> BlobKept:
        """Make a blob durable; raises ``OSError`` when it cannot be kept.

        When room is scarce the large parts of an image are refused; its preview is not.
        """
        if media in LARGE and self.is_short:
            raise OSError(f"room is scarce: {media} of {len(data)} bytes is refused, only previews are kept")
        try:
            return BlobKept(self._store.keep_blob(data, media), media, len(data))
        except StoreError as error:
            raise OSError(str(error)) from error

    def is_named(self, sha256: str) -> bool:
        """Whether a record names the blob; raises ``StoreError``. Blocks: for threads."""
        return self._store.is_named(sha256)

    def write_lines(self, scan_id: str, wire: bytes, durable: Callable[[], None]) -> None:
        """Append to the scan's raw file; ``durable`` is called in its thread once it is on the disk."""

        def done(future: Future[int]) -> None:
            if future.exception() is None:
                durable()

        try:
            if scan_id not in self._files:
                self._files[scan_id] = ScanFile(self._scans / f"{scan_id}.cls")
            self._files[scan_id].append(wire).add_done_callback(done)
        except StoreError as error:
            raise OSError(str(error)) from error

    def keep_lines(self, scan_id: str) -> BlobKept | None:
        """Close the raw file and make it a blob; raises ``OSError`` when it cannot be kept.

        The file stays until ``drop_lines``: a blob that no record names yet would be nobody's after a stop.
        """
        file = self._files.pop(scan_id, None)
        if file is None:
            return None
        path = file.close()
        content = path.read_bytes()
        if self.is_short:
            path.unlink()  # else they would fill the disk in another folder
        return self.keep(content, RAW_MEDIA)

    def drop_lines(self, scan_id: str) -> None:
        """Remove the raw file: a durable record names its blob, or none ever will; blocks."""
        try:
            discard(self._scans, scan_id)
        except OSError as error:
            log.error("the raw lines of scan %s stay until the next start: %s", scan_id, error)

    @property
    def is_short(self) -> bool:
        """Whether room is scarce: what is not vital is refused."""
        return self._store.pressure >= Pressure.REFUSE

    def close(self) -> None:
        """Close what is open; the files stay for the next start."""
        for file in self._files.values():
            with contextlib.suppress(StoreError):  # its lines stay as they are; the next start takes them up
                file.close()
        self._files.clear()


def keep_pictures(keep: Keep, work: KeepPictures) -> PicturesKept:
    """Store a camera event's body and pictures; a failure is a result, never silence."""
    try:
        blobs = {}
        if work.read.body:
            blobs["event"] = keep(work.read.body, "application/octet-stream")
        for picture in work.read.pictures:
            role = "plate" if picture.role == "plate" else "photo"
            blobs[role] = keep(picture.jpeg, "image/jpeg")
        return PicturesKept(work, blobs)
    except Exception as error:
        return PicturesKept(work, {}, failed=str(error))


def keep_report(keep: Keep, work: KeepReport) -> ReportKept:
    """Judge and store a portal's report, the document first; a failure is a result, never silence."""
    blobs: dict[str, BlobKept] = {}
    failed: str | None = None
    try:
        done = judged(work)
    except Exception as error:
        log.exception("the report %s cannot be judged", work.report.name)
        return ReportKept(work, None, blobs, failed=f"it cannot be judged: {error!r}"[:200])
    try:
        blobs["n42"] = keep(work.report.body, "application/xml")
        if not work.known:
            blobs["trace"] = keep(done.trace, "application/json")
    except Exception as error:
        failed = str(error)
    profile = blobs["trace"].sha256 if "trace" in blobs else None
    return ReportKept(work, done.summary.model_copy(update={"profile": profile}), blobs, failed)


def keep_trace(keep: Keep, work: KeepTrace) -> TraceKept:
    """Locate, and store the radiation profile; a failure is a result, never silence."""
    found = find(work.sought)
    try:
        trace = {**work.trace, "hot_spots": [spot.model_dump(mode="json") for spot in found.hot_spots]}
        payload = json.dumps(trace, separators=(",", ":")).encode()
        return TraceKept(work, keep(payload, "application/json"), found)
    except Exception as error:
        return TraceKept(work, None, found, str(error))

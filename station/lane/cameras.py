"""Camera events: attributed to the vehicle in the lane, never opening an inspection of their own."""

from __future__ import annotations

from drivers.readings import CameraRead
from station.domain.events import IdentityResolved, PlateRead, ReadUnattributed
from station.domain.identity import PlateEvidence, read_status
from station.lane.core import Core, blob_uses
from station.lane.effects import KeepPictures, PicturesKept


class Cameras:
    """The reads of the vehicle in the lane."""

    def __init__(self, core: Core) -> None:
        """Begin without a read."""
        self._core = core

    def read(self, device: str, read: CameraRead) -> None:
        """Have the pictures stored first: a record never names a blob that is not durable."""
        inspection = self._core.inspection
        mine = inspection is not None and not read.late
        if inspection is not None and mine:
            self._core.begin("lpr")
            inspection.work(+1, self._core.now_s)
        inspection_id = inspection.inspection_id if inspection is not None and mine else None
        self._core.effects.append(KeepPictures(device, read, inspection_id))

    def kept(self, result: PicturesKept) -> None:
        """The pictures are durable (or failed): now the read counts."""
        core, work, read = self._core, result.work, result.work.read
        blobs = result.blobs
        photo, plate = blobs.get("photo"), blobs.get("plate")
        passage = core.passage
        if passage is None or passage.inspection.inspection_id != work.inspection_id:
            self._too_late(result, photo.sha256 if photo else None)
            return
        kept = passage.keep(blobs)
        passage.photo = photo.sha256 if photo else passage.photo
        passage.plate_photo = plate.sha256 if plate else passage.plate_photo
        evidence = PlateEvidence(work.device, read.text, read.region, read.confidence)
        before = passage.inspection.identity
        passage.inspection.work(-1, core.now_s)
        passage.inspection.read(evidence, core.now_s)
        core.tell(
            PlateRead,
            device=work.device,
            text=read.text,
            region=read.region,
            confidence=read.confidence,
            status=read_status(evidence),
            late=read.late,
            photo=photo.sha256 if photo else None,
            plate=plate.sha256 if plate else None,
            blobs=kept,
        )
        if passage.inspection.identity != before:
            core.tell(IdentityResolved, identity=passage.inspection.identity)

    def _too_late(self, result: PicturesKept, photo: str | None) -> None:
        core, work = self._core, result.work
        if work.inspection_id is None:
            core.emit(
                ReadUnattributed,
                device=work.device,
                late=work.read.late,
                photo=photo,
                blobs=blob_uses(result.blobs),
            )
            return
        core.amend(
            work.inspection_id,
            "plate_read",
            device=work.device,
            fields={"text": work.read.text, "photo": photo},
            blobs=blob_uses(result.blobs),
        )

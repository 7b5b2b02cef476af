"""Finding inspections by plate or container: a search for people, not a way to synchronise."""

from __future__ import annotations

import asyncio
import contextlib
from hashlib import sha256
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from imaging.radiograph.model import RadiographError
from station.api.feed import MAX_SEQ
from station.api.problems import Problem, refusals
from station.api.services import Lent, Services
from station.lane import picture
from station.lane.evidence import document, whole_blob
from station.lane.export import sealed_record
from station.store.blobs import DamagedBlob
from station.store.chain import FLAGS, Row, rfc3339
from station.store.feed import read_inspection
from station.store.search import PAGE, Found, find

router = APIRouter(prefix="/v1/inspections", tags=["inspections"])


N42_MEDIA = "application/xml"
_N42: dict[int | str, dict[str, Any]] = {
    200: {"content": {N42_MEDIA: {"schema": {"type": "string", "format": "binary"}}}},
    **refusals("not-found", "trimmed", "store-unavailable"),
}


_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}}
            for media in sorted(set(picture.MEDIA.values()))
        }
    },
    **refusals("bad-parameter", "not-found", "trimmed", "store-unavailable"),
}


class InspectionQuery(BaseModel):
    """What to look for; all inspections without it."""

    model_config = ConfigDict(extra="forbid")
    plate: str | None = Field(
        None,
        max_length=20,
        pattern=r"[0-9A-Za-z]",
        description="Case, spaces and dashes do not matter, nor O or Q for 0 and I for 1",
    )
    container: str | None = Field(
        None,
        max_length=20,
        pattern=r"[0-9A-Za-z]",
        description="As it was read, or as the manifest of the vehicle names its equipment",
    )
    after: int | None = Field(None, ge=0, le=MAX_SEQ, description="``next`` of the page before")


class Inspection(BaseModel):
    """An inspection as its records say last; ``declared`` is its manifest's equipment: nobody read it."""

    id: str
    state: str
    last_seq: int
    plate: str
    container: str
    declared: list[str]
    simulated: bool


class Inspections(BaseModel):
    """Inspections, newest first; ``next`` leads to older ones."""

    items: list[Inspection]
    next: str | None


class RecordLine(BaseModel):
    """One record of an inspection; its bytes are at ``/v1/records/{seq}``."""

    seq: int
    type: str
    time: str


class InspectionRecords(Inspection):
    """An inspection with all its records, oldest first."""

    records: list[RecordLine]


@router.get("", responses=refusals("store-unavailable"))
async def inspections(query: Annotated[InspectionQuery, Query()], services: Lent) -> Inspections:
    """Search; without a plate or container return the latest."""
    found = await services.store.read(
        lambda view: find(
            view.connection,
            view.tip.seq,
            plate=query.plate,
            container=query.container,
            before=query.after,
        )
    )
    items = [Inspection.model_validate(_fields(each)) for each in found]
    return Inspections(items=items, next=str(found[-1].first_seq) if len(found) == PAGE else None)


@router.get("/{inspection_id}", responses=refusals("not-found", "store-unavailable"))
async def inspection(inspection_id: Annotated[str, Path(max_length=64)], services: Lent) -> InspectionRecords:
    """Return one inspection and where its records are."""
    found, rows = await _told(services, inspection_id)
    lines = [RecordLine(seq=row.seq, type=row.type, time=rfc3339(row.time_us)) for row in rows]
    return InspectionRecords.model_validate({**_fields(found), "records": lines})


@router.get("/{inspection_id}/n42", response_class=Response, responses=_N42)
async def n42(inspection_id: Annotated[str, Path(max_length=64)], services: Lent) -> Response:
    """Return a sealed inspection as an N42.42-2012 document; what became known later is in it."""
    found, rows = await _told(services, inspection_id)
    told = [row.told() for row in rows]
    if sealed_record(told) is None:
        if found.state == "sealed":
            raise Problem(410, "trimmed", f"The records of inspection {inspection_id!r} were removed.")
        raise Problem(404, "not-found", f"Inspection {inspection_id!r} is not sealed yet.")
    body = await document(services.store, services.station, told)
    if body is None:
        raise Problem(404, "not-found", f"No portal was fitted for inspection {inspection_id!r}.")
    headers = {
        "ETag": f'"{sha256(body).hexdigest()}"',
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{found.id}.n42"',
    }
    return Response(body, headers=headers, media_type=N42_MEDIA)


@router.get("/{inspection_id}/image", response_class=Response, responses=_IMAGE)
async def export(
    inspection_id: Annotated[str, Path(max_length=64)],
    services: Lent,
    kind: Annotated[Literal["tiff", "dicos", "dicos-raw", "png"], Query(alias="as")],
) -> Response:
    """Return the radiograph for other systems: its raw lines with their calibration, DICOS, or a picture."""
    found, rows = await _told(services, inspection_id)
    told = [row.told() for row in rows]
    names = picture.blobs_of(told)
    blobs: dict[str, bytes] = {}
    for role in picture.NEEDS[kind]:
        with contextlib.suppress(DamagedBlob):
            if role in names and (data := await whole_blob(services.store, names[role])) is not None:
                blobs[role] = data
    if not names:
        raise Problem(404, "not-found", f"No scan of inspection {inspection_id!r} has ended.")
    if picture.NEEDS[kind][0] not in blobs:
        lost = f"What {kind} is made of was removed, is damaged or was never kept: {picture.NEEDS[kind][0]}."
        raise Problem(410, "trimmed", lost)
    try:
        body = await asyncio.to_thread(picture.made, kind, services.station, told, blobs)
    except RadiographError as error:
        raise Problem(
            410, "trimmed", f"The radiograph of {inspection_id!r} is not whole: {error}."
        ) from error
    headers = {
        "ETag": f'"{sha256(body).hexdigest()}"',
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{found.id}.{picture.SUFFIX[kind]}"',
    }
    return Response(body, headers=headers, media_type=picture.MEDIA[kind])


async def _told(services: Services, inspection_id: str) -> tuple[Found, list[Row]]:
    """Return an inspection and its records, oldest first."""
    found, rows = await services.store.read(lambda view: read_inspection(view, inspection_id))
    if found is None:
        raise Problem(404, "not-found", f"There is no inspection {inspection_id!r}.")
    return found, rows


def _fields(found: Found) -> dict[str, object]:
    return {
        "id": found.id,
        "state": found.state,
        "last_seq": found.last_seq,
        "plate": found.plate,
        "container": found.container,
        "declared": found.declared.split(),
        "simulated": bool(found.flags & FLAGS["simulated"]),
    }

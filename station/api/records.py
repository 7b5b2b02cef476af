"""Single records: the exact bytes that were hashed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from station.api.feed import MAX_SEQ
from station.api.problems import Problem, refusals
from station.api.services import Lent
from station.store.feed import Trimmed, read_record

MEDIA_TYPE = "application/cloudevents+json"

router = APIRouter(prefix="/v1/records", tags=["central"])

_EVENT: dict[str, Any] = {"type": "object", "description": "A CloudEvents 1.0 event in RFC 8785 form"}


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": _EVENT}}},
    **refusals("not-found", "trimmed", "damaged", "store-unavailable"),
}


@router.get("/{seq}", response_class=Response, responses=_RESPONSES)
async def record(seq: Annotated[int, Path(ge=1, le=MAX_SEQ)], services: Lent) -> Response:
    """Return one record; its ETag is its hash in the chain."""
    try:
        row, sound = await services.store.read(lambda view: read_record(view, seq))
    except Trimmed as error:
        raise Problem(410, "trimmed", str(error), oldest=error.oldest) from None
    if row is None:
        raise Problem(
            404, "not-found", f"There is no record {seq}; the last one is {services.store.published}."
        )
    if not sound:
        raise Problem(410, "damaged", f"Record {seq} is not what was written: `carril verify` says more.")
    headers = {"ETag": f'"{row.hash.hex()}"', "Cache-Control": "private, max-age=31536000, immutable"}
    return Response(row.body, headers=headers, media_type=MEDIA_TYPE)

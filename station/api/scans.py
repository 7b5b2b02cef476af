"""Images and radiation strips for screens: exact 16-bit columns, live and finished by the same path."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from station.api.problems import Problem, refusals
from station.lane.evidence import Evidence
from station.lane.image import reduced

_COLUMNS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    **refusals("bad-parameter", "not-found"),
}
MAX_COLUMNS = 4096
MAX_LEVEL = 6


def scans_router(evidence: Evidence) -> APIRouter:
    """Return the routes of images and profiles."""
    router = APIRouter(prefix="/v1", tags=["scans"])

    @router.get("/scans/{scan_id}/image", responses=refusals("not-found"))
    async def image(scan_id: str) -> dict[str, Any]:
        """Return what an image is: size, scale, pitch, where the nose is, how far it is done."""
        found = await evidence.image_facts(scan_id)
        if found is None:
            raise Problem(404, "not-found", f"There is no scan {scan_id}.")
        return found

    @router.get("/scans/{scan_id}/columns", response_class=Response, responses=_COLUMNS)
    async def columns(
        scan_id: str,
        first: Annotated[int, Query(alias="from", ge=0)],
        to: Annotated[int, Query(ge=0)],
        level: Annotated[int, Query(ge=0, le=MAX_LEVEL)] = 0,
    ) -> Response:
        """Return columns ``from`` to ``to`` (exclusive) of a level: little-endian uint16, line-major."""
        if to < first or to - first > MAX_COLUMNS:
            rule = f"must be {first} to {first + MAX_COLUMNS}: at most {MAX_COLUMNS} columns a call"
            errors = [{"field": "query.to", "message": rule}]
            raise Problem(400, "bad-parameter", f"query.to: {rule}", errors=errors)
        d16 = await evidence.d16(scan_id)
        if d16 is None:
            raise Problem(404, "not-found", f"There is no image of scan {scan_id}.")
        body = await asyncio.to_thread(reduced, d16, first, to, level)
        return Response(body, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})

    @router.get("/inspections/{inspection_id}/profile", responses=refusals("not-found"))
    async def profile(inspection_id: str) -> dict[str, Any]:
        """Return gamma and neutron counts along the vehicle, in metres behind its nose where known."""
        found = await evidence.profile(inspection_id)
        if found is None:
            raise Problem(404, "not-found", f"There is no radiation profile of inspection {inspection_id}.")
        return found

    return router

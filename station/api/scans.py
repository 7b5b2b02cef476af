"""Images and radiation strips for screens: exact 16-bit columns, live and finished by the same path."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from station.api.lane import Id
from station.api.problems import Problem, refusals
from station.domain.values import HotSpot
from station.lane.evidence import Evidence

_COLUMNS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    **refusals("bad-parameter", "not-found"),
}
MAX_COLUMNS = 4096
MAX_LEVEL = 6


class ImageFacts(BaseModel):
    """The image contract: size in columns and rows, scale, pitch in millimetres, windows in D16."""

    id: str
    width: int
    height: int
    bits: int
    scale: str
    level_count: int
    kinds: list[str]
    px_mm_x: float
    px_mm_y: float
    flip: bool
    col_nose: int | None
    cols_done: int
    complete: bool
    window_default: tuple[int, int]
    presets: dict[str, tuple[int, int]]
    simulated: bool


class Strip(BaseModel):
    """Counts of one channel: middle of each interval, and its place in metres behind the nose where known."""

    t_ms: list[int]
    s_m: list[float | None] | None
    counts: list[int]
    dt_s: float
    background: float | None
    limit: float | None


class ProfileView(BaseModel):
    """Radiation along the vehicle; ``axis`` says whether places come from the encoder or only from time."""

    axis: Literal["column", "time"]
    gamma: Strip
    neutron: Strip
    hot_spots: list[HotSpot]


def scans_router(evidence: Evidence) -> APIRouter:
    """Return the routes of images and profiles."""
    router = APIRouter(prefix="/v1", tags=["scans"])

    @router.get("/scans/{scan_id}/image", responses=refusals("not-found"))
    async def image(scan_id: Id) -> ImageFacts:
        """Return what an image is: size, scale, pitch, where the nose is, how far it is done."""
        found = await evidence.image_facts(scan_id)
        if found is None:
            raise Problem(404, "not-found", f"There is no scan {scan_id}.")
        return ImageFacts.model_validate(found)

    @router.get("/scans/{scan_id}/columns", response_class=Response, responses=_COLUMNS)
    async def columns(
        scan_id: Id,
        first: Annotated[int, Query(alias="from", ge=0)],
        to: Annotated[int, Query(ge=0)],
        level: Annotated[int, Query(ge=0, le=MAX_LEVEL)] = 0,
        kind: Literal["mean", "flags"] = "mean",
    ) -> Response:
        """Return columns ``from`` to ``to`` (exclusive) of a level, line-major.

        ``mean`` are little-endian uint16; ``flags`` are uint8, all flags of the pixels behind a value.
        """
        if to < first or to - first > MAX_COLUMNS:
            rule = f"must be {first} to {first + MAX_COLUMNS}: at most {MAX_COLUMNS} columns a call"
            errors = [{"field": "query.to", "message": rule}]
            raise Problem(400, "bad-parameter", f"query.to: {rule}", errors=errors)
        body = await evidence.columns(scan_id, first, to, level, kind)
        if body is None:
            raise Problem(404, "not-found", f"There is no image of scan {scan_id}.")
        return Response(body, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})

    @router.get("/inspections/{inspection_id}/profile", responses=refusals("not-found"))
    async def profile(inspection_id: Id) -> ProfileView:
        """Return gamma and neutron counts along the vehicle, in metres behind its nose where known."""
        found = await evidence.profile(inspection_id)
        if found is None:
            raise Problem(404, "not-found", f"There is no radiation profile of inspection {inspection_id}.")
        return ProfileView.model_validate(found)

    return router

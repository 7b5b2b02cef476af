"""One device for the technician: what it counted, what it said that was no record, what it said last."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from station.api.problems import Problem, refusals
from station.api.services import DeviceReport, Lent

router = APIRouter(tags=["health"])


class BadFrameKept(BaseModel):
    """Bytes that were no record: at most their first 64; ``offset`` counts from the link's opening."""

    utc_us: int
    kind: str
    offset: int
    head_hex: str


class Device(BaseModel):
    """A device since the station's start; ``tail_hex`` are the last 4 KiB that came from it."""

    name: str
    state: str
    cause: str
    detail: str
    identity: dict[str, str]
    age_s: float | None
    readings: int
    opened: int
    crashes: int
    abandoned: int
    bad_frames: dict[str, int]
    last_bad_frames: list[BadFrameKept]
    tail_hex: str


@router.get("/v1/devices/{name}", responses=refusals("not-found"))
async def device(name: str, services: Lent) -> Device:
    """Return everything that is known of one device."""
    report = services.lane.device(name)
    if report is None:
        known = ", ".join(services.lane.health().devices)
        raise Problem(404, "not-found", f"There is no device {name[:64]!r}; the lane has {known}.")
    return as_sent(name, report)


def as_sent(name: str, report: DeviceReport) -> Device:
    """Return the report as it is sent: bytes in hex."""
    return Device(
        name=name,
        state=report.state,
        cause=report.cause,
        detail=report.detail,
        identity=dict(report.identity),
        age_s=None if report.age_s is None else round(report.age_s, 3),
        readings=report.readings,
        opened=report.opened,
        crashes=report.crashes,
        abandoned=report.abandoned,
        bad_frames=dict(report.bad_frames),
        last_bad_frames=[
            BadFrameKept(utc_us=utc_us, kind=kind, offset=offset, head_hex=head.hex(" "))
            for utc_us, kind, offset, head in report.last_bad_frames
        ],
        tail_hex=report.tail.hex(" "),
    )

"""The screens of a lane: which are there, and when the demonstration's scripted officer decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from station.api.feed import MAX_SEQ
from station.api.lane import Body, Id
from station.api.problems import Problem
from station.lane.host import LaneHost

SCREEN_GONE_S = 10.0
MAX_SCREENS = 32


class ScreenBody(Body):
    """What a screen says of itself every 5 s."""

    visible: bool
    audio: Literal["running", "suspended", "none"]
    last_id: str | None = Field(default=None, max_length=80)
    touched_s: float | None = Field(default=None, ge=0)


class ScriptedOfficerBody(Body):
    """When the demonstration's scripted officer will decide, or ``None``."""

    decides_utc_us: int | None = Field(ge=0, le=MAX_SEQ)


@dataclass(slots=True)
class Screens:
    """Which screens are there, and when one was last touched; monotonic seconds."""

    seen_s: dict[str, float] = field(default_factory=dict)
    touched_s: float | None = None

    def put(self, screen_id: str, body: ScreenBody, now_s: float) -> None:
        """Take one report."""
        self.seen_s = {k: s for k, s in self.seen_s.items() if now_s - s < SCREEN_GONE_S}
        if len(self.seen_s) < MAX_SCREENS or screen_id in self.seen_s:
            self.seen_s[screen_id] = now_s
        if body.touched_s is not None:
            self.touched_s = max(self.touched_s or 0.0, now_s - body.touched_s)

    def open(self, now_s: float) -> int:
        """Return how many screens reported lately."""
        return sum(now_s - seen_s < SCREEN_GONE_S for seen_s in self.seen_s.values())


@dataclass(slots=True)
class ScriptedOfficer:
    """What the demonstration's scripted officer announced."""

    monotonic_s: Callable[[], float]
    decides_utc_us: int | None = None


def screens_router(host: LaneHost, screens: Screens, scripted: ScriptedOfficer) -> APIRouter:
    """Return the routes that screens report to."""
    router = APIRouter(prefix="/v1/lane", tags=["lane"])

    @router.put("/screens/{screen_id}", status_code=204)
    async def screen(screen_id: Id, body: ScreenBody) -> None:
        """Report a screen: visible, audible, touched."""
        screens.put(screen_id, body, scripted.monotonic_s())

    @router.get("/screens")
    async def open_screens() -> dict[str, Any]:
        """Return how many screens are open and when one was last touched."""
        now_s = scripted.monotonic_s()
        touched_s = None if screens.touched_s is None else now_s - screens.touched_s
        return {"open": screens.open(now_s), "touched_s": touched_s}

    @router.put("/simulated-officer", status_code=204)
    async def simulated_officer(body: ScriptedOfficerBody) -> None:
        """Announce when the demonstration's scripted officer decides; only in a simulated lane."""
        if not host.lane.core.facts.simulated:
            raise Problem(403, "forbidden", "This lane has real devices: nobody decides but an officer.")
        scripted.decides_utc_us = body.decides_utc_us
        host.show()

    return router

"""The demonstration's people: a scripted officer and a scripted centre, on the public routes only.

The officer acknowledges alarms, obeys every lock and steps back when somebody touches a screen. The
centre polls the feed and acknowledges what it has, under the name ``central``.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import time
from typing import Any

from station.cli.loopback import Refused, Station

log = logging.getLogger("carril.actors")

ALONE_S = 3.0
WATCHED_S = 15.0
TOUCHED_S = 60.0
POLL_S = 0.4
AGAIN_S = 1.0


class Officer:
    """Decides when nobody else does."""

    def __init__(self, port: int) -> None:
        """Begin with no vehicle in mind."""
        self._station = Station(port)
        self._asked: str | None = None
        self._asked_s = 0.0
        self._announced = False

    async def run(self) -> None:
        """Watch the lane for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._look()
            except Refused as error:
                log.info("the station refused the scripted officer: %s", error)
            except (OSError, http.client.HTTPException):
                await asyncio.sleep(AGAIN_S)

    async def _look(self) -> None:
        lane = await self._station.get("/v1/lane")
        inspection = lane["inspection"]
        if inspection is None or inspection["state"] != "awaiting_decision" or inspection["decision"]:
            await self._announce(None)
            self._asked = None
            return
        if self._asked != inspection["inspection_id"]:
            self._asked, self._asked_s = inspection["inspection_id"], time.monotonic()
        screens = await self._station.get("/v1/lane/screens")
        touched_s = screens["touched_s"]
        if touched_s is not None and touched_s < TOUCHED_S:
            self._asked_s = time.monotonic()
            await self._announce(None)
            return
        wait_s = WATCHED_S if screens["open"] else ALONE_S
        left_s = self._asked_s + wait_s - time.monotonic()
        if left_s > 0:
            await self._announce(left_s if screens["open"] else None)
            return
        await self._decide(lane, inspection)

    async def _announce(self, left_s: float | None) -> None:
        if (left_s is not None) == self._announced:
            return
        utc_us = None if left_s is None else round((time.time() + left_s) * 1e6)
        await self._station.send("PUT", "/v1/lane/simulated-officer", {"decides_utc_us": utc_us})
        self._announced = left_s is not None

    async def _decide(self, lane: dict[str, Any], inspection: dict[str, Any]) -> None:
        for alarm in lane["alarms"]:
            if alarm["state"] != "ack":
                await self._station.send("POST", f"/v1/lane/alarms/{alarm['alarm_id']}/ack", {})
        seen = {"inspection_id": inspection["inspection_id"], "version": inspection["version"]}
        locks = [lock["code"] for lock in inspection["release"]["locks"]]
        if locks == ["read_image"]:
            await self._station.send(
                "POST", "/v1/lane/image-reads", {**seen, "read_ms": 1500, "seen_fraction": 1.0}
            )
            return
        if "vehicle_not_at_barrier" in locks:
            return
        verdict = "secondary" if locks else "release"
        await self._station.send("POST", "/v1/lane/decisions", {**seen, "verdict": verdict})


class Centre:
    """Polls and acknowledges, as a targeting system would."""

    def __init__(self, port: int, name: str = "central") -> None:
        """Begin where the station says that we are."""
        self._station = Station(port)
        self._name = name
        self._epoch = ""
        self._seq = -1

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            try:
                if self._seq < 0:
                    known = await self._station.get(f"/v1/consumers/{self._name}")
                    self._epoch, self._seq = known["epoch"], known["acked"]
                await self._poll()
            except Refused as error:
                log.info("the station refused the scripted centre: %s", error)
                self._seq = -1
                await asyncio.sleep(AGAIN_S)
            except (OSError, http.client.HTTPException):
                await asyncio.sleep(AGAIN_S)

    async def _poll(self) -> None:
        query = (
            f"after={self._seq}&epoch={self._epoch}&limit=500&wait=20&include=simulated&consumer={self._name}"
        )
        page = await self._station.get(f"/v1/feed?{query}", timeout_s=30)
        if not page["items"]:
            return
        self._seq = page["next"]
        body = {"epoch": self._epoch, "seq": self._seq}
        await self._station.send("POST", f"/v1/consumers/{self._name}/ack", body)

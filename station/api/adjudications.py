"""Findings about radiation alarms, after the vehicle has gone: amendments of its sealed record."""

from __future__ import annotations

import asyncio
import hashlib

from fastapi import APIRouter, Response

from station.api.orders import DECIDED, Key, answer
from station.api.problems import Problem
from station.api.services import Lent
from station.domain.adjudication import Finding, RaisedAlarm, raised_alarm
from station.domain.decision import NotFound
from station.lane.commands import Adjudicate
from station.lane.host import LaneHost
from station.store.feed import read_inspection
from station.store.readers import View


def adjudications_router(host: LaneHost, officer: str) -> APIRouter:
    """Return the route of findings."""
    router = APIRouter()
    turn = asyncio.Lock()  # what the second of two finds must be what the first has written

    @router.post("/adjudications", status_code=201, responses=DECIDED)
    async def adjudicate(body: Finding, key: Key, services: Lent) -> Response:
        """Say what an alarm was (codes 0 to 11); ``before`` is the code that was seen, else 409."""

        def look(view: View) -> RaisedAlarm:
            told = (row.told() for row in read_inspection(view, body.inspection_id)[1])
            return raised_alarm(((kind, data) for _, kind, data in told), body)

        digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
        async with turn:
            try:
                alarm = await services.store.read(look)
            except NotFound as refused:
                raise Problem(404, refused.code, str(refused)) from None
            return await answer(host, Adjudicate(alarm, body, officer), key, digest)

    return router

"""The stream that screens live on (SSE): records as they become durable, samples as they come.

Only records have an id (``epoch:seq``), so a stream that was cut goes on without loss: what is missing is
sent first, and when that is too much the screen is told to take a new snapshot (``reset``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from station.api.problems import Problem, refusals
from station.domain.view import LaneView
from station.runtime.bus import RESET, Bus, BusFull, Message
from station.store.chain import Row
from station.store.journal import Store

HEARTBEAT_S = 1.0
MAX_REPLAY = 256
_EVENT = {
    "type": "object",
    "description": "Each event of the stream; only a record has an `id`",
    "properties": {
        "event": {
            "type": "string",
            "enum": ["record", "lane", "live", "scan.cols", "alarm_raw", "hb", "reset", "bye"],
        },
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string", "pattern": "^[0-9a-f]{32}:[0-9]+$"},
    },
    "required": ["event", "data"],
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _EVENT}}},
    **refusals("too-many-screens"),
}


def events_router(
    bus: Bus,
    stop: asyncio.Event,
    store: Store,
    view: Callable[[], LaneView],
    heartbeat: Callable[[], Mapping[str, Any]],
) -> APIRouter:
    """Return ``GET /v1/lane/events``."""
    router = APIRouter(prefix="/v1/lane", tags=["lane"])

    @router.get("/events", response_class=StreamingResponse, responses=_RESPONSES)
    async def events(
        after: Annotated[str, Query(max_length=80)] = "",
        last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=80)] = "",
    ) -> StreamingResponse:
        """Stream everything after a record; ``Last-Event-ID`` wins over ``after``."""
        try:
            bus.check_room()
        except BusFull as error:
            raise Problem(503, "too-many-screens", str(error), headers={"Retry-After": "5"}) from None
        stream = _stream(last_event_id or after)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def _stream(after: str) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        beat_s = 0.0
        with bus.subscribe() as subscription:  # here, so that a client that is gone already leaves nothing
            # What the lane has shown, not what the journal has: their difference is on its way to the bus.
            epoch, _, shown = view().at.partition(":")
            seq = int(shown)
            missed = await _missed(after, epoch, seq)
            for message in [RESET] if missed is None else missed:
                yield _frame(message)
            # What changed without a record since the screen took its snapshot.
            yield _frame(Message("lane", {"lane": view().model_dump(mode="json")}))
            async for news in subscription.until(stop, HEARTBEAT_S / 2):
                if loop.time() - beat_s >= HEARTBEAT_S:
                    beat_s = loop.time()
                    yield _frame(Message("hb", heartbeat()))
                if news is not None and (news.id is None or _seq(news.id) > seq):
                    yield _frame(news)
            yield _frame(Message("bye", {}))

    async def _missed(after: str, epoch: str, seq: int) -> list[Message] | None:
        known_epoch, _, known = after.partition(":")
        if not known.isdecimal() or known_epoch != epoch or not 0 <= seq - int(known) <= MAX_REPLAY:
            return None
        if int(known) == seq:
            return []
        rows = await store.records_after(int(known), seq - int(known))
        lane = view().model_dump(mode="json")
        return [_record(row, epoch, lane) for row in rows]

    return router


def _record(row: Row, epoch: str, lane: Mapping[str, Any]) -> Message:
    data = row.event()["data"]
    content = {
        "prev": f"{epoch}:{row.seq - 1}",
        "type": row.type,
        "version": data.get("version"),
        "inspection_id": data.get("inspection_id"),
        "lane": lane,
    }
    return Message("record", content, f"{epoch}:{row.seq}")


def _seq(event_id: str) -> int:
    return int(event_id.rpartition(":")[2])


def _frame(message: Message) -> bytes:
    lines = [f"event: {message.event}", f"data: {json.dumps(dict(message.data), separators=(',', ':'))}"]
    if message.id is not None:
        lines.insert(0, f"id: {message.id}")
    return ("\n".join(lines) + "\n\n").encode()

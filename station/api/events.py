"""The stream that screens live on (SSE): records as they become durable, samples as they come.

Only records have an id (``epoch:seq``), so a stream that was cut goes on without loss: what is missing is
sent first, and when that is too much the screen is told to take a new snapshot (``reset``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from station.domain.view import LaneView
from station.lane.live import Message
from station.runtime.bus import RESET, Bus, Subscription

HEARTBEAT_S = 1.0
MAX_REPLAY = 256

Replay = Callable[[int, int], Awaitable[list[dict[str, Any]]]]
"""Returns type, version and inspection of the records from one seq to another, both inclusive."""


def events_router(
    bus: Bus[Message],
    published: Callable[[], tuple[str, int]],
    replay: Replay,
    view: Callable[[], LaneView],
    heartbeat: Callable[[], dict[str, Any]],
) -> APIRouter:
    """Return ``GET /v1/lane/events``."""
    router = APIRouter(prefix="/v1/lane", tags=["lane"])

    @router.get("/events", response_class=StreamingResponse)
    async def events(
        after: Annotated[str, Query(max_length=80)] = "",
        last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=80)] = "",
    ) -> StreamingResponse:
        """Stream everything after a record; ``Last-Event-ID`` wins over ``after``."""
        stream = _stream(last_event_id or after)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def _stream(after: str) -> AsyncIterator[bytes]:
        with bus.subscribe() as subscription:
            epoch, seq = published()
            missed = await _missed(after, epoch, seq)
            for message in [Message("reset", {})] if missed is None else missed:
                yield _frame(message)
            async for message in _with_heartbeat(subscription):
                if message is None:
                    yield _frame(Message("hb", heartbeat()))
                elif message.event_id is None or _seq(message.event_id) > seq:
                    yield _frame(message)
            yield _frame(Message("bye", {}))

    async def _missed(after: str, epoch: str, seq: int) -> list[Message] | None:
        known_epoch, _, known = after.partition(":")
        if not known.isdigit() or known_epoch != epoch or not 0 <= seq - int(known) <= MAX_REPLAY:
            return None
        if int(known) == seq:
            return []
        lane = view().model_dump(mode="json")
        rows = await replay(int(known) + 1, seq)
        return [
            Message(
                "record",
                {"prev": f"{epoch}:{row['seq'] - 1}", **{k: row[k] for k in row if k != "seq"}, "lane": lane},
                f"{epoch}:{row['seq']}",
            )
            for row in rows
        ]

    return router


async def _with_heartbeat(subscription: Subscription[Message]) -> AsyncIterator[Message | None]:
    """Yield messages, and ``None`` once a second; ends when the station closes the bus."""
    waiting = asyncio.ensure_future(anext(subscription))
    loop = asyncio.get_running_loop()
    beat_s = loop.time()
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=max(0.0, beat_s - loop.time()))
            if loop.time() >= beat_s:
                beat_s = loop.time() + HEARTBEAT_S
                yield None
            if done:
                try:
                    item = waiting.result()
                except StopAsyncIteration:
                    return
                yield Message("reset", {}) if item is RESET else item
                waiting = asyncio.ensure_future(anext(subscription))
    finally:
        waiting.cancel()


def _seq(event_id: str) -> int:
    return int(event_id.rpartition(":")[2])


def _frame(message: Message) -> bytes:
    lines = [f"event: {message.event}", f"data: {json.dumps(message.data, separators=(',', ':'))}"]
    if message.event_id is not None:
        lines.insert(0, f"id: {message.event_id}")
    return ("\n".join(lines) + "\n\n").encode()

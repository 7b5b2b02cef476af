"""Fan-out of what has happened to whoever watches: a slow watcher loses its place, the lane nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

MOST_SUBSCRIBERS = 64


@dataclass(frozen=True, slots=True)
class Message:
    """One message to screens: its kind, JSON values, and an id if it can be asked for again."""

    event: str
    data: Mapping[str, Any]
    id: str | None = None


RESET = Message("reset", {})
"""Stands for everything that was dropped before it: look at the whole state again."""


class BusFull(Exception):
    """Nobody more can watch."""


class Subscription:
    """What waits for one subscriber; to be used with ``with``."""

    def __init__(self, bus: Bus, maxsize: int) -> None:
        """Build it; ``Bus.subscribe`` does."""
        self._bus = bus
        self._maxsize = maxsize
        self._waiting: deque[Message] = deque()
        self._news = asyncio.Event()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus.forget(self)

    def put(self, message: Message) -> None:
        """Append a message; when there is no room, drop what waits and leave ``RESET`` in its place."""
        if len(self._waiting) >= self._maxsize:
            self._waiting.clear()
            self._waiting.append(RESET)
        self._waiting.append(message)
        self._news.set()

    async def until(self, stop: asyncio.Event, heartbeat_s: float) -> AsyncIterator[Message | None]:
        """Yield messages until ``stop``, and ``None`` whenever none has come for ``heartbeat_s``."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stopping.done():
                if self._waiting:
                    yield self._waiting.popleft()
                    continue
                self._news.clear()
                news = asyncio.ensure_future(self._news.wait())
                try:
                    await asyncio.wait(
                        {news, stopping}, timeout=heartbeat_s, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    news.cancel()
                if not self._waiting and not stopping.done():
                    yield None
        finally:
            stopping.cancel()


class Bus:
    """All subscriptions; every call belongs in the event loop."""

    def __init__(self) -> None:
        """Begin without subscribers."""
        self._subscribers: dict[Subscription, None] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def check_room(self) -> None:
        """Raise ``BusFull`` when nobody more can watch."""
        if len(self) >= MOST_SUBSCRIBERS:
            raise BusFull(f"{MOST_SUBSCRIBERS} are watching already; close a screen and try again")

    def subscribe(self, maxsize: int = 256) -> Subscription:
        """Watch from now on, with room for ``maxsize`` messages (at least 2); raises ``BusFull``."""
        self.check_room()
        subscription = Subscription(self, max(2, maxsize))
        self._subscribers[subscription] = None
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Remove a subscription; idempotent."""
        self._subscribers.pop(subscription, None)

    def publish(self, message: Message) -> None:
        """Give ``message`` to every subscriber."""
        for subscription in self._subscribers:
            subscription.put(message)

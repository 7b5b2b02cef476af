"""Who waits for the writer, and how they are told: one wake-up for each event loop and commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from station.store.crashpoint import crashpoint
from station.store.errors import StoreError
from station.store.ops import Op

Subscriber = Callable[[int], None]


@dataclass(slots=True, eq=False)
class Waiter:
    """An operation and the future of its caller; ``outcome`` is its result or the exception.

    The writer may set the outcome of a waiter whom the watch has told already: what was told stays.
    """

    op: Op
    future: Future[Any] | asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop | None
    """The loop of an asyncio future; ``None`` for a future that any thread may set."""
    outcome: Any = None
    told: bool = field(default=False, init=False)

    def tell(self, outcome: Any) -> None:
        """Resolve the future; the caller may have been cancelled, which changes nothing."""
        if self.future.done():
            return
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Bell:
    """Tells waiters and subscribers, each in its own event loop, exactly once. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: dict[object, tuple[asyncio.AbstractEventLoop, Subscriber]] = {}

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call ``callback(published)`` in the running loop after each commit; returns the way to stop it."""
        token = object()
        with self._lock:
            self._subscribers[token] = (asyncio.get_running_loop(), callback)

        def stop() -> None:
            with self._lock:
                self._subscribers.pop(token, None)

        return stop

    def ring(
        self, waiters: Iterable[Waiter], published: int | None = None, failure: StoreError | None = None
    ) -> None:
        """Tell the waiters their outcomes, or their failure, and after a commit the subscribers its end."""
        crashpoint("before_tell")
        with self._lock:
            fresh = [(waiter, failure or waiter.outcome) for waiter in waiters if not waiter.told]
            for waiter, _ in fresh:
                waiter.told = True
            subscribers = list(self._subscribers.values())
        calls: dict[asyncio.AbstractEventLoop, list[Callable[[], object]]] = {}
        for waiter, outcome in fresh:
            if waiter.loop is None:
                waiter.tell(outcome)
            else:
                calls.setdefault(waiter.loop, []).append(partial(waiter.tell, outcome))
        if published is not None:
            for loop, subscriber in subscribers:
                # A call of its own: what a subscriber raises must not keep others from being told.
                calls.setdefault(loop, []).append(partial(loop.call_soon, subscriber, published))
        for loop, todo in calls.items():
            try:
                loop.call_soon_threadsafe(_call, todo)
            except RuntimeError:
                continue  # the loop has ended, and with it everybody who waited there

    def fail(self, waiters: Iterable[Waiter], error: StoreError) -> None:
        """Tell all waiters the same failure."""
        self.ring(waiters, failure=error)


def _call(todo: list[Callable[[], object]]) -> None:
    for step in todo:
        step()

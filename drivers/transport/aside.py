"""One thread beside the event loop for calls that may hang on a disk or on a share of another computer.

The thread is a daemon: what never comes back keeps neither the loop nor the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Aside:
    """Calls in their order, one at a time, for the loop that made it."""

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None]
        self._calls = queue.SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs: after ``end`` it hangs in a call."""
        return self._thread.is_alive()

    async def do(self, call: Callable[[], T], within_s: float) -> T:
        """Return what the call returns, or raise what it raises; ``TimeoutError`` after ``within_s``."""
        done: asyncio.Future[T] = self._loop.create_future()
        self._calls.put((call, done))
        async with asyncio.timeout(within_s):
            return await done

    async def end(self, within_s: float) -> None:
        """Take no more calls and wait for the thread, at most ``within_s``; idempotent."""
        self._calls.put(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await asyncio.shield(self._ended)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            call, done = item
            try:
                answer = call()
            except Exception as error:
                self._tell(done, None, error)
            else:
                self._tell(done, answer, None)
        self._tell(self._ended, None, None)

    def _tell(self, done: asyncio.Future[Any], answer: object, error: Exception | None) -> None:
        def tell() -> None:
            if done.done():
                return  # nobody waits any more
            if error is None:
                done.set_result(answer)
            else:
                done.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(tell)

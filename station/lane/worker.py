"""One thread with a queue of its own: bounded in what waits, and ended within a bounded time.

The thread is a daemon, so that work that hangs on a dying disk can never keep the process alive.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Work = TypeVar("Work")


class Worker(Generic[Work]):
    """Does work in order; ``do`` is called in the thread and must not raise."""

    def __init__(self, name: str, do: Callable[[Work], None], limit_bytes: int) -> None:
        """Start; at most ``limit_bytes`` of work wait."""
        self._do = do
        self._limit_bytes = limit_bytes
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._dropping = False
        self._queue: queue.SimpleQueue[tuple[Work, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, work: Work, size: int = 0) -> bool:
        """Queue work of so many bytes; false, and nothing queued, when too many wait already."""
        with self._lock:
            if size and self._waiting_bytes + size > self._limit_bytes:
                return False
            self._waiting_bytes += size
        self._queue.put((work, size))
        return True

    def end(self) -> None:
        """Take no more work; what waits is still done."""
        self._queue.put(None)

    def ended(self, within_s: float) -> bool:
        """Wait for the end; when the time is over, what still waits is dropped, and false returned."""
        self._thread.join(within_s)
        self._dropping = self._thread.is_alive()
        return not self._dropping

    def _run(self) -> None:
        while (item := self._queue.get()) is not None and not self._dropping:
            work, size = item
            self._do(work)
            with self._lock:
                self._waiting_bytes -= size

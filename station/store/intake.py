"""The writer's queue: bounded in bytes, handed out in groups, shut for everybody at one moment."""

from __future__ import annotations

import threading
from collections import deque

from station.store.errors import StoreBusy, StoreUnavailable
from station.store.waiting import Waiter

QUEUE_BYTES = 16 * 1024 * 1024
GROUP_RECORDS = 512
GROUP_BYTES = 4 * 1024 * 1024


class Intake:
    """Any thread puts, the writer takes. What is put is either taken or returned by ``shut``."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[Waiter] = deque()
        self._bytes = 0
        self._refusal = ""
        self.stopping = False
        """Nothing comes in any more; what is queued is still to be taken."""

    def put(self, waiter: Waiter) -> None:
        """Queue an operation; raises ``StoreBusy`` or ``StoreUnavailable`` and keeps nothing then."""
        with self._changed:
            if self._refusal or self.stopping:
                raise StoreUnavailable(f"Nothing can be kept: {self._refusal or 'the station stops'}.")
            if self._queue and self._bytes + waiter.op.size > QUEUE_BYTES:
                raise StoreBusy(f"{self._bytes} bytes wait for the disk already; try again.")
            if not self._queue:  # else the writer has not looked yet, or is at work
                self._changed.notify_all()
            self._queue.append(waiter)
            self._bytes += waiter.op.size

    def take(self, wait_s: float) -> list[Waiter]:
        """Wait for work and return a group: all that waits, up to 512 records or 4 MiB."""
        with self._changed:
            if not self._queue and not self.stopping:
                self._changed.wait(wait_s)
            group: list[Waiter] = []
            records = size = 0
            while self._queue and records < GROUP_RECORDS and size < GROUP_BYTES:
                waiter = self._queue.popleft()
                group.append(waiter)
                records += waiter.op.records
                size += waiter.op.size
            self._bytes -= size
            return group

    def shut(self, refusal: str) -> list[Waiter]:
        """Refuse everything from now on, and return what was queued."""
        with self._changed:
            self._refusal = refusal
            waiters = list(self._queue)
            self._queue.clear()
            self._bytes = 0
            return waiters

    def open(self) -> None:
        """Let callers in."""
        with self._changed:
            self._refusal = ""

    def stop(self) -> None:
        """Let nobody in any more and wake the writer."""
        with self._changed:
            self.stopping = True
            self._changed.notify_all()

"""The station's one clock: this computer's time, at a rate."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import time
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, TypeVar

from drivers.api import Clock
from drivers.readings import Stamp

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
GRACE_S = 1.0
"""Real seconds that a cancelled task has to end: also in virtual time, where nobody moves the clock then."""

TIMEX_BYTES = 1024
"""More than any architecture's struct timex."""
TIME_ERROR = 5
"""Answer of adjtimex(2): the clock is not synchronised to a reliable server."""

_LIBC = ctypes.CDLL(None)

T = TypeVar("T")


def clock_quality() -> Literal["sync", "unsync", "unknown"]:
    """Return whether a time source disciplines the kernel's clock, as adjtimex(2) says."""
    state = _LIBC.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))  # modes = 0: only read
    return "unknown" if state < 0 else "unsync" if state == TIME_ERROR else "sync"


class SystemClock:
    """Monotonic and UTC time of this computer, ``rate`` times as fast from the moment it is made.

    At rate 1 UTC is what the computer says at each call, steps included: evidence, never an order.
    """

    def __init__(self, rate: float = 1.0) -> None:
        """Start; ``rate`` must be above 0."""
        if not rate > 0:
            raise ValueError(f"rate = {rate}: a clock runs at a rate above 0")
        self.rate = rate
        self.boot_id = _boot_id()
        self._start_ns = time.monotonic_ns()

    def _gained_ns(self, mono_ns: int) -> int:
        """Return by how much this clock is ahead of real time."""
        return 0 if self.rate == 1 else round((mono_ns - self._start_ns) * (self.rate - 1))

    def stamp(self) -> Stamp:
        """Return now, as UTC and monotonic nanoseconds."""
        mono_ns = time.monotonic_ns()
        gained_ns = self._gained_ns(mono_ns)
        return Stamp(time.time_ns() + gained_ns, mono_ns + gained_ns, self.boot_id)

    def monotonic_s(self) -> float:
        """Return monotonic seconds."""
        mono_ns = time.monotonic_ns()
        return (mono_ns + self._gained_ns(mono_ns)) / 1e9

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock."""
        await asyncio.sleep(max(0.0, seconds) / self.rate)


class Overdue(TimeoutError):
    """Work was not done in its time; ``abandoned``: nor did it end when it was cancelled."""

    abandoned = False


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``; after ``seconds`` of ``clock`` cancel it and raise ``Overdue``.

    Work that ignores its cancellation is left behind after ``GRACE_S`` real seconds. Work that cancels
    itself is a bug, not the end of whoever waits for it: ``RuntimeError``.
    """
    task = asyncio.create_task(work)
    alarm = asyncio.create_task(clock.sleep(seconds))
    overdue = Overdue(f"not done within {seconds:g} s")
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise overdue
        if task.cancelled():
            raise RuntimeError("the work cancelled itself")
        return task.result()
    finally:
        overdue.abandoned = bool(await end(task, alarm))


async def end(*tasks: asyncio.Task[Any]) -> int:
    """Cancel tasks and wait until they have ended, at most ``GRACE_S`` real seconds; say nothing of how.

    Returns how many ignored it and are left behind.
    """
    for task in tasks:
        let_go(task)
    if not tasks:
        return 0
    _, left = await asyncio.wait(tasks, timeout=GRACE_S)
    return len(left)


def let_go(task: asyncio.Task[Any]) -> None:
    """Cancel a task; how it ends is nobody's concern any more."""
    task.cancel()
    task.add_done_callback(_ignore)


def _ignore(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # fetched, so that the loop does not report it as never seen


def _boot_id() -> str:
    """Return the kernel's id of this boot: monotonic times of different boots do not compare."""
    with contextlib.suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    return str(uuid.uuid4())

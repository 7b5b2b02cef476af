"""Is the process well? Lag of the event loop, and a sign of life to the service manager.

systemd kills a service with ``WatchdogSec=`` that has not sent ``WATCHDOG=1`` in time [sd_notify(3)]. It is
sent only when every critical task has beaten lately: a process in which one of them hangs is not well.
All times here are real, whatever the rate of the station's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping

BEAT_LIMIT_S = 5.0
PING_S = 3.0
SAMPLE_S = 0.05

log = logging.getLogger(__name__)


class LoopLag:
    """How much later than asked the event loop wakes a sleeper: now, and at worst since ``take_max``."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Build it; ``now`` gives monotonic seconds."""
        self.last_s = 0.0
        self._max_s = 0.0
        self._now = now

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            asked_s = self._now()
            await asyncio.sleep(SAMPLE_S)
            self.last_s = max(0.0, self._now() - asked_s - SAMPLE_S)
            self._max_s = max(self._max_s, self.last_s)

    def take_max(self) -> float:
        """Return the worst lag in seconds since the last call."""
        worst_s, self._max_s = self._max_s, 0.0
        return worst_s


class Watchdog:
    """Heartbeats of the critical tasks; each calls ``beat`` at least every few seconds, from the loop."""

    def __init__(
        self,
        tasks: Iterable[str],
        now: Callable[[], float] = time.monotonic,
        *,
        silent: Mapping[str, Callable[[], float]] | None = None,
    ) -> None:
        """Build it; a task that has never beaten counts from now on.

        ``silent`` gives the age of the last sign of life of what does not live on the loop (a thread).
        """
        self._now = now
        self._beats = dict.fromkeys(tasks, now())
        self._silent = dict(silent or {})
        self._told: set[str] = set()

    def beat(self, task: str) -> None:
        """Take note that a critical task is alive; ``KeyError`` for one that was not announced."""
        if task not in self._beats:
            raise KeyError(task)
        self._beats[task] = self._now()

    def late(self) -> dict[str, float]:
        """Return the tasks whose last beat is too old, with its age in seconds."""
        now_s = self._now()
        ages = {task: now_s - at_s for task, at_s in self._beats.items()}
        ages |= {task: age_s() for task, age_s in self._silent.items()}
        return {task: age_s for task, age_s in ages.items() if age_s > BEAT_LIMIT_S}

    def ping(self) -> bool:
        """Tell the service manager that all is well, if it is; return whether it is."""
        late = self.late()
        self._tell(late)
        if not late:
            notify("WATCHDOG=1")
        return not late

    def _tell(self, late: Mapping[str, float]) -> None:
        """Log each task once when it hangs and once when it is back."""
        for task in late.keys() - self._told:
            log.critical("%s has given no sign of life for %.0f s", task, late[task])
        for task in self._told - late.keys():
            log.warning("%s gives signs of life again", task)
        self._told = set(late)

    async def run(self) -> None:
        """Ping until cancelled."""
        while True:
            self.ping()
            await asyncio.sleep(PING_S)


def notify(state: str) -> bool:
    """Send ``READY=1``, ``STOPPING=1`` … to the service manager; false where there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        with contextlib.suppress(OSError):  # a service manager that does not listen is no reason to stop
            sender.sendto(state.encode(), address.replace("@", "\0", 1))
            return True
    return False

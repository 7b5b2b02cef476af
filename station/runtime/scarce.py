"""A listener without file descriptors says so once in a while, not at each of its tries.

The event loop of Python 3.11 goes through its whole backlog again after EMFILE and reports each try with a
traceback, some hundreds a second: the log would grow fastest when least can be done about it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from typing import Any

TOLD_EVERY_S = 10.0
_SCARCE = (errno.EMFILE, errno.ENFILE)

log = logging.getLogger("carril")


class ScarceDescriptors:
    """An exception handler of the event loop; everything else goes the usual way."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._tries = 0
        self._told_s: float | None = None

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count a failed accept and tell of them together, or hand on."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _SCARCE:
            loop.default_exception_handler(context)
            return
        self._tries += 1
        now_s = time.monotonic()
        if self._told_s is None or now_s - self._told_s >= TOLD_EVERY_S:
            log.error("%s: new connections wait (%d tries)", error.strerror, self._tries)
            self._tries, self._told_s = 0, now_s

"""Keeps the I/O board's outputs as the lane wants them, over broken links and silent boards.

The board's PLC drops every output when the watchdog coil stands still; after any failure all outputs
are written again, because nobody knows what the board did meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from drivers.api import Clock, DigitalIo, DriverError

log = logging.getLogger("carril.outputs")

WATCHDOG_S = 0.5
DEADLINE_S = 0.4


class Outputs:
    """Writer of one board; ``board`` returns its driver while it is online."""

    def __init__(self, board: Callable[[], DigitalIo | None], clock: Clock) -> None:
        """Begin in the safe state: everything off."""
        self._board = board
        self._clock = clock
        self._wanted: dict[str, bool] = {}
        self._written: dict[str, bool] = {}
        self._driver: DigitalIo | None = None
        self._changed = asyncio.Event()
        self._tick = False

    def want(self, outputs: Mapping[str, bool]) -> None:
        """Set what the outputs must be; written at once."""
        self._wanted = dict(outputs)
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Write changes and toggle the watchdog until ``stop``; then leave the safe state behind."""
        next_s = self._clock.monotonic_s()
        while not stop.is_set():
            now_s = self._clock.monotonic_s()
            if now_s >= next_s:
                self._tick = not self._tick
                next_s = now_s + WATCHDOG_S
            await self._write()
            try:
                wait_s = max(0.01, next_s - self._clock.monotonic_s())
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                continue
            finally:
                self._changed.clear()
        self._wanted = dict.fromkeys(self._wanted, False)
        await self._write()

    async def _write(self) -> None:
        driver = self._board()
        if driver is not self._driver or driver is None:
            self._driver, self._written = driver, {}
        if driver is None:
            return
        target = {**self._wanted, "watchdog": self._tick}
        change = {name: value for name, value in target.items() if self._written.get(name) != value}
        if not change:
            return
        try:
            await driver.write(change, deadline_s=DEADLINE_S)
            self._written.update(change)
        except DriverError as error:
            self._written = {}
            log.warning("outputs not written, will be written again: %s", error)

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
BOARD_SILENT_S = 1.5
"""Without a confirmed watchdog for so long nobody knows what the board dropped; it drops all after 2 s."""


class Outputs:
    """Writer of one board; ``board`` returns its driver while it is online."""

    def __init__(
        self, board: Callable[[], DigitalIo | None], clock: Clock, alive: Callable[[], bool]
    ) -> None:
        """Begin in the safe state: everything off. ``alive`` says whether the lane still thinks."""
        self._alive = alive
        self._board = board
        self._clock = clock
        self._wanted: dict[str, bool] = {}
        self._written: dict[str, bool] = {}
        self._driver: DigitalIo | None = None
        self._changed = asyncio.Event()
        self._tick = False
        self._confirmed_s = clock.monotonic_s()
        """When the board last confirmed the watchdog."""

    def want(self, outputs: Mapping[str, bool]) -> None:
        """Set what the outputs must be; written at once."""
        self._wanted = dict(outputs)
        self._changed.set()

    def drop(self) -> None:
        """Take everything back: nothing is permitted by a lane that does not think."""
        self.want(dict.fromkeys(self._wanted, False))

    async def run(self, stop: asyncio.Event) -> None:
        """Write changes and toggle the watchdog until ``stop``; then leave the safe state behind."""
        next_s = self._clock.monotonic_s()
        while not stop.is_set():
            now_s = self._clock.monotonic_s()
            if now_s >= next_s:
                self._tick ^= self._alive()  # else the board drops its outputs by itself
                next_s = now_s + WATCHDOG_S
            await self._write()
            await self._until_changed(max(0.01, next_s - self._clock.monotonic_s()))
        self.drop()
        await self._write()

    async def _until_changed(self, seconds: float) -> None:
        """Wait for ``seconds`` of the lane's clock or until other outputs are wanted."""
        waits = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._changed.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._changed.clear()

    async def _write(self) -> None:
        driver = self._board()
        silent_s = self._clock.monotonic_s() - self._confirmed_s
        if driver is not self._driver or driver is None or silent_s > BOARD_SILENT_S:
            self._driver, self._written = driver, {}
        if driver is None:
            return
        target = {**self._wanted, "watchdog": self._tick}
        # Not every lane has a horn, and one output that the board does not know would cost them all.
        target = {name: value for name, value in target.items() if name in driver.outputs}
        change = {name: value for name, value in target.items() if self._written.get(name) != value}
        if not change:
            return
        try:
            await driver.write(change, deadline_s=DEADLINE_S)
            self._written.update(change)
            if "watchdog" in change:
                self._confirmed_s = self._clock.monotonic_s()
        except DriverError as error:
            self._written = {}
            log.warning("outputs not written, will be written again: %s", error)

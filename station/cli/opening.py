"""Opening the store at a start, and again until it opens: a disk that fails ends no station.

Meanwhile the port answers that the lane is out of service. What the person who typed the command must
correct (another station's folder, a folder in use, one that may not be written) ends the start at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drivers.api import Clock
from station.api.no_store import Waiting, numbers, sentence, waiting_app
from station.cli.server import server_of
from station.cli.state import keep_last_good
from station.lanefile import LaneFile
from station.runtime.clock import clock_quality
from station.runtime.watchdog import notify
from station.store.errors import StateLocked, StoreError, StoreRefused, WrongStation
from station.store.journal import Store
from station.store.open import open_store
from station.store.place import Consumer

RETRY_S = 1.0
PATIENCE_US = 30_000_000
"""What a service manager that waits for ``READY=1`` is asked for at each try."""

log = logging.getLogger("carril")


async def open_when_possible(
    lane_file: LaneFile, state: Path, clock: Clock, listener: socket.socket, stop: asyncio.Event
) -> Store | None:
    """Return the open store, ``None`` when ``stop`` came first.

    Raises ``StoreError`` or ``OSError`` for what no waiting mends.
    """
    opening = partial(_open, lane_file, state, clock)
    try:
        return await asyncio.to_thread(opening)
    except (StoreError, OSError) as error:
        if _is_mistake(error):
            raise
        return await _wait(opening, lane_file, listener, stop, error)


def _open(lane_file: LaneFile, state: Path, clock: Clock) -> Store:
    """Open the store and keep the lane file beside it; blocks."""
    consumers = [Consumer(each.name, each.required, each.blobs) for each in lane_file.consumers]
    store = open_store(state, lane_file.lane.id, clock, consumers=consumers, config_sha256=lane_file.sha256)
    try:
        keep_last_good(state, lane_file.content)
    except OSError:
        store.close()
        raise
    return store


def _is_mistake(error: Exception) -> bool:
    """Whether the person who started it must correct something, and no disk will by itself.

    A service finds a folder that it may not write where its disk is not mounted yet: that may pass.
    """
    if isinstance(error, StateLocked | WrongStation | StoreRefused):
        return True
    mistakes = {errno.ENOTDIR, errno.ENAMETOOLONG}
    if sys.stderr.isatty():
        mistakes |= {errno.EACCES, errno.EPERM}
    return any(number in mistakes for number in numbers(error))


async def _wait(
    opening: Callable[[], Store],
    lane_file: LaneFile,
    listener: socket.socket,
    stop: asyncio.Event,
    error: Exception,
) -> Store | None:
    """Serve that there is no store, and try once a second."""
    told = ""

    def now() -> Waiting:
        names = tuple(device.name for device in lane_file.devices)
        return Waiting(lane_file.lane.id, names, clock_quality(), error)

    server = server_of(waiting_app(now), lambda: None)
    # A copy: the server closes what it was given, and the station goes on with the same port.
    serving = asyncio.create_task(server.serve([listener.dup()]))
    try:
        while not stop.is_set():
            if (cause := sentence(error)) != told:
                where = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/health"
                log.error("out of service: %s Tried again every second; see %s", cause, where)
                told = cause
            notify(f"STATUS=out of service: {cause}\nEXTEND_TIMEOUT_USEC={PATIENCE_US}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_S)
                break
            try:
                store = await asyncio.to_thread(opening)
            except (StoreError, OSError) as again:
                if _is_mistake(again):
                    raise
                error = again
            else:
                log.warning("the store is open: the lane starts")
                notify("STATUS=")
                return store
        return None
    finally:
        server.should_exit = True
        await serving

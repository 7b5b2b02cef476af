"""The read side's connections: short look-ups in threads, behind a gate that the writer can close.

Connections are kept, idle; no transaction survives its look-up: one left open during 20,000 writes lets the
write-ahead log grow fiftyfold.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from station.store import database
from station.store.errors import StoreBusy, StoreUnavailable
from station.store.place import Place

THREADS = 4
LIMIT_S = 0.25
"""Work of one look-up; time that its thread waits for a busy computer does not count …"""
WALL_LIMIT_S = 2.0
"""… up to here."""
_STEPS = 1000
"""SQLite's own instructions between two looks at the time."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Tip:
    """How far the journal is published: records beyond it may be stored, but nobody was told of them."""

    epoch: bytes
    first_seq: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class View:
    """What a look-up works with: a read transaction, and how far it may look."""

    connection: sqlite3.Connection
    tip: Tip


class Readers:
    """Runs look-ups; ``close`` and ``open`` belong to the writer."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="carril-read")
        self._changed = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._busy: set[sqlite3.Connection] = set()
        self._is_open = False
        self._ended = False
        self.tip = Tip(bytes(16), 0, 0, bytes(32))
        """Set by the writer, always as a whole."""
        self.distrust: Callable[[bytes, Exception], object] = lambda epoch, error: None
        """Told of an epoch whose database a look-up found damaged."""

    def open(self, tip: Tip) -> None:
        """Let look-ups in."""
        with self._changed:
            self.tip = tip
            self._is_open = True

    def close(self, wait_s: float) -> bool:
        """Let nobody in, interrupt whoever is in, and close all connections; whether none is left."""
        with self._changed:
            self._is_open = False
            for connection in self._busy:
                connection.interrupt()
            self._changed.wait_for(lambda: not self._busy, wait_s)
            while self._idle:
                self._idle.pop().close()
            return not self._busy

    def end(self) -> None:
        """Close for ever."""
        self._ended = True
        self.close(LIMIT_S)
        self._threads.shutdown(wait=True)

    async def run(self, fn: Callable[[View], Result]) -> Result:
        """Run ``fn`` in a thread; see ``look``."""
        if self._ended:
            raise StoreUnavailable("The journal is closed.")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.look, fn)

    def look(self, fn: Callable[[View], Result]) -> Result:
        """Run ``fn`` in a read transaction of at most 250 ms of work.

        Raises ``StoreBusy`` when it took longer, ``StoreUnavailable`` when the journal is closed or broken.
        """
        with self._borrowed() as connection:
            view = View(connection, self.tip)
            work_until, wall_until = time.thread_time() + LIMIT_S, time.monotonic() + WALL_LIMIT_S
            connection.set_progress_handler(
                lambda: time.thread_time() > work_until or time.monotonic() > wall_until, _STEPS
            )
            try:
                connection.execute("BEGIN")
                return fn(view)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                    late = StoreBusy(f"The look-up took longer than {LIMIT_S} s.")
                    # ``close`` interrupts, too: then time is not the reason.
                    raise (late if self._is_open else StoreUnavailable("The journal is not open.")) from error
                if database.fault_of(error) is database.Fault.CORRUPT:
                    self.distrust(view.tip.epoch, error)
                raise StoreUnavailable(f"The journal cannot be read: {error}.") from error
            finally:
                connection.set_progress_handler(None, 0)
                with contextlib.suppress(sqlite3.Error):
                    connection.rollback()

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        with self._changed:
            if not self._is_open:
                raise StoreUnavailable("The journal is not open.")
            connection = self._idle.pop() if self._idle else self._connect()
            self._busy.add(connection)
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._changed:
            self._busy.remove(connection)
            if self._is_open:
                self._idle.append(connection)
            else:
                connection.close()
            self._changed.notify_all()

    def _connect(self) -> sqlite3.Connection:
        try:
            return database.connect_reader(self._place.database)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"The journal cannot be read: {error}.") from error

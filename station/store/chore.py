"""What the writer does by itself between two groups: sign heads, trim, take over what is in quarantine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Protocol

from station.store.ops import Op
from station.store.place import Journal

REST_S = 10.0


class Chore(Protocol):
    """A job of many small steps; every call is in the writer's thread, and callers wait meanwhile."""

    def next(self, journal: Journal, *, idle: bool) -> Op | None:
        """Return the next step, a transaction of its own; ``None``: nothing is to be done now.

        ``idle``: nobody waits. It reads, if at all, through ``journal.connection``. After a failure of the
        step it is asked again, of a journal that may be of another epoch.
        """
        ...

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Do what SQLite allows only outside any transaction; called when idle and after steps."""
        ...


class Chores:
    """All chores, in their order. One whose step was refused rests: the disk is full, and will be a while."""

    def __init__(self, chores: Iterable[Chore]) -> None:
        self._from_s = dict.fromkeys(chores, 0.0)

    def ready(self) -> list[Chore]:
        """Return those that do not rest."""
        now_s = time.monotonic()
        return [chore for chore, from_s in self._from_s.items() if from_s <= now_s]

    def took(self, chore: Chore, step: Future[object]) -> None:
        """A step is over: stored, or refused."""
        if not step.done() or step.exception() is not None:
            self._from_s[chore] = time.monotonic() + REST_S

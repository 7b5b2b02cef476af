"""What the writer does by itself between two groups: sign heads, trim, take over what is in quarantine."""

from __future__ import annotations

import sqlite3
from typing import Protocol

from station.store.ops import Op
from station.store.place import Journal


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

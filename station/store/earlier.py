"""Signed heads of earlier epochs, as far as the journals in quarantine hold them still.

What a damaged page says is handed out as it is: whoever keeps a head checks its signature.
"""

from __future__ import annotations

import contextlib
import sqlite3

from station.store import database, schema
from station.store.heads import notes_after
from station.store.mark import read_mark
from station.store.place import Place


class NotKept(Exception):
    """No journal of this epoch is in quarantine."""


class Unreadable(Exception):
    """The journal of this epoch is in quarantine, and its heads cannot be read there."""


def earlier_notes(place: Place, epoch: bytes, after: int, count: int) -> list[tuple[int, str]]:
    """Return sequence number and note of an earlier epoch's heads behind ``after``, oldest first.

    An old copy that was put back may have ended twice: its heads are those of both. Raises ``NotKept``, or
    ``Unreadable`` where no journal of the epoch can be read.
    """
    found: dict[int, str] = {}
    is_kept = is_read = False
    for folder in sorted(place.quarantine.glob("[0-9][0-9][0-9][0-9]-*")):
        mark = read_mark(folder / place.mark.name)
        is_kept |= mark is not None and mark.epoch == epoch
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            reader = database.connect_reader(folder / "journal" / place.database.name)
            with contextlib.closing(reader):
                owners = [row[1] for row in reader.execute(schema.GET_STORE)]
                if owners == [epoch]:
                    is_kept = True
                    found |= notes_after(reader, after, count)
                    is_read = True
    if not is_kept:
        raise NotKept(f"No journal of epoch {epoch.hex()} is kept here.")
    if not is_read:
        raise Unreadable(
            f"The heads of epoch {epoch.hex()} behind record {after} cannot be read: its journal, in "
            "quarantine, is damaged."
        )
    return sorted(found.items())[:count]

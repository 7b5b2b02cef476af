"""Blob files that this journal does not know: they take room, so they count; some may be removed at last.

After a new epoch the blobs of acknowledged records have no rows. Each start and each new epoch walks through
``blobs/`` and ``quarantine/blobs/``, a few folders a step, and counts what has no row into
``journal.stray_bytes``; a second, cheap walk through what was found forgets what has got a row or is gone.
From 80 % of the room on those go that the journals in quarantine prove to be needed no more (``witness``).
What nobody can prove stays until a person removes it.

The room is bounded by the free space of the disk too, read here every ten seconds: another program may fill
it. What this program writes or removes itself leaves the bound where it is.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from station.store.blobs import BlobFiles, find_blob
from station.store.database import size_of
from station.store.ops import Op
from station.store.orphans import BLOB_NAME, blob_folders, names
from station.store.place import Journal, Place
from station.store.quota import TRIM_FROM, TRIM_TO, bound_by_disk
from station.store.salvage import Breath
from station.store.stats import Stats
from station.store.witness import is_done_with, witnesses

STEP_FILES = 64
"""Folders and files looked at in one step: a cold disk needs milliseconds for each."""
KNOWN = 20_000
"""More of them are counted, and looked at one by one after the next start."""
AGAIN_S = 10.0
"""Between two looks at the disk's free space, and between two walks through what is known; monotonic."""

log = logging.getLogger("carril.store")


class Strays:
    """The chore; it sets ``stray_bytes`` and ``blob_bound`` of the journal."""

    def __init__(
        self, place: Place, files: BlobFiles, stats: Stats, salvaged: Callable[[Journal], bool]
    ) -> None:
        """``salvaged`` tells whether no record of an earlier epoch will come any more and name its blobs."""
        self._place, self._files, self._stats, self._salvaged = place, files, stats, salvaged
        self._journal: Journal | None = None
        self._walk: Iterator[Path | None] | None = None
        self._known: dict[Path, int] = {}
        """Path and bytes of each file without a row."""
        self._bytes = 0
        """Of all of them, and of those beyond ``KNOWN``."""
        self._queue: deque[Path] = deque()
        self._again_s = self._disk_s = 0.0
        self._trims = False

    def next(self, journal: Journal, *, idle: bool) -> Op | None:
        """Look at some files; a breath while there is more to look at."""
        self._follow(journal)
        if time.monotonic() >= self._disk_s:
            self._disk_s = time.monotonic() + AGAIN_S
            self._read_disk(journal)
        if self._walk is not None:
            self._count(journal)
        elif self._queue:
            self._look_again(journal)
        elif self._known and time.monotonic() >= self._again_s:
            self._again_s = time.monotonic() + AGAIN_S
            self._queue.extend(self._known)
        journal.stray_bytes = self._bytes
        return Breath() if self._walk is not None or self._queue else None

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Nothing to tidy."""

    def _follow(self, journal: Journal) -> None:
        """Take up a reopened journal; that of a new epoch knows none of the blobs."""
        before, self._journal = self._journal, journal
        if before is not None and before is not journal:
            journal.blob_bound = before.blob_bound
        if before is None or before.epoch != journal.epoch:
            self._bytes, self._walk = sum(self._known.values()), self._paths()

    def _read_disk(self, journal: Journal) -> None:
        try:
            journal.blob_bound = bound_by_disk(self._place.state, journal.blob_used, journal.blob_bound)
        except OSError as error:
            log.error("the free space of %s cannot be read: %s", self._place.state, error)

    def _paths(self) -> Iterator[Path | None]:
        for folder in (*[self._place.quarantine / "blobs"], *blob_folders(self._place.state)):
            yield None  # an empty folder costs a look, too
            for name in names(folder, BLOB_NAME):
                yield folder / name

    def _count(self, journal: Journal) -> None:
        seen = list(islice(self._walk or (), STEP_FILES))
        for path in seen:
            if path is None or path in self._known or self._has_row(journal, path):
                continue
            if len(self._known) < KNOWN:
                self._learn(path)
            else:
                self._bytes += _size(path)
        if len(seen) < STEP_FILES:
            self._walk = None
            self._tell()

    def _tell(self) -> None:
        if self._known:
            log.warning(
                "%d blob files of %d bytes in %s and %s are in no record of this journal: they count against "
                "the room for blobs. What a journal in quarantine proves to have arrived goes when room is "
                "scarce; the rest only a person may remove, after a copy was made.",
                len(self._known),
                self._bytes,
                self._place.state / "blobs",
                self._place.quarantine / "blobs",
            )

    def _look_again(self, journal: Journal) -> None:
        """Forget what is no stray any more, and remove what may go while room is scarce."""
        batch = [self._queue.popleft() for _ in range(min(STEP_FILES, len(self._queue)))]
        for path in batch:
            if not os.path.lexists(path):
                self._forget(path)
                moved = self._place.quarantine / "blobs" / path.name
                if moved not in self._known and os.path.lexists(moved):
                    self._learn(moved)
            elif self._has_row(journal, path):
                self._forget(path)
        left = [path for path in batch if path in self._known]
        if left and self._salvaged(journal):
            self._make_room(journal, left)

    def _make_room(self, journal: Journal, paths: list[Path]) -> None:
        used = self._bytes + journal.blob_bytes
        room = journal.blob_room(self._place.blob_quota_bytes)
        self._trims = used >= room * (TRIM_TO if self._trims else TRIM_FROM)
        if not self._trims:
            return
        with witnesses(self._place) as heard:
            for path in paths:
                if used < room * TRIM_TO:
                    return
                digest = bytes.fromhex(path.name)
                if is_done_with(digest, heard, journal.connection) and self._remove(path, digest):
                    used -= self._known[path]
                    self._forget(path)
                    self._stats.trimmed_blobs += 1

    def _remove(self, path: Path, digest: bytes) -> bool:
        try:
            if path.parent == self._place.quarantine / "blobs":
                path.unlink(missing_ok=True)
                return True
            return self._files.remove(digest)
        except OSError as error:
            log.error("blob %s cannot be removed: %s", path, error)
            return False

    def _learn(self, path: Path) -> None:
        self._known[path] = _size(path)
        self._bytes += self._known[path]

    def _forget(self, path: Path) -> None:
        self._bytes -= self._known.pop(path, 0)

    def _has_row(self, journal: Journal, path: Path) -> bool:
        """Whether the journal knows the file or will at once; ``Orphans`` takes what it calls removed."""
        if path.parent == self._place.quarantine / "blobs":
            return False  # a second copy of what is in use
        digest = bytes.fromhex(path.name)
        return find_blob(journal.connection, digest) is not None or self._files.is_unnamed(digest)


def _size(path: Path) -> int:
    try:
        return size_of(path)
    except OSError:
        return 0

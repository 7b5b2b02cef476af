"""Files among the blobs that the journal does not know: moved away when they were found twice.

A file without a row is what a crash left between the file and its row, or a blob of an earlier epoch. It may
still be wanted: a command may be on its way that enters it. So it goes into ``quarantine/blobs/`` only when
two scans found it that lie 24 hours or a restart apart; it counts in both (``strays``). What a finished
scan found stands in the small file ``orphans`` of the state folder: 32 bytes for each. A file whose row says
that it was removed is one that a crash kept, and goes at once. A row that no record names, since a crash came
between blob and record, is forgotten likewise, and its file is then one without a row.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import bindparam, delete

from station.store import schema
from station.store.blobs import BlobFiles, find_blob, is_named
from station.store.chain import HASH_BYTES
from station.store.files import make_folder, replace_synced, sync_folder
from station.store.ops import Op, Small, Transaction
from station.store.place import Journal, Place
from station.store.stats import Stats

STEP_FOLDERS = 16
STEP_EACH_S = 0.1
SCAN_EACH_S = 24 * 3600.0
MOST = 10_000
"""More of them wait for the next scan."""
BLOB_NAME = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{2}")

log = logging.getLogger("carril.store")


_FORGET = schema.compiled(delete(schema.blob).where(schema.blob.c.sha256 == bindparam("sha256")))


@dataclass(frozen=True)
class Forget(Small):
    """Forget blobs that no record names; one that a record names by now stays."""

    digests: tuple[bytes, ...]

    def apply(self, tx: Transaction) -> None:
        """Remove their rows; the files are without one then."""
        for digest in self.digests:
            row = find_blob(tx.connection, digest)
            if row is not None and row.present and not is_named(tx.connection, digest):
                tx.connection.execute(_FORGET, {"sha256": digest})
                tx.blob_bytes -= row.size


class Orphans:
    """The chore; a step looks at 16 folders."""

    def __init__(
        self, place: Place, files: BlobFiles, stats: Stats, salvaged: Callable[[Journal], bool]
    ) -> None:
        """``salvaged`` tells whether no record of an earlier epoch will come any more and name its blobs."""
        self._salvaged = salvaged
        self._place = place
        self._files = files
        self._stats = stats
        self._list = place.state / "orphans"
        self._before: set[bytes] | None = None
        """What the last finished scan found, before this start or 24 hours ago."""
        self._found: set[bytes] = set()
        self._nameless: list[bytes] = []
        """Rows of this step that no record names, seen twice."""
        self._folders: Iterator[Path] | None = None
        self._next_s = 0.0

    def next(self, journal: Journal, *, idle: bool) -> Op | None:
        """Look at some folders; what has a row and no name for the second time is to be forgotten."""
        now_s = time.monotonic()
        if now_s < self._next_s or not self._salvaged(journal):
            return None
        self._next_s = now_s + STEP_EACH_S
        try:
            self._step(journal)
        except OSError as error:
            log.error("what the scan of the blobs found cannot be kept: %s", error)
            self._end()
        forget, self._nameless = self._nameless, []
        return Forget(tuple(forget)) if forget else None

    def tidy(self, connection: object) -> None:
        """Nothing to tidy."""

    def _step(self, journal: Journal) -> None:
        if self._folders is None:
            self._folders, self._found = blob_folders(self._place.state), set()
            if self._before is None:
                self._before = self._read()
        for _ in range(STEP_FOLDERS):
            folder = next(self._folders, None)
            if folder is None:
                if self._found != self._before:
                    replace_synced(self._list, b"".join(sorted(self._found)))
                self._before = self._found
                self._end()
                return
            for name in names(folder, BLOB_NAME):
                try:
                    self._judge(journal, bytes.fromhex(name))
                except OSError as error:  # of this file: the others may be sound
                    log.error("blob %s can be neither moved nor removed: %s", name, error)

    def _end(self) -> None:
        self._folders, self._next_s = None, time.monotonic() + SCAN_EACH_S

    def _judge(self, journal: Journal, digest: bytes) -> None:
        row = find_blob(journal.connection, digest)
        twice = self._before is not None and digest in self._before
        if row is not None and not row.present:
            self._files.remove(digest)
        elif row is not None and is_named(journal.connection, digest):
            pass
        elif row is not None and twice:
            self._nameless.append(digest)  # a record that comes now enters it again
        elif twice:
            folder = self._place.quarantine / "blobs"
            make_folder(folder)
            if self._files.remove(digest, into=folder):
                sync_folder(folder)
                self._stats.orphans += 1
                log.warning("blob %s is in no record: moved into %s", digest.hex(), folder)
        elif len(self._found) < MOST and not self._files.is_unnamed(digest):
            self._found.add(digest)

    def _read(self) -> set[bytes]:
        try:
            content = self._list.read_bytes()
        except FileNotFoundError:
            return set()
        return {content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)}


def blob_folders(state: Path) -> Iterator[Path]:
    """Walk through the folders that blobs lie in."""
    root = state / "blobs"
    for first in names(root, _FOLDER):
        for second in names(root / first, _FOLDER):
            yield root / first / second


def names(folder: Path, wanted: re.Pattern[str]) -> list[str]:
    """Return what is named like that in a folder, sorted; nothing where it cannot be read."""
    try:
        return sorted(name for name in os.listdir(folder) if wanted.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        log.error("the blobs in %s cannot be looked through: %s", folder, error)
        return []

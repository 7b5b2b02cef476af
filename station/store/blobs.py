"""Large immutable bytes, kept as files under their SHA-256: ``blobs/ab/cd/<sha256>``.

Order of durability: bytes, name, folders, and only then the row in the journal. A file without a row is an
orphan and harmless, and enters the journal when a record names it (``adopt``): the journal of a new epoch has
no rows. A row without its file cannot happen. Reading checks each MiB against its own digest.
What is not finished lies in ``blobs/part``, so that a start has one folder to sweep and not 65,536.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select

from station.store import schema
from station.store.crashpoint import crashpoint
from station.store.files import make_folder, sync_folder, write_synced

CHUNK_BYTES = 1024 * 1024
_DIGEST_BYTES = 32
_PRESENT = 0
UNNAMED = 4096
"""Blobs that may wait for their record; more are some that never got one."""


_of_it = schema.record_blob.c.sha256 == bindparam("sha256")
_NAMED = schema.compiled(select(schema.record_blob.c.seq).where(_of_it).limit(1))


class DamagedBlob(Exception):
    """The file is missing or its bytes are not those that were stored."""


@dataclass(frozen=True, slots=True)
class BlobRow:
    """What the journal knows of a blob; ``chunks`` has the SHA-256 of each MiB."""

    sha256: bytes
    size: int
    media: str
    chunks: bytes
    state: int

    @property
    def present(self) -> bool:
        """Whether the bytes have not been removed by retention."""
        return self.state == _PRESENT

    def values(self) -> dict[str, Any]:
        """Return the row as SQL parameters."""
        return {
            "sha256": self.sha256,
            "bytes": self.size,
            "media": self.media,
            "chunks": self.chunks,
            "state": self.state,
        }


def find_blob(connection: sqlite3.Connection, digest: bytes) -> BlobRow | None:
    """Return the row of a blob, or ``None``."""
    row = connection.execute(schema.GET_BLOB, {"sha256": digest}).fetchone()
    return BlobRow(*row) if row else None


def is_named(connection: sqlite3.Connection, digest: bytes) -> bool:
    """Whether a record names a blob."""
    return connection.execute(_NAMED, {"sha256": digest}).fetchone() is not None


class BlobFiles:
    """The files. Every method blocks: call it in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._unfinished = root / "part"
        self._lock = threading.Lock()
        self._unnamed: OrderedDict[bytes, None] = OrderedDict()
        self.syncs = 0

    def start(self) -> None:
        """Remove what a killed process left unfinished; raises ``OSError``."""
        shutil.rmtree(self._unfinished, ignore_errors=True)
        make_folder(self._unfinished)

    def has(self, content: bytes) -> bool:
        """Whether a file of that name and length is there: writing the bytes again needs no room."""
        try:
            return self.path(sha256(content).digest()).stat().st_size == len(content)
        except OSError:
            return False

    def write(self, content: bytes, media: str) -> BlobRow:
        """Make the bytes durable and return their row; raises ``OSError`` and leaves at most an orphan then.

        Writing the same bytes again replaces the file, which heals a damaged one.
        """
        view = memoryview(content)
        parts = (view[start : start + CHUNK_BYTES] for start in range(0, len(view), CHUNK_BYTES))
        digest = sha256(view).digest()
        row = BlobRow(digest, len(view), media, b"".join(sha256(part).digest() for part in parts), _PRESENT)
        path = self.path(digest)
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = self._unfinished / uuid.uuid4().hex
        try:
            write_synced(unfinished, view)
            crashpoint("blob_synced")
            with self._lock:
                self._unnamed[digest] = None
                self._unnamed.move_to_end(digest)
                while len(self._unnamed) > UNNAMED:
                    self._unnamed.popitem(last=False)
            unfinished.rename(path)
            crashpoint("blob_renamed")
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        self.syncs += 1
        self._sync_name(path)
        crashpoint("blob_before_row")
        return row

    def named(self, digest: bytes) -> None:
        """Say that a record names the blob: from now on its records tell whether it may be removed."""
        with self._lock:
            self._unnamed.pop(digest, None)

    def is_unnamed(self, digest: bytes) -> bool:
        """Whether the blob was kept just now and waits for the record that names it."""
        with self._lock:
            return digest in self._unnamed

    def remove(self, digest: bytes, into: Path | None = None) -> bool:
        """Remove a file, or move it ``into`` a folder; not one that was written again just now.

        Raises ``OSError``. The name is gone durably only some time later: whoever finds it again asks again.
        """
        with self._lock:
            if digest in self._unnamed:
                return False
            path = self.path(digest)
            if into is None:
                path.unlink(missing_ok=True)
            else:
                path.rename(into / path.name)
            return True

    def adopt(self, digest: bytes, media: str) -> BlobRow | None:
        """Return the row of a file that has none; ``None`` when it is missing or its bytes are others.

        Reads the whole file: some 0.1 s for 50 MB.
        """
        whole, chunks, size = sha256(), b"", 0
        try:
            with self.path(digest).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    whole.update(chunk)
                    chunks += sha256(chunk).digest()
                    size += len(chunk)
            self._sync_name(self.path(digest))
        except OSError:
            return None
        return BlobRow(digest, size, media, chunks, _PRESENT) if whole.digest() == digest else None

    def _sync_name(self, path: Path) -> None:
        # Old folders too: whoever made one, another thread or a killed process, may not have synced it yet.
        for folder in (path.parent.parent, path.parent, self._root):
            sync_folder(folder)
            self.syncs += 1

    def path(self, digest: bytes) -> Path:
        """Return where a blob's bytes are."""
        name = digest.hex()
        return self._root / name[:2] / name[2:4] / name

    def read_chunk(self, row: BlobRow, index: int) -> bytes:
        """Return the MiB number ``index``, checked; raises ``DamagedBlob``."""
        try:
            with self.path(row.sha256).open("rb") as file:
                if os.fstat(file.fileno()).st_size != row.size:
                    raise DamagedBlob(f"Blob {row.sha256.hex()} has not its {row.size} bytes.")
                file.seek(index * CHUNK_BYTES)
                chunk = file.read(CHUNK_BYTES)
        except OSError as error:
            raise DamagedBlob(f"Blob {row.sha256.hex()} cannot be read: {error}.") from error
        place = index * _DIGEST_BYTES
        if sha256(chunk).digest() != row.chunks[place : place + _DIGEST_BYTES]:
            raise DamagedBlob(f"Blob {row.sha256.hex()} is damaged in MiB {index}.")
        return chunk

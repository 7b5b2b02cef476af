"""The acquisition journal of one scan: the scanner's messages exactly as received, durable one by one.

A scanner keeps its lines until they are acknowledged, so they are acknowledged only when they are on disk.
The bytes mean nothing here. A file that exists is continued: a scan resumes after a restart.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
from concurrent.futures import Future
from pathlib import Path

from station.store.errors import NotStored, StoreBusy, StoreError, StoreFull, StoreUnavailable
from station.store.files import make_folder, sync_folder

QUEUE_BYTES = 16 * 1024 * 1024
CLOSE_LIMIT_S = 10.0
"""A disk that has not answered by then has hung."""
GROUP = 256
"""Messages that share one sync at most."""


def left_over(folder: Path) -> list[Path]:
    """Return the files that an earlier process left in ``folder``, the oldest first (names are UUIDv7).

    Empty ones are removed; the last message of a file may be torn.
    """
    found = sorted(folder.glob("*.cls"))
    for path in found:
        if path.stat().st_size == 0:
            path.unlink()
    return [path for path in found if path.exists()]


def discard(folder: Path, scan_id: str) -> None:
    """Remove the raw file of a scan whose blob is named by a durable record; raises ``OSError``."""
    (folder / f"{scan_id}.cls").unlink(missing_ok=True)


class ScanFile:
    """Appends to one file in a thread of its own; every future is always resolved."""

    def __init__(self, path: Path) -> None:
        """Open or continue ``path``; raises ``StoreUnavailable``."""
        self.path = path
        try:
            make_folder(path.parent)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._size = os.fstat(self._file).st_size
                sync_folder(path.parent)
            except OSError:
                os.close(self._file)
                raise
        except OSError as error:
            raise StoreUnavailable(f"The scan cannot be kept in {path}: {error}.") from error
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._failure: StoreError | None = None
        self._closed = False
        self._queue: queue.SimpleQueue[tuple[bytes, Future[int]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"carril-scan-{path.stem[:8]}", daemon=True)
        self._thread.start()

    def append(self, message: bytes) -> Future[int]:
        """Append; the future gives the file's durable size, or ``StoreFull`` or ``NotStored``.

        Raises ``StoreBusy`` when 16 MiB wait already, and the failure itself once one has happened.
        """
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._failure:
                raise self._failure
            if self._closed:
                raise StoreUnavailable(f"{self.path} is closed.")
            if self._waiting_bytes and self._waiting_bytes + len(message) > QUEUE_BYTES:
                raise StoreBusy(f"{self._waiting_bytes} bytes of the scan wait for the disk already.")
            self._waiting_bytes += len(message)
            self._queue.put((message, future))
        return future

    def close(self) -> Path:
        """Write what waits, close the file and return its path; blocks, idempotent.

        Raises ``StoreUnavailable`` when the disk does not answer within ten seconds; the file stays.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join(CLOSE_LIMIT_S)
        if self._thread.is_alive():
            raise StoreUnavailable(f"The disk does not answer: {self.path} is not closed.")
        return self.path

    def _run(self) -> None:
        group: list[tuple[bytes, Future[int]]] = []
        try:
            ended = False
            while not ended:
                group, ended = self._take()
                self._write(group)
        except Exception as error:
            self._fail(error, group)
        finally:
            os.close(self._file)

    def _take(self) -> tuple[list[tuple[bytes, Future[int]]], bool]:
        """Wait for a message and take what else is there; whether the end was asked for."""
        item = self._queue.get()
        group = []
        while item is not None:
            group.append(item)
            if len(group) == GROUP:
                return group, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _write(self, group: list[tuple[bytes, Future[int]]]) -> None:
        if not group:
            return
        rest = memoryview(b"".join(message for message, _ in group))
        size = len(rest)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        os.fdatasync(self._file)
        with self._lock:
            self._waiting_bytes -= size
        for message, future in group:
            self._size += len(message)
            future.set_result(self._size)

    def _fail(self, error: Exception, group: list[tuple[bytes, Future[int]]]) -> None:
        """Tell everybody, once and for all: a descriptor whose sync failed is never synced again."""
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        failure = (StoreFull if full else NotStored)(f"The scan is not kept in {self.path}: {error}.")
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self._size)  # no half message before whatever continues this file
        with self._lock:
            self._failure = failure
            self._closed = True
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            group += [item] if item else []
        for _, future in group:
            if not future.done():
                future.set_exception(failure)

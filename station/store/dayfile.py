"""A file of text lines that grows for a day, in one process after the other: whole lines, or nothing of them.

Every method blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from station.store.files import make_folder, sync_folder

TAIL_BYTES = 64 * 1024
"""Longer than any line."""


def whole_lines(path: Path) -> bytes:
    """Return what stands in a file, without a half line at its end; raises ``OSError``."""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]


class DayFile:
    """One file, opened for appending."""

    def __init__(self, path: Path) -> None:
        """Open or continue ``path``; a half line at its end goes. Raises ``OSError``."""
        self.path = path
        make_folder(path.parent)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self.size = os.fstat(self._file).st_size
            self.cut_bytes = self._cut()
            """What was cut off: the last process ended in the middle of it."""
            if not self.size:
                sync_folder(path.parent)
        except OSError:
            os.close(self._file)
            raise
        self._unsynced = self._is_torn = False

    def _cut(self) -> int:
        tail = os.pread(self._file, TAIL_BYTES, max(0, self.size - TAIL_BYTES))
        half = len(tail) - (tail.rfind(b"\n") + 1)
        if half:
            self.size -= half
            os.ftruncate(self._file, self.size)
        return half

    def append(self, lines: bytes) -> None:
        """Write whole lines, not durably yet; raises ``OSError``, and then none of them is there."""
        rest = memoryview(lines)
        if self._is_torn:
            os.ftruncate(self._file, self.size)
        self._is_torn = True
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            with contextlib.suppress(OSError):  # else the next line, or the next process, tries again
                os.ftruncate(self._file, self.size)
                self._is_torn = False
            raise
        self._is_torn = False
        self.size += len(lines)
        self._unsynced = True

    def sync(self) -> None:
        """Make durable what was written; raises ``OSError``."""
        if self._unsynced:
            os.fdatasync(self._file)
            self._unsynced = False

    def close(self) -> None:
        """Close it; the file stays."""
        os.close(self._file)

"""Room in reserve: on a full disk even a delete and a checkpoint fail, until this file is given up."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from station.store.files import free_bytes, is_full


class Ballast:
    """A file of ``size`` bytes; given up when the disk is full, made again when there is room."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.spent = False
        """Its room is in use: only what must be kept may be written until it is made again."""

    def release(self) -> bool:
        """Give the room up if the file system is full; ``False`` when it is not, or there is none left."""
        if not is_full(self.path.parent):
            return False
        try:
            self.path.unlink()
        except OSError:  # there is none left, or the disk fails
            return False
        self.spent = True
        return True

    def hold(self) -> None:
        """Make the reserve where it is missing and twice its room is free; a failure changes nothing."""
        if not self.size:
            return
        if not self._exists() and (free_bytes(self.path.parent) or 0) >= 2 * self.size:
            self._make()
        self.spent = not self._exists()

    def _exists(self) -> bool:
        return os.path.exists(self.path)  # Path.exists raises when the disk fails

    def _make(self) -> None:
        unfinished = self.path.with_name(self.path.name + ".new")
        try:
            file = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, self.size)
                os.fsync(file)
            finally:
                os.close(file)
            unfinished.rename(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()

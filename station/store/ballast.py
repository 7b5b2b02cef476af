"""Room in reserve: on a full disk even a delete and a checkpoint fail, until this file is given up."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_SPARE_BYTES = 1024 * 1024
"""Less free room than this is a full file system."""


class Ballast:
    """A file of ``size`` bytes; released when the disk is full, made again when there is room."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size

    @property
    def full(self) -> bool:
        """Whether the file system (not only the journal's quota) is full."""
        free = _free_bytes(self.path.parent)
        return free is not None and free < _SPARE_BYTES

    @property
    def held(self) -> bool:
        """Whether the reserve exists."""
        return self.size > 0 and self.path.exists()

    def release(self) -> bool:
        """Give the room up; ``False`` when there was none."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True

    def hold(self) -> None:
        """Make the reserve where it is missing and twice its room is free; a failure changes nothing."""
        if not self.size or self.held or (_free_bytes(self.path.parent) or 0) < 2 * self.size:
            return
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


def _free_bytes(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None  # the folder is gone: full or not does not matter then
    return found.f_bavail * found.f_frsize

"""A disk that a test makes read-only or slow for another process, while that process runs."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from tests.support.preload import compiled

SOURCE = Path(__file__).with_name("sick_disk.c")


class SickDisk:
    """The disk below one folder, for every process that is started with ``environment``."""

    def __init__(self, folder: Path, below: Path, library: Path) -> None:
        """Begin with a sound one."""
        path = folder / "sick_disk"
        path.write_bytes(bytes(8))
        self.library = str(library)
        self.environment = {"LD_PRELOAD": self.library, "SICK_DISK": str(path), "SICK_BELOW": str(below)}
        with path.open("r+b") as file:
            self._state = mmap.mmap(file.fileno(), 8)

    def set(self, *, error: int = 0, sync_ms: int = 0) -> None:
        """Refuse every change with ``error``, or let each sync take so long; without either it is sound."""
        self._state[:] = struct.pack("=ii", error, sync_ms)


def sick_disk(folder: Path, below: Path) -> SickDisk | None:
    """Return a disk that can be broken; ``None`` without a C compiler."""
    library = compiled(SOURCE, folder)
    return None if library is None else SickDisk(folder, below, library)

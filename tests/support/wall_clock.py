"""A wall clock that a test sets forward and back for another process; its monotonic time does not notice."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from tests.support.preload import compiled

SOURCE = Path(__file__).with_name("wall_clock.c")


class WallClock:
    """The clock of every process that is started with ``environment``."""

    def __init__(self, folder: Path, library: Path) -> None:
        """Begin with the right time."""
        path = folder / "wall_clock"
        path.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(path)}
        with path.open("r+b") as file:
            self._shift = mmap.mmap(file.fileno(), 8)

    def set_s(self, shift_s: float) -> None:
        """Let the clock be wrong by so much from now on."""
        self._shift[:] = struct.pack("=q", round(shift_s * 1e9))


def wall_clock(folder: Path) -> WallClock | None:
    """Return a clock that can be set; ``None`` without a C compiler."""
    library = compiled(SOURCE, folder)
    return None if library is None else WallClock(folder, library)

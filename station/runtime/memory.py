"""How the C library keeps memory that was given back, set for a process that runs for months.

Left alone, glibc keeps up to eight arenas a core, which threads fill and empty in turn, and whenever a larger
block is freed it raises (up to 32 MiB) the size below which blocks stay in them. Resident memory then creeps
up although Python holds nothing more. [mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD]
"""

from __future__ import annotations

import ctypes

SETTINGS = {
    -8: 2,  # M_ARENA_MAX
    -3: 1 << 20,  # M_MMAP_THRESHOLD: pictures and images go back at once, the blocks of a scan are used again
    -1: 1 << 20,  # M_TRIM_THRESHOLD
}
"""Values by the numbers of malloc.h, in bytes but for the first. At 128 KiB, where glibc begins, 64 lines of
1,024 detectors would be mapped anew each time, which costs a quarter of the imager's time."""


def give_back_soon() -> None:
    """Make the C library give freed memory back soon; call it before threads start.

    Other C libraries than glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in SETTINGS.items():
            mallopt(parameter, value)

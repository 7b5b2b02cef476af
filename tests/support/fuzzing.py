"""What every fuzz target shares: a new parser brings its seeds and ``one_input``, and calls ``fuzz``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris


def fuzz(one_input: Callable[[bytes], None], seeds: Iterable[bytes], *, longest: int) -> None:
    """Feed ``one_input`` mutations of the seeds of at most ``longest`` bytes, for ``argv[1]`` seconds (60).

    It ends with status 0 when nothing was found; an input that raises, or takes a second, is left in the
    working directory.
    """
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            (Path(folder) / f"seed{number}").write_bytes(seed)
        limits = [
            *(f"-max_total_time={seconds}", f"-max_len={longest}", "-timeout=1"),
            *("-rss_limit_mb=1024", "-print_final_stats=1"),
        ]
        atheris.Setup([sys.argv[0], *limits, folder], one_input)
        atheris.Fuzz()


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    """Cut into segments."""
    return (data[start : start + size] for start in range(0, len(data), size))

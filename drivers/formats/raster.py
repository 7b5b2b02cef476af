"""A picture as a file brings it: 16-bit pixels, and what the file says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 512 * 1024 * 1024
MAX_ROWS = 8_192
"""Detectors of a column."""
MAX_COLUMNS = 2_000_000

Quantity = Literal["counts", "transmission", "log", "display"]


@dataclass(frozen=True, slots=True)
class Raster:
    """``pixels`` uint16 (rows, columns), row 0 the highest detector, columns in the order of the file.

    ``quantity``: what a pixel is, ``None`` where the file does not say; ``pitch_mm`` along and across the
    lane, ``taken_at`` RFC 3339, ``words`` what else the file tells of the scanner and of what was scanned.
    """

    pixels: NDArray[np.uint16]
    quantity: Quantity | None = None
    pitch_mm: tuple[float, float] | None = None
    taken_at: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)


def check_size(rows: int, columns: int) -> None:
    """Raise ``ValueError`` for a picture that no scanner makes or that memory could not hold."""
    if not (1 <= rows <= MAX_ROWS and 1 <= columns <= MAX_COLUMNS and 2 * rows * columns <= MAX_BYTES):
        raise ValueError(
            f"a picture of {rows} x {columns} pixels: at most {MAX_ROWS:,} rows, {MAX_COLUMNS:,} columns and "
            f"{MAX_BYTES >> 20} MiB of pixels are read"
        )


def read_file(data: bytes, kind: str, parse: Callable[[bytes], Raster]) -> Raster:
    """Return what ``parse`` makes of a file; whatever goes wrong is a ``ValueError`` with one sentence."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"a file of {len(data):,} bytes: at most {MAX_BYTES >> 20} MiB are read")
    try:
        return parse(data)
    except ValueError:
        raise
    except Exception as error:  # hostile bytes come out of a library as anything at all
        raise ValueError(f"a damaged {kind}: {type(error).__name__}: {error}") from error

"""D16 to pictures for people: window and level, the whole image as JPEG."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.model import D16_WINDOW, NO_DATA, U8, U16, RadiographError

JPEG_QUALITY = 85
JPEG_SIDE = 65_535
HATCH_PX = 8
HATCH_GREYS = (70, 120)


def window_table(low: int, high: int) -> U8:
    """Return the grey of every D16 value, uint8 (65536,): clamp(⌊((v−low)·255 + ⌊d/2⌋)/d⌋, 0, 255).

    ``d = high − low`` must be at least 1. Every screen draws with this formula, in integers.
    """
    width = high - low
    if width < 1:
        raise RadiographError(f"window {low} … {high}: its upper end must lie above its lower end")
    values = np.arange(65_536, dtype=np.int64)
    return np.clip(((values - low) * 255 + width // 2) // width, 0, 255).astype(np.uint8)


def render(d16: U16, flags: U8 | None = None, window: tuple[int, int] = D16_WINDOW) -> U8:
    """Return the drawn image, uint8 (detectors, lines): air light, dense dark, highest detector on top.

    ``d16`` and ``flags`` are (lines, detectors). Pixels without data are hatched, never a grey of air.
    """
    import cv2  # here, because importing it takes a third of a second

    if d16.size == 0:
        raise RadiographError("the scan has no lines: there is nothing to draw")
    grey = np.asarray(cv2.LUT(d16, window_table(*window)), dtype=np.uint8)
    if flags is not None:
        blank = (flags & np.uint8(NO_DATA)) != 0
        if blank.any():
            grey[blank] = _hatch(grey.shape)[blank]
    drawn: U8 = np.asarray(cv2.transpose(grey), dtype=np.uint8)
    return drawn


def preview_jpeg(d16: U16, flags: U8 | None = None, window: tuple[int, int] = D16_WINDOW) -> bytes:
    """Return the whole image as a grey JPEG, one pixel per sample.

    Raises ``RadiographError`` beyond 65,535 pixels a side.
    """
    import cv2

    if max(d16.shape) > JPEG_SIDE:
        raise RadiographError(
            f"the image has {d16.shape[0]:,} lines of {d16.shape[1]:,} detectors; a JPEG holds at most "
            f"{JPEG_SIDE:,} a side: cut the scan into parts"
        )
    return _encoded(".jpg", render(d16, flags, window), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def whole_png(d16: U16, flags: U8 | None = None, window: tuple[int, int] = D16_WINDOW) -> bytes:
    """Return the whole image as a grey PNG of 8 bits, drawn as on the screen."""
    return _encoded(".png", render(d16, flags, window), [])


def _encoded(kind: str, drawn: U8, options: list[int]) -> bytes:
    import cv2

    ok, data = cv2.imencode(kind, drawn, options)
    if not ok:
        raise RadiographError(f"the image library refused to write the image as {kind}")
    return bytes(data)


def _hatch(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    lines, rows = (np.arange(side, dtype=np.int64) for side in shape)
    stripe = ((lines[:, None] + rows) // HATCH_PX) % 2
    return np.where(stripe == 0, HATCH_GREYS[0], HATCH_GREYS[1]).astype(np.uint8)

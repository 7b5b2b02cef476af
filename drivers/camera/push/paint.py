"""Painting a scene of flat planes as a pinhole camera of long focal length sees it.

The camera stands right of the lane and looks back along it. Metres: x to the right of the lane's axis,
y up, z away from the camera. Planes are painted from back to front; the sun stands high on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

Image = MatLike
Colour = tuple[int, int, int]
"""Blue, green, red."""
Shade = tuple[Colour, Colour]
"""The colour of a plane at its top and at its bottom."""
Span = tuple[float, float]
Place = tuple[float, float, float]

WIDTH, HEIGHT = 1280, 800
FOCAL_PX, EYE_X, EYE_Y, CENTRE_U, HORIZON_V = 2_950.0, 2.0, 2.4, 985.0, 300.0
SUB = 16
"""Fixed-point units in a pixel, so that edges do not jump from pixel to pixel."""
DARKNESS: Colour = (30, 26, 24)
SUNLIGHT: Colour = (255, 255, 255)


def at(x: float, y: float, z: float) -> tuple[float, float]:
    """Return where a point is seen, in pixels from the upper left corner."""
    scale = FOCAL_PX / z
    return CENTRE_U + scale * (x - EYE_X), HORIZON_V + scale * (EYE_Y - y)


def lit(colour: Colour, top: float, bottom: float | None = None) -> Shade:
    """Return a shade of a colour in more (above 1) or less light."""

    def at_light(light: float) -> Colour:
        other, share = (SUNLIGHT, light - 1) if light > 1 else (DARKNESS, 1 - light)
        b, g, r = (round(a + (o - a) * share) for a, o in zip(colour, other, strict=True))
        return b, g, r

    return at_light(top), at_light(top if bottom is None else bottom)


def paint(image: Image, places: Sequence[Place], shade: Shade) -> None:
    """Fill the polygon through some places, shaded from its highest to its lowest point."""
    polygon = np.array([at(*place) for place in places])
    fixed = np.round(polygon * SUB).astype(np.int32)
    if shade[0] == shade[1]:
        cv2.fillPoly(image, [fixed], shade[0], cv2.LINE_AA, 4)
        return
    left, high = np.maximum(np.floor(polygon.min(axis=0)).astype(int) - 1, 0)
    right, low = np.minimum(np.ceil(polygon.max(axis=0)).astype(int) + 2, (WIDTH, HEIGHT))
    if right <= left or low <= high:
        return
    mask = np.zeros((low - high, right - left), np.uint8)
    cv2.fillPoly(mask, [fixed - (left * SUB, high * SUB)], 255, cv2.LINE_AA, 4)
    rows = np.linspace(*shade, low - high, dtype=np.float32)[:, None, :].repeat(right - left, axis=1)
    under = image[high:low, left:right]
    share = cv2.merge([mask, mask, mask]).astype(np.float32) / 255
    image[high:low, left:right] = under + (rows - under) * share


def plane(image: Image, x: Span, y: Span, z: float, shade: Shade, round_m: float = 0.0) -> None:
    """Paint an upright rectangle that faces the camera, with round corners if wanted."""
    outline: list[Place] = []
    for quarter, (right, up) in enumerate(((0, 0), (1, 0), (1, 1), (0, 1))):
        middle = (x[right] + round_m * (1 - 2 * right), y[up] + round_m * (1 - 2 * up))
        for turn in np.pi * (1 + quarter / 2 + np.linspace(0, 0.5, 7 if round_m else 1)):
            outline.append((middle[0] + round_m * np.cos(turn), middle[1] + round_m * np.sin(turn), z))
    paint(image, outline, shade)


def box(image: Image, x: Span, y: Span, z: Span, colour: Colour) -> None:
    """Paint the top, the visible side and the front of an upright box."""
    around = ((0, 0), (1, 0), (1, 1), (0, 1))
    if y[1] < EYE_Y:
        paint(image, [(x[i], y[1], z[j]) for i, j in around], lit(colour, 1.25))
    if not x[0] < EYE_X < x[1]:
        side, light = (x[1], 1.0) if x[1] < EYE_X else (x[0], 0.62)
        paint(image, [(side, y[i], z[j]) for i, j in around], lit(colour, light, light - 0.12))
    plane(image, x, y, z[0], lit(colour, 0.9, 0.78))


def tube(image: Image, x: float, radius_m: float, y: Span, z: float, colour: Colour) -> None:
    """Paint an upright cylinder as strips from its dark to its sunny side."""
    for a, b in pairwise(np.linspace(-1, 1, 9)):
        light = 0.5 + 0.75 * float(np.exp(-(((a + b) / 2 - 0.35) ** 2) / 0.25))
        plane(image, (x + a * radius_m, x + b * radius_m + 0.004), y, z, lit(colour, light))


def disc(image: Image, x: float, y: float, z: float, radius_m: float, colour: Colour) -> None:
    """Paint a round plane that faces the camera."""
    plane(image, (x - radius_m, x + radius_m), (y - radius_m, y + radius_m), z, (colour, colour), radius_m)


def shadow(image: Image, grounds: Sequence[Sequence[tuple[float, float]]], level: int) -> None:
    """Darken patches of the ground, each a polygon of (x, z), to ``level`` / 255 with soft edges."""
    light = np.full((HEIGHT // 4, WIDTH // 4), 255, np.uint8)
    for ground in grounds:
        points = np.array([at(x, 0, z) for x, z in ground])
        cv2.fillPoly(light, [np.round(points * SUB / 4).astype(np.int32)], level, cv2.LINE_AA, 4)
    soft = cv2.resize(cv2.GaussianBlur(light, (0, 0), 2.5), (WIDTH, HEIGHT))
    cv2.multiply(image, cv2.merge([soft, soft, soft]), dst=image, scale=1 / 255)


def lay(image: Image, face: Image, corners: Sequence[tuple[float, float]]) -> None:
    """Lay a flat picture onto four corners, in pixels, clockwise from the upper left."""
    height, width = face.shape[:2]
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(flat, np.array(corners, np.float32))
    size = (image.shape[1], image.shape[0])
    cv2.warpPerspective(face, matrix, size, image, cv2.INTER_AREA, cv2.BORDER_TRANSPARENT)


def write(
    image: Image, text: str, middle: tuple[float, float], colour: Colour, size: int, widest: int = WIDTH
) -> None:
    """Write in bold around the middle of a base line, given in pixels, and not wider than ``widest``."""
    font, weight = cv2.FontFace("sans"), 700
    while (width := cv2.getTextSize((10_000, 10_000), text, (0, 0), font, size, weight)[2]) > widest:
        size -= 2
    cv2.putText(image, text, (round(middle[0] - width / 2), round(middle[1])), colour, font, size, weight)


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.int16]:
    rng = np.random.default_rng(7)
    grain = cv2.GaussianBlur(rng.normal(0, 7, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 0.7)
    return np.repeat(grain[:, :, None], 3, axis=2).astype(np.int16)


def exposed(image: Image, rng: np.random.Generator) -> Image:
    """Return the picture with the grain and the slightly differing exposure of a camera."""
    grain = np.roll(_grain(), int(rng.integers(HEIGHT)), axis=0)[: image.shape[0], : image.shape[1]]
    gain = rng.uniform(0.95, 1.03)
    return cv2.add(cv2.convertScaleAbs(image, alpha=gain), grain, dtype=cv2.CV_8U)


def jpeg(image: Image, quality: int = 88) -> bytes:
    """Return the picture as a baseline JPEG."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()

"""What the emulated camera sees: the front of a truck at the booth, and its plate, drawn with polygons.

A pinhole camera of long focal length stands right of the lane and looks back along it. Metres: x to the
right of the lane's axis, y up, z away from the camera; the bumper is at z = 15. Planes are painted from
back to front, each with a shade that runs from its top to its bottom.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.plant.vehicle import Vehicle

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
"""Blue, green, red."""

WIDTH, HEIGHT = 1280, 800
FOCAL_PX, EYE_X, EYE_Y, CENTRE_U, HORIZON_V = 2_950.0, 2.0, 2.4, 985.0, 300.0
SUB = 16
"""Fixed-point units in a pixel, so that edges do not jump from pixel to pixel."""

CABS: dict[str, Colour] = {
    "white": (236, 238, 238),
    "blue": (150, 92, 44),
    "green": (92, 104, 38),
    "sand": (142, 176, 200),
    "red": (48, 44, 168),
}
CONTAINERS: Sequence[Colour] = ((150, 112, 66), (62, 84, 132), (96, 118, 70), (120, 124, 128), (52, 108, 176))
CHROME, DARK, RUBBER, GLASS = (206, 206, 204), (44, 42, 40), (26, 25, 25), (112, 98, 86)
AMBER, YELLOW, CONCRETE = (60, 178, 244), (70, 190, 222), (186, 194, 196)
INK: Colour = (52, 34, 22)

PLATES = {
    "US-TX": ("TEXAS", "APPORTIONED", INK),
    "US-CA": ("CALIFORNIA", "APPORTIONED", (40, 30, 150)),
    "US-AZ": ("ARIZONA", "APPORTIONED", (90, 50, 40)),
    "US-NM": ("NEW MEXICO", "APPORTIONED", (40, 60, 170)),
    "MX": ("MEXICO - CARGA", "SERVICIO PUBLICO FEDERAL", (60, 104, 30)),
}
SANS = "sans"
BOLLARDS = ((2.42, 13.6), (3.15, 22.0), (3.15, 18.5), (3.15, 15.5))
"""Right of the lane, x and z; the first one stands before the truck."""


# --- the two pictures ---------------------------------------------------------------------------


def scene(vehicle: Vehicle) -> Image:
    """Return the front view of a truck at the booth, (800, 1280, 3) uint8 BGR."""
    rng = np.random.default_rng(vehicle.seed)
    image = _lane().copy()
    _container(image, vehicle)
    _cab(image, CABS[vehicle.cab])
    _nose(image, CABS[vehicle.cab])
    _mount_plate(image, _plate_face(vehicle))
    _tube(image, BOLLARDS[0][0], 0.11, (0.0, 1.1), BOLLARDS[0][1], YELLOW)
    return _exposed(image, rng)


def plate(vehicle: Vehicle) -> Image:
    """Return the crop around the plate, (240, 560, 3) uint8 BGR."""
    rng = np.random.default_rng(vehicle.seed + 1)
    rows = np.interp(np.arange(240), [0, 60, 80, 140, 240], [62, 128, 150, 92, 70])[:, None, None]
    image = np.broadcast_to(rows, (240, 560, 3)).astype(np.uint8).copy()
    face = _plate_face(vehicle)
    height, width = face.shape[:2]
    corners = np.array([[96, 26], [468, 16], [464, 214], [92, 222]], np.float32)
    corners += rng.uniform(-4, 4, (4, 2)).astype(np.float32)
    _warp(image, face, corners, (width, height))
    return _exposed(cv2.GaussianBlur(image, (0, 0), 0.8), rng)


def jpeg(image: Image, quality: int = 88) -> bytes:
    """Return the picture as a baseline JPEG."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()


# --- projection and paint -----------------------------------------------------------------------


def _at(x: float, y: float, z: float) -> tuple[float, float]:
    scale = FOCAL_PX / z
    return CENTRE_U + scale * (x - EYE_X), HORIZON_V + scale * (EYE_Y - y)


def _mix(colour: Colour, other: Colour, share: float) -> Colour:
    b, g, r = (round(a + (o - a) * share) for a, o in zip(colour, other, strict=True))
    return b, g, r


def _lit(colour: Colour, light: float) -> Colour:
    """Return a colour in more (above 1) or less light; shade is bluish, sun is white."""
    return _mix(colour, (255, 255, 255), light - 1) if light > 1 else _mix((30, 26, 24), colour, light)


def _paint(
    image: Image, points: Sequence[tuple[float, float]], top: Colour, bottom: Colour | None = None
) -> None:
    """Fill a polygon given in pixels, shaded from its highest to its lowest point."""
    polygon = np.array(points)
    fixed = np.round(polygon * SUB).astype(np.int32)
    if bottom is None:
        cv2.fillPoly(image, [fixed], top, cv2.LINE_AA, 4)
        return
    left, high = np.maximum(np.floor(polygon.min(axis=0)).astype(int) - 1, 0)
    right, low = np.minimum(np.ceil(polygon.max(axis=0)).astype(int) + 2, (WIDTH, HEIGHT))
    if right <= left or low <= high:
        return
    mask = np.zeros((low - high, right - left), np.uint8)
    cv2.fillPoly(mask, [fixed - (left * SUB, high * SUB)], 255, cv2.LINE_AA, 4)
    shade = np.linspace(top, bottom, low - high, dtype=np.float32)[:, None, :].repeat(right - left, axis=1)
    under = image[high:low, left:right]
    share = cv2.merge([mask, mask, mask]).astype(np.float32) / 255
    image[high:low, left:right] = under + (shade - under) * share


def _plane(
    image: Image, x: tuple[float, float], y: tuple[float, float], z: float, colour: Colour, *,
    lower: Colour | None = None, round_m: float = 0.0, taper: float = 0.0,
) -> None:  # fmt: skip
    """Paint an upright rectangle that faces the camera; its top may be narrower and its corners round."""
    corners = [(x[0], y[0]), (x[1], y[0]), (x[1] - taper, y[1]), (x[0] + taper, y[1])]
    outline: list[tuple[float, float]] = []
    for number, (cx, cy) in enumerate(corners):
        sx, sy = ((1, 1), (-1, 1), (-1, -1), (1, -1))[number]
        for step in np.linspace(0, np.pi / 2, 7 if round_m else 1):
            turn = step + (np.pi, np.pi * 1.5, 0, np.pi / 2)[number]
            outline.append(
                (cx + round_m * (sx + float(np.cos(turn))), cy + round_m * (sy + float(np.sin(turn))))
                if round_m
                else (cx, cy)
            )
    _paint(image, [_at(px, py, z) for px, py in outline], colour, lower)


def _box(
    image: Image, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], colour: Colour
) -> None:
    """Paint the top, the visible side and the front of an upright box."""
    if y[1] < EYE_Y:
        _paint(
            image, [_at(x[i], y[1], z[j]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))], _lit(colour, 1.25)
        )
    if not x[0] < EYE_X < x[1]:
        side = x[1] if x[1] < EYE_X else x[0]
        light = 1.0 if side == x[1] else 0.62
        points = [_at(side, y[i], z[j]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
        _paint(image, points, _lit(colour, light), _lit(colour, light - 0.12))
    _plane(image, x, y, z[0], _lit(colour, 0.9), lower=_lit(colour, 0.78))


def _tube(image: Image, x: float, radius_m: float, y: tuple[float, float], z: float, colour: Colour) -> None:
    """Paint an upright cylinder as strips from its dark to its sunny side."""
    edges = np.linspace(-1, 1, 9)
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        light = 0.5 + 0.75 * float(np.exp(-(((a + b) / 2 - 0.35) ** 2) / 0.25))
        _plane(image, (x + a * radius_m, x + b * radius_m + 0.004), y, z, _lit(colour, light))


def _warp(image: Image, face: Image, corners: NDArray[np.float32], size: tuple[int, int]) -> None:
    """Lay a flat picture onto four corners (clockwise from the top left)."""
    flat = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    matrix = cv2.getPerspectiveTransform(flat, corners)
    target = (image.shape[1], image.shape[0])
    cv2.warpPerspective(
        face, matrix, target, dst=image, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_TRANSPARENT
    )


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.int16]:
    rng = np.random.default_rng(7)
    grain = cv2.GaussianBlur(rng.normal(0, 7, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 0.7)
    return np.repeat(grain[:, :, None], 3, axis=2).astype(np.int16)


def _exposed(image: Image, rng: np.random.Generator) -> Image:
    """Return the picture with the grain and the slightly differing exposure of a camera."""
    grain = np.roll(_grain(), int(rng.integers(HEIGHT)), axis=0)[: image.shape[0], : image.shape[1]]
    gain = rng.uniform(0.95, 1.03)
    return cv2.add(cv2.convertScaleAbs(image, alpha=gain), grain, dtype=cv2.CV_8U)


# --- the lane ------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _lane() -> Image:
    """Return the empty lane: sky, portal pillar, kerbs, booth and bollards."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    ground_v = round(_at(0, 0, 70)[1])
    image[:ground_v] = np.linspace((214, 208, 202), (232, 229, 226), ground_v)[:, None, :]
    image[ground_v:] = np.linspace((150, 148, 146), (84, 83, 82), HEIGHT - ground_v)[:, None, :]
    _box(image, (-26, -3.4), (0, 3.4), (62, 66), (178, 170, 162))
    _box(image, (6.5, 30), (0, 2.6), (60, 66), (170, 172, 174))
    for x, tone in ((-2.15, (70, 178, 208)), (2.0, (70, 178, 208))):
        _paint(image, [_at(x, 0, 12.2), _at(x + 0.14, 0, 12.2), _at(x + 0.14, 0, 60), _at(x, 0, 60)], tone)
    _box(image, (2.75, 7), (0, 0.16), (12, 60), CONCRETE)
    _shadow(
        image,
        [[(x + 0.1, z), (x - 0.1, z), (x - 1.3, z + 0.9), (x - 1.1, z + 0.9)] for x, z in BOLLARDS],
        150,
    )
    _box(image, (3.35, 3.95), (0, 5.6), (25, 25.8), (206, 208, 208))
    _box(image, (-3.6, -3.0), (0, 5.6), (25, 25.8), (206, 208, 208))
    for x, z in BOLLARDS[1:]:
        _tube(image, x, 0.11, (0.16, 1.25), z, YELLOW)
    _box(image, (-9, -2.55), (0, 0.16), (11.4, 30), CONCRETE)
    _booth(image)
    _tube(image, -2.85, 0.11, (0.16, 1.25), 15.4, YELLOW)
    return image


def _booth(image: Image) -> None:
    wall, x, z = (204, 210, 212), (-6.6, -3.5), (17.0, 21.5)
    _box(image, x, (0.16, 3.0), z, wall)
    side = x[1]
    window = [_at(side, y, depth) for y, depth in ((1.3, 17.7), (2.35, 17.7), (2.35, 20.7), (1.3, 20.7))]
    _paint(image, window, (70, 64, 60), (104, 96, 88))
    _plane(image, (-5.4, -3.95), (1.3, 2.35), z[0], (66, 60, 56), lower=(112, 104, 96))
    _plane(image, (-5.0, -4.75), (1.3, 2.35), z[0], (86, 78, 72), lower=(122, 114, 106))
    _box(image, (x[0], x[1] + 0.35), (3.0, 3.24), (z[0] - 0.4, z[1]), (92, 88, 86))


# --- the truck -----------------------------------------------------------------------------------


def _shadow(image: Image, grounds: Sequence[Sequence[tuple[float, float]]], level: int) -> None:
    """Darken patches of the ground, each a polygon of (x, z), to ``level`` / 255 with soft edges."""
    light = np.full((HEIGHT // 4, WIDTH // 4), 255, np.uint8)
    for ground in grounds:
        points = np.array([_at(x, 0, z) for x, z in ground])
        cv2.fillPoly(light, [np.round(points * SUB / 4).astype(np.int32)], level, cv2.LINE_AA, 4)
    soft = cv2.resize(cv2.GaussianBlur(light, (0, 0), 2.5), (WIDTH, HEIGHT))
    cv2.multiply(image, cv2.merge([soft, soft, soft]), dst=image, scale=1 / 255)


def _container(image: Image, vehicle: Vehicle) -> None:
    """Paint the shadow, the container or box behind the cab, and the wheels below it."""
    colour = CONTAINERS[vehicle.seed % len(CONTAINERS)] if vehicle.container else (222, 224, 224)
    tail = 18.8 + max(3.0, vehicle.length_m - 4.0)
    x, y = (-1.22, 1.22), (1.3, 4.05)
    _shadow(image, [[(-1.25, 14.75), (1.28, 14.75), (1.28, tail), (-2.4, tail), (-2.0, 15.4)]], 96)
    for z in (tail - 1.2, tail - 2.5, 21.2, 20.0):
        _box(image, (0.75, 1.2), (0.0, 1.35), (z, z + 0.9), RUBBER)
    _box(image, x, y, (18.8, tail), colour)
    for z in np.arange(19.2, tail - 0.3, 0.5):
        rib = [
            _at(x[1], *place)
            for place in ((y[0] + 0.1, z), (y[1] - 0.1, z), (y[1] - 0.1, z + 0.2), (y[0] + 0.1, z + 0.2))
        ]
        _paint(image, rib, _lit(colour, 0.84), _lit(colour, 0.72))
    inside = (x[0] + 0.12, x[1] - 0.12)
    _plane(image, inside, (y[0], y[1] - 0.14), 18.82, _lit(colour, 0.5), lower=_lit(colour, 0.6))
    for left in np.linspace(inside[0] + 0.06, inside[1] - 0.23, 8):  # corrugations with a sunny flank
        _plane(
            image, (left, left + 0.17), (y[0], y[1] - 0.2), 18.81, _lit(colour, 0.94), lower=_lit(colour, 0.8)
        )
        _plane(image, (left + 0.13, left + 0.17), (y[0], y[1] - 0.2), 18.81, _lit(colour, 1.12))
    if vehicle.container:
        mark = f"{vehicle.container[:4]} {vehicle.container[4:10]} {vehicle.container[10:]}".strip()
        u, v = _at(-0.98, 3.58, 18.8)
        _write(image, mark, (round(u), round(v)), (240, 240, 240), 32, 600)


def _cab(image: Image, colour: Colour) -> None:
    """Paint sleeper, cab, windscreen, mirrors and stacks."""
    for side in (-1, 1):
        _tube(image, side * 1.13, 0.075, (1.2, 3.75), 17.6, CHROME)
    shade = (_lit(colour, 1.08), _lit(colour, 0.74))
    _box(image, (0.6, 1.16), (1.2, 2.9), (16.7, 18.3), colour)
    _plane(image, (-1.14, 1.14), (1.0, 3.3), 16.62, shade[0], lower=shade[1], round_m=0.2, taper=0.05)
    _plane(
        image, (-1.02, 1.02), (1.3, 3.0), 16.58, _lit(colour, 0.96), lower=_lit(colour, 0.62), round_m=0.05
    )
    for x in (-0.8, -0.4, 0.0, 0.4, 0.8):
        _plane(image, (x - 0.05, x + 0.05), (3.27, 3.36), 16.5, (120, 214, 255), lower=AMBER, round_m=0.03)
    _plane(image, (-1.0, 1.0), (1.92, 2.62), 16.52, DARK, lower=(60, 58, 56), round_m=0.05)
    for x in ((-0.95, -0.03), (0.03, 0.95)):
        _plane(image, x, (1.97, 2.58), 16.5, _lit(GLASS, 0.8), lower=_lit(GLASS, 1.22), round_m=0.05)
        glare = [
            _at(px, py, 16.49)
            for px, py in ((x[0] + 0.5, 1.98), (x[0] + 0.66, 1.98), (x[0] + 0.86, 2.57), (x[0] + 0.7, 2.57))
        ]
        _paint(image, glare, _lit(GLASS, 1.12), _lit(GLASS, 1.3))
        wiper = [
            _at(px, py, 16.45)
            for px, py in ((x[0] + 0.16, 1.99), (x[0] + 0.7, 2.05), (x[0] + 0.7, 2.08), (x[0] + 0.16, 2.02))
        ]
        _paint(image, wiper, (30, 28, 26))
    _plane(image, (-1.06, 1.06), (2.6, 2.74), 16.3, (70, 68, 66), lower=(30, 29, 28), round_m=0.06)
    for side in (-1, 1):
        _tube(image, side * 1.02, 0.14, (1.25, 1.98), 16.4, CHROME)
        _plane(image, (side * 1.3 - 0.24, side * 1.3 + 0.24), (2.62, 2.65), 16.3, CHROME)
        _plane(image, (side * 1.3 - 0.24, side * 1.3 + 0.24), (1.93, 1.96), 16.3, CHROME)
        _plane(
            image,
            (side * 1.46 - 0.1, side * 1.46 + 0.1),
            (1.9, 2.68),
            16.2,
            (62, 60, 58),
            lower=(34, 33, 32),
            round_m=0.04,
        )


def _nose(image: Image, colour: Colour) -> None:
    """Paint wheels, fenders, bonnet, grille, lamps and bumper."""
    for x in ((-1.2, -0.86), (0.86, 1.2)):
        _box(image, x, (0.0, 0.95), (15.5, 16.4), RUBBER)
    top = [
        _at(x, y, z)
        for x, y, z in ((-0.72, 1.66, 15.2), (0.72, 1.66, 15.2), (0.84, 1.96, 16.5), (-0.84, 1.96, 16.5))
    ]
    _paint(image, top, _lit(colour, 1.12), _lit(colour, 1.3))
    flank = [
        _at(x, y, z)
        for x, y, z in ((0.72, 0.8, 15.2), (0.84, 0.8, 16.5), (0.84, 1.96, 16.5), (0.72, 1.66, 15.2))
    ]
    _paint(image, flank, _lit(colour, 0.9), _lit(colour, 0.62))
    for side in (-1, 1):
        inner, outer = sorted((side * 0.6, side * 1.2))
        _plane(
            image, (inner, outer), (0.62, 1.36), 15.5, _lit(colour, 0.7), lower=_lit(colour, 0.5), round_m=0.2
        )
        _plane(
            image,
            (inner, outer),
            (0.6, 1.32),
            15.3,
            _lit(colour, 1.1),
            lower=_lit(colour, 0.66),
            round_m=0.18,
        )
        inner, outer = sorted((side * 0.74, side * 1.14))
        _plane(image, (inner, outer), (0.84, 1.14), 15.25, (74, 72, 70), lower=DARK, round_m=0.05)
        for x in (inner + 0.105, outer - 0.105):
            for radius_m, tone in (
                (0.095, (150, 150, 148)),
                (0.08, (238, 240, 240)),
                (0.045, (252, 252, 252)),
            ):
                _disc(image, x, 1.03, 15.2, radius_m, tone)
        _plane(
            image,
            (inner + 0.04, outer - 0.04),
            (0.865, 0.92),
            15.2,
            (110, 206, 250),
            lower=AMBER,
            round_m=0.02,
        )
    _plane(
        image,
        (-0.74, 0.74),
        (0.6, 1.74),
        15.15,
        _lit(colour, 1.16),
        lower=_lit(colour, 0.72),
        round_m=0.16,
        taper=0.03,
    )
    _plane(image, (-0.56, 0.56), (0.68, 1.62), 15.1, (240, 240, 238), lower=(150, 150, 150), round_m=0.06)
    _plane(image, (-0.52, 0.52), (0.7, 1.58), 15.09, (30, 30, 30), lower=(52, 50, 48), round_m=0.04)
    for y in np.linspace(0.76, 1.5, 9):
        _plane(image, (-0.52, 0.52), (y, y + 0.042), 15.08, (236, 236, 234), lower=(120, 120, 120))
    _plane(image, (-0.13, 0.13), (1.64, 1.71), 15.05, (226, 226, 224), lower=(110, 110, 110), round_m=0.03)
    _plane(image, (-1.24, 1.24), (0.3, 0.5), 15.1, (40, 40, 40))
    _plane(image, (-1.26, 1.26), (0.4, 0.8), 14.9, (232, 232, 230), lower=(128, 128, 128), round_m=0.06)
    _plane(image, (-1.24, 1.24), (0.66, 0.72), 14.89, (250, 250, 250), lower=(214, 214, 212))
    for side in (-1, 1):
        middle = side * 0.9
        _plane(
            image, (middle - 0.12, middle + 0.12), (0.53, 0.66), 14.88, (50, 50, 50), lower=DARK, round_m=0.03
        )
        _disc(image, middle, 0.595, 14.87, 0.05, (232, 236, 236))


def _disc(image: Image, x: float, y: float, z: float, radius_m: float, colour: Colour) -> None:
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    _paint(
        image,
        [_at(x + radius_m * float(np.cos(t)), y + radius_m * float(np.sin(t)), z) for t in turns],
        colour,
    )


# --- the plate -----------------------------------------------------------------------------------


def _plate_face(vehicle: Vehicle) -> Image:
    """Return the plate seen straight, (240, 480, 3): what stands on it cannot be read under mud."""
    title, foot, tint = PLATES.get(vehicle.region, (vehicle.region, "", INK))
    face = np.linspace((240, 241, 241), (222, 224, 226), 240)[:, None, :].repeat(480, axis=1).astype(np.uint8)
    cv2.rectangle(face, (5, 5), (474, 234), (120, 118, 116), 4, cv2.LINE_AA)
    for u in (48, 432):
        cv2.circle(face, (u, 26), 7, (120, 116, 112), -1, cv2.LINE_AA)
        cv2.circle(face, (u, 215), 7, (150, 148, 146), -1, cv2.LINE_AA)
    _write(face, title, (240, 44), tint, 34, 700, middle=True)
    _write(face, foot, (240, 224), tint, 22, 700, middle=True)
    _write(face, vehicle.plate, (240, 164), INK, 118, 700, middle=True, widest=436)
    if not vehicle.plate_readable:
        rng = np.random.default_rng(vehicle.seed)
        clods = cv2.resize(rng.random((5, 9), np.float32), (480, 240), interpolation=cv2.INTER_CUBIC)
        mud = np.clip(clods + np.linspace(0.1, 0.7, 240)[:, None], 0.55, 0.97)[:, :, None]
        face = (cv2.GaussianBlur(face, (0, 0), 7) * (1 - mud) + np.array((74, 98, 118)) * mud).astype(
            np.uint8
        )
    return face


def _mount_plate(image: Image, face: Image) -> None:
    corners = [_at(x, y, 14.86) for x, y in ((-0.24, 0.74), (0.24, 0.74), (0.24, 0.5), (-0.24, 0.5))]
    small = cv2.resize(face, (120, 60), interpolation=cv2.INTER_AREA)
    _warp(image, small, np.array(corners, np.float32), (120, 60))


def _write(
    image: Image, text: str, at: tuple[int, int], colour: Colour, size: int, weight: int, *,
    middle: bool = False, widest: int = WIDTH,
) -> None:  # fmt: skip
    """Write with the left end (``middle``: the middle) of the base line at a pixel, not wider than allowed."""
    font = cv2.FontFace(SANS)
    while (width := cv2.getTextSize((10_000, 10_000), text, (0, 0), font, size, weight)[2]) > widest:
        size -= 2
    left = at[0] - width // 2 if middle else at[0]
    cv2.putText(image, text, (left, at[1]), colour, font, size, weight)

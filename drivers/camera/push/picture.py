"""What the emulated camera sees: the front of a truck at the booth, and its plate.

Nothing here is measured or copied from a make: boxes, tubes and planes in metres (``paint`` says how they
lie), painted from back to front. The bumper is at z = 15, the front of the container at z = 18.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from drivers.camera.push.paint import (
    HEIGHT,
    WIDTH,
    Colour,
    Image,
    Place,
    at,
    box,
    disc,
    exposed,
    lay,
    lit,
    paint,
    plane,
    shadow,
    tube,
    write,
)
from drivers.plant.vehicle import Vehicle

CABS: dict[str, Colour] = {
    "white": (236, 238, 238),
    "blue": (150, 92, 44),
    "green": (92, 104, 38),
    "sand": (142, 176, 200),
    "red": (48, 44, 168),
}
CONTAINERS: Sequence[Colour] = ((150, 112, 66), (62, 84, 132), (96, 118, 70), (120, 124, 128), (52, 108, 176))
CHROME, BLACK, RUBBER, GLASS = (206, 206, 204), (44, 42, 40), (26, 25, 25), (112, 98, 86)
AMBER, YELLOW, CONCRETE = (60, 178, 244), (70, 190, 222), (186, 194, 196)
INK: Colour = (52, 34, 22)

PLATES = {
    "US-TX": ("TEXAS", "APPORTIONED", INK),
    "US-CA": ("CALIFORNIA", "APPORTIONED", (40, 30, 150)),
    "US-AZ": ("ARIZONA", "APPORTIONED", (90, 50, 40)),
    "US-NM": ("NEW MEXICO", "APPORTIONED", (40, 60, 170)),
    "MX": ("MEXICO - CARGA", "SERVICIO PUBLICO FEDERAL", (60, 104, 30)),
}
BOLLARDS = ((2.42, 13.6), (3.15, 22.0), (3.15, 18.5), (3.15, 15.5))
"""Right of the lane, x and z; the first one stands before the truck."""


# --- the two pictures ---------------------------------------------------------------------------


def scene(vehicle: Vehicle) -> Image:
    """Return the front view of a truck at the booth, (800, 1280, 3) uint8 BGR."""
    rng = np.random.default_rng(vehicle.seed)
    image = empty_lane().copy()
    _container(image, vehicle)
    _cab(image, CABS[vehicle.cab])
    _nose(image, CABS[vehicle.cab])
    _mount_plate(image, _plate_face(vehicle))
    tube(image, BOLLARDS[0][0], 0.11, (0.0, 1.1), BOLLARDS[0][1], YELLOW)
    return exposed(image, rng)


def plate(vehicle: Vehicle) -> Image:
    """Return the crop around the plate, (240, 560, 3) uint8 BGR."""
    rng = np.random.default_rng(vehicle.seed + 1)
    rows = np.interp(np.arange(240), [0, 60, 80, 140, 240], [62, 128, 150, 92, 70])[:, None, None]
    image: Image = np.broadcast_to(rows, (240, 560, 3)).astype(np.uint8).copy()
    corners = ((96, 26), (468, 16), (464, 214), (92, 222))
    lay(image, _plate_face(vehicle), [(u + rng.uniform(-4, 4), v + rng.uniform(-4, 4)) for u, v in corners])
    return exposed(cv2.GaussianBlur(image, (0, 0), 0.8), rng)


# --- the lane ------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def empty_lane() -> Image:
    """Return the empty lane: sky, buildings, pillars, kerbs, booth and bollards."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    ground_v = round(at(0, 0, 70)[1])
    image[:ground_v] = np.linspace((214, 208, 202), (232, 229, 226), ground_v)[:, None, :]
    image[ground_v:] = np.linspace((150, 148, 146), (84, 83, 82), HEIGHT - ground_v)[:, None, :]
    box(image, (-26, -3.4), (0, 3.4), (62, 66), (178, 170, 162))
    box(image, (6.5, 30), (0, 2.6), (60, 66), (170, 172, 174))
    for x in (-2.15, 2.0):
        line: list[Place] = [(x, 0, 12.2), (x + 0.14, 0, 12.2), (x + 0.14, 0, 60), (x, 0, 60)]
        paint(image, line, lit(YELLOW, 0.95))
    box(image, (2.75, 7), (0, 0.16), (12, 60), CONCRETE)
    cast = [[(x + 0.1, z), (x - 0.1, z), (x - 1.3, z + 0.9), (x - 1.1, z + 0.9)] for x, z in BOLLARDS]
    shadow(image, cast, 150)
    for x in (-3.6, 3.35):
        box(image, (x, x + 0.6), (0, 5.6), (25, 25.8), (206, 208, 208))
    for x, z in BOLLARDS[1:]:
        tube(image, x, 0.11, (0.16, 1.25), z, YELLOW)
    box(image, (-9, -2.55), (0, 0.16), (11.4, 30), CONCRETE)
    _booth(image)
    tube(image, -2.85, 0.11, (0.16, 1.25), 15.4, YELLOW)
    return image


def _booth(image: Image) -> None:
    x, z = (-6.6, -3.5), (17.0, 21.5)
    box(image, x, (0.16, 3.0), z, (204, 210, 212))
    pane: list[Place] = [(x[1], 1.3, 17.7), (x[1], 2.35, 17.7), (x[1], 2.35, 20.7), (x[1], 1.3, 20.7)]
    paint(image, pane, ((70, 64, 60), (104, 96, 88)))
    plane(image, (-5.4, -3.95), (1.3, 2.35), z[0], ((66, 60, 56), (112, 104, 96)))
    box(image, (x[0], x[1] + 0.35), (3.0, 3.24), (z[0] - 0.4, z[1]), (92, 88, 86))


# --- the truck, from its tail to its bumper ------------------------------------------------------


def _container(image: Image, vehicle: Vehicle) -> None:
    """Paint the shadow on the ground, the wheels of the trailer and the container (none: a white box)."""
    colour = CONTAINERS[vehicle.seed % len(CONTAINERS)] if vehicle.container else (222, 224, 224)
    x, (low, high), front = (-1.22, 1.22), (1.3, 4.05), 18.8
    tail = front + max(3.0, vehicle.length_m - 4.0)
    shadow(image, [[(-1.25, 14.75), (1.28, 14.75), (1.28, tail), (-2.4, tail), (-2.0, 15.4)]], 96)
    for z in (tail - 1.2, tail - 2.5, 21.2, 20.0):
        box(image, (0.75, 1.2), (0.0, 1.35), (z, z + 0.9), RUBBER)
    box(image, x, (low, high), (front, tail), colour)
    for z in np.arange(front + 0.4, tail - 0.3, 0.5):
        around = ((low + 0.1, z), (high - 0.1, z), (high - 0.1, z + 0.2), (low + 0.1, z + 0.2))
        paint(image, [(x[1], y, depth) for y, depth in around], lit(colour, 0.84, 0.72))
    plane(image, (x[0] + 0.12, x[1] - 0.12), (low, high - 0.14), front, lit(colour, 0.5, 0.6))
    for left in np.linspace(x[0] + 0.18, x[1] - 0.35, 8):  # corrugations, each with a sunny flank
        plane(image, (left, left + 0.17), (low, high - 0.2), front, lit(colour, 0.94, 0.8))
        plane(image, (left + 0.13, left + 0.17), (low, high - 0.2), front, lit(colour, 1.12))
    number = vehicle.container
    mark = f"{number[:4]} {number[4:10]} {number[10:]}".strip()
    write(image, mark, at(-0.13, 3.58, front), (240, 240, 240), 32)


def _cab(image: Image, colour: Colour) -> None:
    """Paint stacks, sleeper, cab, lamps on the roof, windscreen, visor, air cleaners and mirrors."""
    for side in (-1, 1):
        tube(image, side * 1.13, 0.075, (1.2, 3.75), 17.6, CHROME)
    box(image, (0.6, 1.16), (1.2, 2.9), (16.7, 18.3), colour)
    plane(image, (-1.12, 1.12), (1.0, 3.3), 16.62, lit(colour, 1.08, 0.74), 0.2)
    plane(image, (-1.02, 1.02), (1.3, 3.0), 16.58, lit(colour, 0.96, 0.62), 0.05)
    for x in (-0.8, -0.4, 0.0, 0.4, 0.8):
        plane(image, (x - 0.05, x + 0.05), (3.27, 3.36), 16.5, lit(AMBER, 1.3, 1.0), 0.03)
    plane(image, (-1.0, 1.0), (1.92, 2.62), 16.52, lit(BLACK, 1.0, 1.08), 0.05)
    for x in (-0.95, 0.03):
        plane(image, (x, x + 0.92), (1.97, 2.58), 16.5, lit(GLASS, 0.8, 1.22), 0.05)
        glare = ((0.5, 1.98), (0.66, 1.98), (0.86, 2.57), (0.7, 2.57))
        wiper = ((0.16, 1.99), (0.7, 2.05), (0.7, 2.08), (0.16, 2.02))
        paint(image, [(x + right, y, 16.49) for right, y in glare], lit(GLASS, 1.12, 1.3))
        paint(image, [(x + right, y, 16.45) for right, y in wiper], lit(BLACK, 0.5))
    plane(image, (-1.06, 1.06), (2.6, 2.74), 16.3, lit(BLACK, 1.12, 0.6), 0.06)
    for side in (-1, 1):
        tube(image, side * 1.02, 0.14, (1.25, 1.98), 16.4, CHROME)
        arm, mirror = (side * 1.3 - 0.24, side * 1.3 + 0.24), (side * 1.46 - 0.1, side * 1.46 + 0.1)
        for y in (1.93, 2.62):
            plane(image, arm, (y, y + 0.03), 16.3, lit(CHROME, 1.0))
        plane(image, mirror, (1.9, 2.68), 16.2, lit(BLACK, 1.08, 0.7), 0.04)


def _nose(image: Image, colour: Colour) -> None:
    """Paint front wheels, bonnet, fenders with lamps, grille and bumper."""
    for wheel in ((-1.2, -0.86), (0.86, 1.2)):
        box(image, wheel, (0.0, 0.95), (15.5, 16.4), RUBBER)
    bonnet = ((-0.72, 1.66, 15.2), (0.72, 1.66, 15.2), (0.84, 1.96, 16.5), (-0.84, 1.96, 16.5))
    flank = ((0.72, 0.8, 15.2), (0.84, 0.8, 16.5), (0.84, 1.96, 16.5), (0.72, 1.66, 15.2))
    paint(image, bonnet, lit(colour, 1.12, 1.3))
    paint(image, flank, lit(colour, 0.9, 0.62))
    for middle in (-0.9, 0.9):
        plane(image, (middle - 0.3, middle + 0.3), (0.62, 1.36), 15.5, lit(colour, 0.7, 0.5), 0.2)
        plane(image, (middle - 0.3, middle + 0.3), (0.6, 1.32), 15.3, lit(colour, 1.1, 0.66), 0.18)
        lamps = middle + (0.04 if middle > 0 else -0.04)
        plane(image, (lamps - 0.2, lamps + 0.2), (0.84, 1.14), 15.25, lit(BLACK, 1.1, 1.0), 0.05)
        for x in (lamps - 0.095, lamps + 0.095):
            for radius_m, tone in (
                (0.095, (150, 150, 148)),
                (0.08, (238, 240, 240)),
                (0.045, (252, 252, 252)),
            ):
                disc(image, x, 1.03, 15.2, radius_m, tone)
        plane(image, (lamps - 0.16, lamps + 0.16), (0.865, 0.92), 15.2, lit(AMBER, 1.25, 1.0), 0.02)
    plane(image, (-0.73, 0.73), (0.6, 1.74), 15.15, lit(colour, 1.16, 0.72), 0.16)
    plane(image, (-0.56, 0.56), (0.68, 1.62), 15.1, lit(CHROME, 1.7, 0.7), 0.06)
    plane(image, (-0.52, 0.52), (0.7, 1.58), 15.09, lit(BLACK, 0.5, 1.04), 0.04)
    for y in np.linspace(0.76, 1.5, 9):
        plane(image, (-0.52, 0.52), (y, y + 0.042), 15.08, lit(CHROME, 1.6, 0.55))
    plane(image, (-0.13, 0.13), (1.64, 1.71), 15.05, lit(CHROME, 1.4, 0.5), 0.03)
    plane(image, (-1.24, 1.24), (0.3, 0.5), 15.1, lit(BLACK, 1.0))
    plane(image, (-1.26, 1.26), (0.4, 0.8), 14.9, lit(CHROME, 1.5, 0.58), 0.06)
    plane(image, (-1.24, 1.24), (0.66, 0.72), 14.89, lit(CHROME, 1.9, 1.2))
    for middle in (-0.9, 0.9):
        plane(image, (middle - 0.12, middle + 0.12), (0.53, 0.66), 14.88, lit(BLACK, 1.0), 0.03)
        disc(image, middle, 0.595, 14.87, 0.05, (232, 236, 236))


# --- the plate -----------------------------------------------------------------------------------


def _mount_plate(image: Image, face: Image) -> None:
    corners = [at(x, y, 14.86) for x, y in ((-0.24, 0.74), (0.24, 0.74), (0.24, 0.5), (-0.24, 0.5))]
    lay(image, cv2.resize(face, (120, 60), interpolation=cv2.INTER_AREA), corners)


def _plate_face(vehicle: Vehicle) -> Image:
    """Return the plate seen straight, (240, 480, 3); one that is not readable is under mud."""
    title, foot, tint = PLATES.get(vehicle.region, (vehicle.region, "", INK))
    face: Image = (
        np.linspace((240, 241, 241), (222, 224, 226), 240)[:, None, :].repeat(480, 1).astype(np.uint8)
    )
    cv2.rectangle(face, (5, 5), (474, 234), (120, 118, 116), 4, cv2.LINE_AA)
    for u, v in ((48, 26), (432, 26), (48, 215), (432, 215)):
        cv2.circle(face, (u, v), 7, (130, 126, 122), -1, cv2.LINE_AA)
    write(face, title, (240, 44), tint, 34)
    write(face, foot, (240, 224), tint, 22)
    write(face, vehicle.plate, (240, 164), INK, 118, widest=436)
    if not vehicle.plate_readable:
        rng = np.random.default_rng(vehicle.seed)
        clods = cv2.resize(rng.random((5, 9), np.float32), (480, 240), interpolation=cv2.INTER_CUBIC)
        mud = np.clip(clods + np.linspace(0.1, 0.7, 240)[:, None], 0.55, 0.97)[:, :, None]
        face = (cv2.GaussianBlur(face, (0, 0), 7) * (1 - mud) + np.array((74, 98, 118)) * mud).astype(
            np.uint8
        )
    return face

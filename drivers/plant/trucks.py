"""The trucks of the virtual lane as phantoms: a conventional tractor and a container on its chassis.

Built from ``Vehicle`` alone (load, length, seed), so that every emulator sees the same truck. Geometric
objects only; densities are those of loose fillings, chosen to look right at Co-60.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from drivers.plant.loads import LOADS
from drivers.plant.phantom import Box, Cylinder, Ellipsoid, Hollow, Prism, Shape, Solid
from drivers.plant.vehicle import Vehicle

BED_M = 1.08
"""Height of the chassis on which the container stands."""
CONTAINER_HEIGHT_M = 2.59
FLOOR_M = BED_M + 0.17
HALF_WIDTH_M = 1.22
BOX_FROM_M = 3.35
WHEEL_M = 0.5
"""Radius and height of every axle."""
RIGID_BELOW_M = 11.0
"""Shorter vehicles are one rigid chassis; longer ones are tractor and semi-trailer."""


def truck_solids(vehicle: Vehicle) -> tuple[Solid, ...]:
    """Return the whole truck, nose at x = 0."""
    tail = vehicle.length_m - 0.1
    rng = np.random.default_rng([vehicle.seed, 0x7A])
    rigid = vehicle.length_m < RIGID_BELOW_M
    parts = [*_cab(), *_engine(), *_wheel(1.08, dual=False)]
    parts += _rigid_chassis(tail) if rigid else _tractor_chassis()
    parts += [] if rigid else _trailer_chassis(tail)
    parts += _container(BOX_FROM_M, tail)
    parts += LOADS[vehicle.load](BOX_FROM_M + 0.2, tail - 0.2, FLOOR_M, rng)
    return tuple(parts)


def _side(side: int, inner_m: float, outer_m: float) -> tuple[float, float]:
    """Return the stretch across the lane between two distances from the middle, on one side (-1, 1)."""
    return (inner_m, outer_m) if side > 0 else (-outer_m, -inner_m)


# --- tractor --------------------------------------------------------------------------------------


def _cab() -> Iterator[Solid]:
    bonnet = Prism(((0.12, 0.72, 1.38), (0.3, 0.72, 1.52), (1.55, 0.85, 1.72)), (-1.0, 1.0))
    under = Prism(((0.17, 0.75, 1.31), (0.33, 0.75, 1.46), (1.55, 0.88, 1.66)), (-0.96, 0.96))
    yield Solid(Hollow(bonnet, under), "plastic", 0.16)
    house = Prism(
        ((1.5, 1.0, 1.72), (1.62, 0.98, 1.9), (1.98, 0.95, 2.86), (2.12, 0.95, 2.92), (3.02, 0.95, 2.92)),
        (-1.15, 1.15),
    )
    room = Prism(
        ((1.54, 1.03, 1.68), (1.66, 1.01, 1.88), (2.02, 0.98, 2.78), (2.14, 0.98, 2.86), (2.96, 0.98, 2.86)),
        (-1.13, 1.13),
    )
    yield Solid(Hollow(house, room), "steel", 0.17)
    for side in (-1, 1):
        skin = _side(side, 1.13, 1.15)
        # The door: sheet below the window, a frame around it, the B-pillar behind.
        yield Solid(Box((1.62, 2.6), skin, (1.0, 1.92)), "steel", 2.6)
        yield Solid(Box((2.54, 3.0), skin, (1.92, 2.86)), "steel", 2.6)
        yield Solid(Prism(((1.62, 1.86, 1.94), (1.96, 2.72, 2.84), (2.04, 2.74, 2.84)), skin), "steel", 4.0)
        yield Solid(Box((2.04, 2.6), skin, (2.76, 2.84)), "steel", 4.0)
        yield Solid(Box((1.5, 1.6), (side * 1.25 - 0.1, side * 1.25 + 0.1), (1.95, 2.3)), "plastic", 0.5)
    yield Solid(Box((1.58, 1.84), (-1.1, 1.1), (1.42, 1.72)), "plastic", 0.16)  # dashboard
    for seat_y in (-0.55, 0.55):
        across = (seat_y - 0.25, seat_y + 0.25)
        yield Solid(Box((2.3, 2.8), across, (1.36, 1.5)), "plastic", 0.3)
        yield Solid(Prism(((2.66, 1.45, 2.0), (2.8, 1.4, 2.25), (2.86, 1.4, 2.25)), across), "plastic", 0.3)
        yield Solid(Box((2.45, 2.65), across, (1.0, 1.36)), "steel", 0.25)
    yield Solid(Cylinder("z", (1.98, 0.55, 1.74), 0.2, 0.02), "steel", 1.0)  # steering wheel
    yield Solid(Box((0.0, 0.13), (-1.15, 1.15), (0.36, 0.78)), "steel", 0.11)  # bumper
    yield Solid(
        Prism(((0.45, 1.0, 1.12), (0.7, 1.06, 1.2), (1.4, 1.06, 1.2), (1.7, 0.7, 0.95)), (-1.2, 1.2)),
        "plastic",
        0.07,
    )  # wings over the front wheels
    yield Solid(Box((1.62, 2.2), (0.75, 1.15), (0.42, 0.52)), "aluminium", 0.5)  # steps
    yield Solid(Box((1.62, 2.2), (-1.15, -0.75), (0.42, 0.52)), "aluminium", 0.5)
    for side in (-1, 1):
        stack = Cylinder("z", (3.12, side * 0.9, 2.3), 0.075, 1.2)
        yield Solid(Hollow(stack, Cylinder("z", (3.12, side * 0.9, 2.3), 0.068, 1.2)), "steel", 7.85)


def _engine() -> Iterator[Solid]:
    yield Solid(Box((0.34, 0.44), (-0.5, 0.5), (0.72, 1.42)), "aluminium", 0.32)  # radiator
    yield Solid(Cylinder("x", (0.52, 0.0, 1.05), 0.34, 0.03), "plastic", 0.5)  # fan
    yield Solid(Box((0.66, 1.62), (-0.32, 0.32), (0.86, 1.36)), "steel", 0.4)  # block
    yield Solid(Box((0.7, 1.58), (-0.22, 0.22), (1.36, 1.5)), "steel", 0.5)  # head
    for cylinder in range(6):
        bore = Cylinder("z", (0.76 + 0.15 * cylinder, 0.0, 1.12), 0.062, 0.2)
        yield Solid(bore, "steel", 1.5)
    yield Solid(Cylinder("y", (0.68, 0.0, 0.98), 0.12, 0.3), "steel", 0.5)  # belt drive
    yield Solid(Cylinder("y", (0.62, 0.2, 1.26), 0.09, 0.12), "aluminium", 1.6)  # alternator
    yield Solid(Ellipsoid((1.15, 0.36, 1.3), (0.2, 0.12, 0.12)), "steel", 0.9)  # turbocharger
    yield Solid(Box((0.85, 1.5), (-0.2, 0.2), (0.66, 0.86)), "aluminium", 0.6)  # oil pan
    yield Solid(Cylinder("x", (1.72, 0.0, 1.02), 0.26, 0.1), "steel", 0.7)  # clutch
    yield Solid(Prism(((1.82, 0.78, 1.22), (2.5, 0.86, 1.16)), (-0.2, 0.2)), "aluminium", 0.8)  # gearbox
    yield Solid(Cylinder("y", (1.2, 0.0, 1.58), 0.11, 0.3), "plastic", 0.25)  # air cleaner


def _wheel(x: float, *, dual: bool) -> Iterator[Solid]:
    """One axle with its wheels, brake drums and hubs."""
    half = 0.26 if dual else 0.15
    for side in (-1, 1):
        middle = side * (1.23 - half)

        def ring(outer_m: float, inner_m: float, y: float = middle, half_m: float = half) -> Shape:
            centre = (x, y, WHEEL_M)
            return Hollow(Cylinder("y", centre, outer_m, half_m), Cylinder("y", centre, inner_m, half_m))

        yield Solid(ring(0.5, 0.455), "plastic", 0.5)  # tread
        yield Solid(ring(0.455, 0.3), "plastic", 0.3)  # side walls
        yield Solid(ring(0.3, 0.265), "steel", 0.55)  # rim
        yield Solid(ring(0.265, 0.215), "steel", 0.14)  # disc
        yield Solid(Cylinder("y", (x, middle, WHEEL_M), 0.215, half), "steel", 0.48 if dual else 0.7)  # drum
        yield Solid(Cylinder("y", (x, middle, WHEEL_M), 0.09, half), "steel", 0.2 if dual else 0.4)  # hub
    yield Solid(Cylinder("y", (x, 0.0, WHEEL_M), 0.07, 0.9), "steel", 0.1)


def _rails(first: float, last: float, low: float, high: float, half_gap: float) -> Iterator[Solid]:
    """Two I-beams with their cross members."""
    for side in (-1, 1):
        beam = _side(side, half_gap, half_gap + 0.08)
        yield Solid(Box((first, last), beam, (low, high)), "steel", 0.62)
        for flange in ((low, low + 0.025), (high - 0.025, high)):
            yield Solid(Box((first, last), beam, flange), "steel", 1.4)
    for x in np.arange(first + 0.05, last - 0.05, 0.62):
        member = Box((x, x + 0.045), (-half_gap, half_gap), (low + 0.03, high - 0.03))
        yield Solid(member, "steel", 0.26)


def _tanks(x: float) -> Iterator[Solid]:
    for side in (-1, 1):
        tank = Cylinder("x", (x, side * 0.86, 0.66), 0.3, 0.62)
        yield Solid(Hollow(tank, Cylinder("x", (x, side * 0.86, 0.66), 0.292, 0.616)), "aluminium", 1.1)
        fuel = Box((x - 0.61, x + 0.61), (side * 0.86 - 0.22, side * 0.86 + 0.22), (0.46, 0.78))
        yield Solid(fuel, "plastic", 0.4)
        yield Solid(
            Box((x - 0.4, x - 0.36), (side * 0.86 - 0.3, side * 0.86 + 0.3), (0.36, 0.96)), "steel", 0.3
        )
        yield Solid(
            Box((x + 0.36, x + 0.4), (side * 0.86 - 0.3, side * 0.86 + 0.3), (0.36, 0.96)), "steel", 0.3
        )


def _tractor_chassis() -> Iterator[Solid]:
    yield from _rails(0.35, 6.5, 0.78, 1.0, 0.36)
    yield from _tanks(2.66)
    yield Solid(Cylinder("x", (3.4, 0.0, 0.8), 0.06, 0.95), "steel", 0.9)  # propeller shaft
    yield Solid(Box((3.36, 3.72), (-0.9, -0.5), (0.62, 0.94)), "plastic", 0.9)  # batteries
    yield Solid(Cylinder("x", (3.95, 0.62, 0.7), 0.13, 0.28), "steel", 0.9)  # air tank
    yield Solid(
        Prism(((4.62, 1.0, 1.02), (4.9, 1.0, 1.07), (5.55, 1.0, 1.07), (6.0, 1.0, 1.01)), (-0.45, 0.45)),
        "steel",
        0.5,
    )  # fifth wheel
    for axle in (4.55, 5.85):
        yield from _wheel(axle, dual=True)
        yield Solid(Ellipsoid((axle, 0.0, WHEEL_M), (0.2, 0.24, 0.2)), "steel", 0.2)  # differential
        yield from _springs(axle)


def _springs(axle: float) -> Iterator[Solid]:
    for side in (-1, 1):
        leaf = ((axle - 0.5, 0.68, 0.71), (axle, 0.6, 0.68), (axle + 0.5, 0.68, 0.71))
        yield Solid(Prism(leaf, _side(side, 0.5, 0.6)), "steel", 1.8)


def _rigid_chassis(tail: float) -> Iterator[Solid]:
    yield from _rails(0.35, tail, 0.78, 1.02, 0.36)
    yield from _tanks(2.66)
    rear = max(4.2, tail - 1.9)
    yield from _wheel(rear, dual=True)
    yield from _springs(rear)
    yield Solid(Ellipsoid((rear, 0.0, WHEEL_M), (0.2, 0.24, 0.2)), "steel", 0.2)


def _trailer_chassis(tail: float) -> Iterator[Solid]:
    yield from _rails(BOX_FROM_M + 0.15, tail, 0.9 if tail < 11 else 0.86, BED_M, 0.42)
    leg = 6.9
    for side in (-1, 1):
        across = _side(side, 0.55, 0.67)
        yield Solid(Box((leg, leg + 0.12), across, (0.16, 0.9)), "steel", 1.1)
        yield Solid(Box((leg - 0.06, leg + 0.18), across, (0.12, 0.16)), "steel", 2.0)
        yield Solid(Prism(((leg + 0.12, 0.5, 0.54), (leg + 0.8, 0.84, 0.88)), across), "steel", 1.4)
    yield Solid(Cylinder("y", (leg + 0.06, 0.0, 0.62), 0.03, 0.55), "steel", 0.3)
    for axle in (tail - 2.65, tail - 1.35):
        yield from _wheel(axle, dual=True)
        yield from _springs(axle)
    yield Solid(Box((tail - 2.95, tail - 0.9), (-0.5, 0.5), (0.7, 0.86)), "steel", 0.14)  # bogie
    yield Solid(Box((tail - 0.12, tail - 0.04), (-1.1, 1.1), (0.4, 0.52)), "steel", 0.3)  # underrun bar
    yield Solid(Box((tail - 0.1, tail - 0.06), (-0.5, 0.5), (0.5, 0.9)), "steel", 0.3)
    for side in (-1, 1):
        flap = _side(side, 0.7, 1.2)
        yield Solid(Box((tail - 0.62, tail - 0.6), flap, (0.14, 0.7)), "plastic", 0.35)


# --- container ------------------------------------------------------------------------------------


def _container(first: float, last: float) -> Iterator[Solid]:
    top = BED_M + CONTAINER_HEIGHT_M
    width = (-HALF_WIDTH_M, HALF_WIDTH_M)
    for side in (-1, 1):
        wall = _side(side, HALF_WIDTH_M - 0.036, HALF_WIDTH_M)
        web = _side(side, HALF_WIDTH_M - 0.02, HALF_WIDTH_M)
        yield Solid(Box((first, last), wall, (BED_M + 0.16, top - 0.06)), "steel", 1.2)
        for x in np.arange(first + 0.2, last - 0.2, 0.278):  # the slopes of the corrugation
            yield Solid(Box((x, x + 0.045), wall, (BED_M + 0.16, top - 0.06)), "steel", 0.7)
        yield Solid(Box((first, last), web, (BED_M, BED_M + 0.16)), "steel", 2.2)  # bottom rail
        yield Solid(Box((first, last), wall, (top - 0.06, top)), "steel", 1.5)  # top rail
        for x in (first, last - 0.1):
            post = _side(side, HALF_WIDTH_M - 0.1, HALF_WIDTH_M)
            yield Solid(Box((x, x + 0.1), post, (BED_M, top)), "steel", 0.9)
            for z in (BED_M, top - 0.118):
                casting = _side(side, HALF_WIDTH_M - 0.16, HALF_WIDTH_M)
                yield Solid(Box((x - 0.03, x + 0.13), casting, (z, z + 0.118)), "steel", 1.0)
    yield Solid(Box((first, last), width, (top - 0.024, top)), "steel", 0.5)  # roof
    yield Solid(Box((first, first + 0.04), width, (BED_M, top)), "steel", 0.16)  # front wall
    yield Solid(Box((last - 0.06, last), width, (BED_M, top)), "steel", 0.16)  # doors
    yield Solid(Box((first, last), width, (FLOOR_M - 0.03, FLOOR_M)), "wood", 0.16)
    for x in np.arange(first + 0.3, last - 0.2, 0.31):
        yield Solid(Box((x, x + 0.04), width, (BED_M + 0.02, FLOOR_M - 0.03)), "steel", 0.15)

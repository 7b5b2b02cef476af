"""What the trucks of the virtual lane carry, as phantoms: one function per kind of load.

Each gets the stretch of floor between ``first`` and ``last`` (metres behind the nose), the floor's height
and its own random numbers. Densities are those of loose fillings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from drivers.plant.phantom import Box, Cylinder, Ellipsoid, Hollow, Prism, Solid

CRATE_M = 3.2


def _places(first: float, last: float, length: float, gap: float) -> Iterator[float]:
    """Share the length of the floor out evenly among as many pieces as fit."""
    count = max(1, int((last - first + gap) / (length + gap)))
    step = (last - first - length) / (count - 1) if count > 1 else 0.0
    yield from (first + i * step for i in range(count))


def _pallet(x: float, length: float, floor: float) -> Iterator[Solid]:
    yield Solid(Box((x, x + length), (-1.1, 1.1), (floor + 0.1, floor + 0.14)), "wood", 0.2)
    yield Solid(Box((x, x + length), (-1.1, 1.1), (floor, floor + 0.02)), "wood", 0.2)
    for foot in (x, x + length / 2 - 0.06, x + length - 0.12):
        yield Solid(Box((foot, foot + 0.12), (-1.1, 1.1), (floor, floor + 0.1)), "wood", 0.22)


def _pallets(first: float, last: float, floor: float, rng: np.random.Generator) -> Iterator[Solid]:
    """Cartons of different weights on pallets, and now and then two cable reels."""
    for number, x in enumerate(_places(first, last, 1.1, 0.13)):
        yield from _pallet(x, 1.1, floor)
        if number % 4 == 2:
            yield from _reels(x, 1.1, floor, rng)
            continue
        density = float(rng.choice([0.08, 0.12, 0.16, 0.2, 0.24]))
        columns, tiers = 3, int(rng.integers(4, 7))
        width, height = 1.1 / columns, float(rng.uniform(0.3, 0.35))
        for tier in range(tiers):
            for column in range(columns):
                if tier == tiers - 1 and rng.random() < 0.2:
                    continue
                left, low = x + column * width, floor + 0.14 + tier * height
                carton = Box((left + 0.012, left + width - 0.012), (-1.05, 1.05), (low, low + height - 0.02))
                share = float(rng.uniform(0.8, 1.2))
                yield Solid(carton, "plastic", density * share)
                middle = (left + width / 2, float(rng.normal(0, 0.1)), low + height / 2)
                inner = Ellipsoid(middle, (0.36 * width, 0.8, 0.36 * height))
                yield Solid(inner, "plastic", density * float(rng.uniform(0.2, 0.6)))


def _reels(x: float, length: float, floor: float, rng: np.random.Generator) -> Iterator[Solid]:
    radius = float(rng.uniform(0.4, 0.5))
    for tier in (0, 1):
        centre = (x + length / 2, 0.0, floor + 0.14 + radius * (1 + 2 * tier))
        wound = Hollow(Cylinder("y", centre, radius - 0.06, 1.0), Cylinder("y", centre, 0.16, 1.0))
        yield Solid(wound, "steel", 0.32)
        flange = Hollow(Cylinder("y", centre, radius, 1.0), Cylinder("y", centre, radius - 0.06, 1.0))
        yield Solid(flange, "wood", 0.12)


def _drums(first: float, last: float, floor: float, rng: np.random.Generator) -> Iterator[Solid]:
    """Steel drums in two tiers, two abreast, filled to different heights."""
    for x in _places(first, last, 0.6, 0.03):
        density = float(rng.choice([0.3, 0.42, 0.54]))
        for tier in (0, 1):
            low = floor + 0.02 + tier * 0.94
            for y in (-0.62, 0.62):
                drum = Cylinder("z", (x + 0.3, y, low + 0.44), 0.29, 0.44)
                yield Solid(Hollow(drum, Cylinder("z", (x + 0.3, y, low + 0.44), 0.287, 0.43)), "steel", 1.8)
                full = float(rng.uniform(0.62, 0.93)) * 0.43
                yield Solid(Cylinder("z", (x + 0.3, y, low + 0.01 + full), 0.287, full), "water", density)
                for hoop in (0.29, 0.59):
                    yield Solid(Cylinder("z", (x + 0.3, y, low + hoop), 0.297, 0.012), "steel", 0.25)
            yield Solid(Box((x, x + 0.6), (-1.0, 1.0), (low - 0.02, low)), "wood", 0.12)


def _tiles(first: float, last: float, floor: float, rng: np.random.Generator) -> Iterator[Solid]:
    """Pallets of ceramic tiles: low, in dense rows, two of them hardly penetrated."""
    places = list(_places(first, last, 1.0, 0.14))
    dense = set(rng.choice(len(places), size=min(2, len(places)), replace=False).tolist())
    for number, x in enumerate(places):
        yield from _pallet(x, 1.0, floor)
        layers, columns = int(rng.integers(4, 8)), 5
        density = 0.68 if number in dense else float(rng.uniform(0.24, 0.32))
        for layer in range(layers):
            low = floor + 0.14 + layer * 0.13
            for column in range(columns):
                left = x + column / columns
                pack = Box((left + 0.008, left + 1 / columns - 0.008), (-1.05, 1.05), (low, low + 0.115))
                yield Solid(pack, "ceramic", density * float(rng.uniform(0.94, 1.06)))


def _machine(first: float, last: float, floor: float, rng: np.random.Generator) -> Iterator[Solid]:
    """A crated press with a solid block that nothing penetrates, and cartons beside it."""
    if last - first < CRATE_M + 0.5:
        yield from _pallets(first, last, floor, rng)  # it does not fit
        return
    x = first + min((last - first) * float(rng.uniform(0.28, 0.36)), last - first - CRATE_M)
    bed = floor + 0.12
    yield Solid(Box((x - 0.1, x + 3.1), (-0.95, 0.95), (floor, bed)), "wood", 0.35)  # skid
    for post in (x - 0.1, x + 3.04):
        yield Solid(Box((post, post + 0.06), (-0.95, 0.95), (bed, bed + 1.75)), "wood", 0.12)
    yield Solid(Box((x - 0.1, x + 3.1), (-0.95, 0.95), (bed + 1.69, bed + 1.75)), "wood", 0.12)
    yield Solid(Box((x, x + 3.0), (-0.7, 0.7), (bed, bed + 0.14)), "steel", 0.75)  # bed
    yield Solid(
        Prism(
            (
                (x + 0.1, bed + 0.14, bed + 1.5),
                (x + 0.55, bed + 0.14, bed + 1.5),
                (x + 0.75, bed + 0.14, bed + 0.9),
                (x + 1.0, bed + 0.14, bed + 0.9),
            ),
            (-0.45, 0.45),
        ),
        "steel",
        0.5,
    )  # column
    yield Solid(Box((x + 1.05, x + 1.5), (-0.3, 0.3), (bed + 0.14, bed + 0.52)), "steel", 7.85)  # block
    centre = (x + 1.95, 0.0, bed + 0.72)
    yield Solid(Hollow(Cylinder("y", centre, 0.42, 0.12), Cylinder("y", centre, 0.33, 0.12)), "steel", 4.0)
    yield Solid(Hollow(Cylinder("y", centre, 0.33, 0.1), Cylinder("y", centre, 0.1, 0.1)), "steel", 0.9)
    yield Solid(Cylinder("y", centre, 0.07, 0.5), "steel", 4.0)  # shaft
    yield Solid(
        Prism(((x + 1.75, bed + 0.14, bed + 0.72), (x + 2.15, bed + 0.14, bed + 0.72)), (-0.3, 0.3)),
        "steel",
        0.35,
    )  # bearing stand
    motor = (x + 2.65, 0.0, bed + 0.4)
    yield Solid(Cylinder("x", motor, 0.25, 0.3), "steel", 1.6)
    yield Solid(Box((x + 2.35, x + 2.95), (-0.25, 0.25), (bed + 0.14, bed + 0.2)), "steel", 1.5)
    yield Solid(Box((x + 0.2, x + 2.7), (0.5, 0.56), (bed + 1.2, bed + 1.26)), "steel", 3.0)  # hydraulic pipe
    for carton in (first + 0.1, first + 1.0, last - 1.4):
        if carton + 0.9 < x - 0.1 or carton > x + 3.1:
            height = float(rng.uniform(0.9, 1.4))
            yield from _pallet(carton, 0.85, floor)
            yield Solid(Box((carton, carton + 0.85), (-0.9, 0.9), (bed, bed + height)), "wood", 0.14)


def _empty(first: float, last: float, floor: float, rng: np.random.Generator) -> Iterator[Solid]:
    """Nothing but what every empty container holds: a few lashing rings."""
    for x in _places(first, last, 0.05, 1.1):
        yield Solid(
            Cylinder("y", (x, float(rng.choice([-1.1, 1.1])), floor + 0.05), 0.03, 0.03), "steel", 7.85
        )


LOADS: dict[str, Callable[[float, float, float, np.random.Generator], Iterator[Solid]]] = {
    "pallets": _pallets,
    "drums": _drums,
    "tiles": _tiles,
    "machine": _machine,
    "empty": _empty,
}

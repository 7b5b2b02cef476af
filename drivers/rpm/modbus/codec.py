"""The map of a portal's registers: which number or bit stands where, and what it means to the lane.

Function codes 1 and 2 read single bits, 3 and 4 registers of 16 bits; a number of 32 bits has two of them, in
either order. [MODBUS Application Protocol Specification V1.1b3, 2012, section 6] Pure: any registers become
values, never an exception.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from drivers.api import Options
from drivers.formats.polled import Poll, flaw
from drivers.readings import Channel, PortalStatus, Stamp
from drivers.transport.modbus import ADDRESSES, BITS, MOST_BITS, MOST_REGISTERS

LEVELS = ("occupied", "gamma_alarm", "neutron_alarm", "fault", "tamper")
COUNTS = ("gamma_counts", "neutron_counts")
BACKGROUNDS = ("gamma_background", "neutron_background")
WINDOWS = ("window_low", "window_high")
Name = Literal[
    "occupied", "gamma_alarm", "neutron_alarm", "fault", "tamper",
    "gamma_counts", "neutron_counts", "gamma_background", "neutron_background",
    "window_low", "window_high", "speed", "counter",
]  # fmt: skip
MANY = frozenset({*COUNTS, *BACKGROUNDS})
"""Fields that stand once for each panel; the others stand once."""
FORMATS: Mapping[str, str] = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f"}


class Point(Options):
    """One entry of the map: where a value stands and how it is written."""

    field: Name
    function: Literal[1, 2, 3, 4]
    address: int = Field(ge=0, lt=ADDRESSES)
    type: Literal["u16", "i16", "u32", "i32", "f32", "bit"]
    bit: int | None = Field(default=None, ge=0, le=15)
    """Which bit of a register; 0 is the lowest."""
    word_order: Literal["high_first", "low_first"] = "high_first"
    scale: float = 1.0
    inverted: bool = False
    """Whether a level says the contrary."""
    unit_id: int | None = Field(default=None, ge=0, le=255)
    """Another unit than the device's own."""

    @model_validator(mode="after")
    def _can_work(self) -> Point:
        if problem := next(_entry_problems(self), None):
            raise ValueError(problem)
        return self

    @property
    def width(self) -> int:
        """Addresses that the value takes."""
        return 2 if self.type in ("u32", "i32", "f32") else 1


def _entry_problems(point: Point) -> Iterator[str]:
    by_bit = point.function in BITS
    if by_bit and point.type != "bit":
        yield f"function {point.function} reads single bits: give type = 'bit', or function 3 or 4"
    if not by_bit and point.type == "bit" and point.bit is None:
        yield f"function {point.function} reads registers: give bit = 0 to 15, or function 1 or 2"
    if point.bit is not None and (by_bit or point.type != "bit"):
        yield "bit picks one bit of a register: it needs function 3 or 4 and type = 'bit'"
    if point.address + point.width > ADDRESSES:
        yield f"a {point.type} at address {point.address} reaches beyond the last address, {ADDRESSES - 1}"
    if not point.scale or flaw(abs(point.scale)) == "not_a_number":
        yield "scale must be a number, and not 0"
    if point.field in LEVELS and (point.type == "f32" or point.scale != 1):
        yield f"{point.field} is yes or no: it needs a bit or a whole number, without a scale"
    if point.field not in LEVELS and (point.type == "bit" or point.inverted):
        yield f"{point.field} is a number: it cannot be a bit, nor inverted"
    if point.field == "counter" and (point.type == "f32" or point.scale != 1):
        yield "counter is a running number: it needs a whole number, without a scale"


def map_problem(points: Sequence[Point], unit_id: int) -> str | None:
    """Return what keeps a map of sound entries from working, as words after "the map"; ``None``: nothing."""
    return next(_map_problems(points, unit_id), None)


def _map_problems(points: Sequence[Point], unit_id: int) -> Iterator[str]:
    fields = Counter[str](point.field for point in points)
    for name, times in fields.items():
        if times > 1 and name not in MANY:
            yield f"has {name} {times} times; it may stand once"
    if fields.keys().isdisjoint({"gamma_alarm", "neutron_alarm", *COUNTS}):
        yield "has neither an alarm nor counts: nothing would tell radiation; add gamma_alarm or gamma_counts"
    if not fields.keys().isdisjoint(COUNTS) and not fields["occupied"]:
        yield "has counts and no occupied: nobody would know which of them are of a vehicle"
    for counts, background in zip(COUNTS, BACKGROUNDS, strict=True):
        if fields[background] not in (0, 1, fields[counts]) or fields[background] > fields[counts]:
            yield (
                f"has {fields[background]} {background} and {fields[counts]} {counts}; "
                "give one for all panels, or one for each"
            )
    told = {counts: fields[background] for counts, background in zip(COUNTS, BACKGROUNDS, strict=True)}
    if any(told.values()) and not all(told[counts] for counts in COUNTS if fields[counts]):
        yield "has a background of one channel and none of the other; give both, or neither"
    if fields[WINDOWS[0]] != fields[WINDOWS[1]] or (fields[WINDOWS[0]] and not fields[COUNTS[0]]):
        yield "needs window_low and window_high together, beside gamma_counts"
    if fields[WINDOWS[0]] and any(told.values()):
        yield "has windows, whose background is learnt from the empty portal: leave all backgrounds out"
    yield from _overlaps(points, unit_id)


def _overlaps(points: Sequence[Point], unit_id: int) -> Iterator[str]:
    """Yield numbers that share one of two registers: one of them is read from the wrong place."""
    placed = sorted((point for point in points if point.type != "bit"), key=lambda p: place(p, unit_id))
    for first, second in pairwise(placed):
        a, b = place(first, unit_id), place(second, unit_id)
        if a[:2] == b[:2] and first.address < second.address < first.address + first.width:
            yield (
                f"lets {first.field} at address {first.address} and {second.field} at {second.address} "
                f"overlap: a {first.type} takes two registers"
            )


# --- what is asked --------------------------------------------------------------------------------

Place = tuple[int, int, int]
"""Unit, function, address."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one request reads."""

    unit_id: int
    function: int
    address: int
    count: int


def place(point: Point, unit_id: int) -> Place:
    """Return where an entry begins; ``unit_id`` is the device's own."""
    return (unit_id if point.unit_id is None else point.unit_id), point.function, point.address


def requests(points: Iterable[Point], unit_id: int) -> tuple[Request, ...]:
    """Return the fewest requests for neighbouring addresses, and for no address that is not in the map."""
    found: list[Request] = []
    for (unit, function, address), width in sorted((place(each, unit_id), each.width) for each in points):
        most = MOST_BITS if function in BITS else MOST_REGISTERS
        last = found[-1] if found else Request(-1, 0, 0, 0)
        end = address + width
        joined = end - last.address
        beside = (last.unit_id, last.function) == (unit, function) and address <= last.address + last.count
        if beside and joined <= most:
            found[-1] = Request(unit, function, last.address, max(last.count, joined))
        else:
            found.append(Request(unit, function, address, width))
    return tuple(found)


# --- what is answered -----------------------------------------------------------------------------


def number(point: Point, words: Sequence[int]) -> float:
    """Return the value of an entry from its registers (or its bit): scaled, or 0 and 1 for a level."""
    if point.type == "bit":
        value: float = words[0] >> (point.bit or 0) & 1
    else:
        ordered = words if point.word_order == "high_first" else words[::-1]
        (value,) = struct.unpack(f">{FORMATS[point.type]}", struct.pack(f">{point.width}H", *ordered))
    if point.field in LEVELS:
        return bool(value) != point.inverted
    return value if point.scale == 1 else value * point.scale


def encode(point: Point, value: float) -> list[int]:
    """Return the registers of a value as a device holds it; what does not fit is the nearest that does."""
    raw = float(bool(value) != point.inverted) if point.field in LEVELS else value / point.scale
    if point.type == "bit":
        return [int(raw) << (point.bit or 0)]
    if point.type != "f32":
        size = 1 << 16 * point.width
        low = -size // 2 if point.type[0] == "i" else 0
        raw = min(max(round(raw), low), low + size - 1)
    words = list(struct.unpack(f">{point.width}H", struct.pack(f">{FORMATS[point.type]}", raw)))
    return words if point.word_order == "high_first" else words[::-1]


def poll(
    points: Iterable[Point], unit_id: int, memory: Mapping[Place, int], stamp: Stamp
) -> tuple[Poll, tuple[str, ...]]:
    """Return what the registers of one poll say, and the flaws of numbers that are none.

    ``memory`` holds every address of ``requests``. A number with a flaw is unknown, never a smaller one.
    """
    said: dict[str, list[float]] = {}
    text: list[str] = []
    for point in points:
        unit, function, address = place(point, unit_id)
        value = number(point, [memory[unit, function, address + more] for more in range(point.width)])
        said.setdefault(point.field, []).append(value)
        text.append(f"{value:.9g}")
    speeds = [abs(speed) for speed in said.get("speed", ())]
    measured = [value for name in (*COUNTS, *BACKGROUNDS, *WINDOWS) for value in said.get(name, ())]
    flaws = tuple(wrong for value in (*measured, *speeds) if (wrong := flaw(value)))
    levels = {name: bool(said[name][0]) for name in LEVELS if name in said}
    count = int(said["counter"][0]) % ADDRESSES if "counter" in said else None
    windows = tuple(window for name in WINDOWS for window in _counts(said.get(name, ())))
    told = Poll(
        PortalStatus(stamp, occupancy_count=count, raw=",".join(text).encode("ascii"), **levels),
        counts={each: _counts(said[name]) for each, name in _of_channels(COUNTS) if name in said},
        background={each: _known(said[name]) for each, name in _of_channels(BACKGROUNDS) if name in said},
        windows=(windows[0], windows[1]) if windows else None,
        speed_mps=next((speed for speed in speeds if not flaw(speed)), None),
    )
    return told, flaws


def _of_channels(names: Sequence[str]) -> Iterator[tuple[Channel, str]]:
    return zip(Channel, names, strict=True)


def _known(numbers: Iterable[float]) -> tuple[float | None, ...]:
    return tuple(None if flaw(number) else number for number in numbers)


def _counts(numbers: Iterable[float]) -> tuple[int | None, ...]:
    return tuple(None if number is None else round(number) for number in _known(numbers))

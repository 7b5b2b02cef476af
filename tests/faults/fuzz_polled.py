"""Fuzz the registers of polled portals, and what becomes of them as readings, with atheris.

``python tests/faults/fuzz_polled.py [SECONDS]`` ends with status 0 when nothing was found. Two bytes are a
register; 21 of them are a poll of an Aspect portal, then one of a portal behind a map.
"""

from __future__ import annotations

from dataclasses import replace

import atheris

from tests.support.fuzzing import fuzz
from tests.support.portal_map import KNOWN, WHOLE

with atheris.instrument_imports(include=["drivers.rpm.aspect.codec", "drivers.formats.polled"]):
    from drivers.formats.polled import Publisher
    from drivers.readings import Counts, Stamp
    from drivers.rpm.aspect.codec import BLOCK_COUNT, Measured, Monitor, decode, encode, monitor_area
    from drivers.rpm.aspect.driver import AspectOptions
    from drivers.rpm.modbus import codec as portal_map
    from drivers.rpm.modbus.driver import ModbusPortalOptions

ASPECT = AspectOptions.model_validate(KNOWN)
MAP = ModbusPortalOptions.model_validate({"map": WHOLE, **KNOWN})
QUIET = Monitor(1, 1, Measured(0x80, 480, 480.0, 480.0), Measured(0x80, 1, 0.6, 0.6), 7, 0, 1_355)


def one_input(data: bytes) -> None:
    """Any registers become readings whose numbers are counts, in their order, and survive their encoding."""
    words = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data) - 1, 2)]
    aspect, mapped = Publisher(ASPECT), Publisher(MAP)
    monitor_area(words[:8])
    for number in range(0, max(1, len(words)), BLOCK_COUNT):
        block = words[number : number + BLOCK_COUNT]
        now = Stamp(number * 10**8, number * 10**8, "fuzz")
        monitor = decode(block)
        if monitor is not None:
            again = decode(encode(monitor))
            if again is None or again.text() != monitor.text():
                raise AssertionError(f"{monitor} becomes {again}")
            check(aspect.take(monitor.poll(now, ASPECT.fitted)), now)
        memory: dict[portal_map.Place, int] = {}
        for request in portal_map.requests(MAP.map, MAP.unit_id):
            for more in range(request.count):
                word = block[len(memory) % len(block)] if block else 0
                where = request.unit_id, request.function, request.address + more
                memory[where] = word & 1 if request.function in (1, 2) else word
        told, _ = portal_map.poll(MAP.map, MAP.unit_id, memory, now)
        check(mapped.take(replace(told, status=replace(told.status, occupied=number % 2 == 0))), now)


def check(readings: list[object], now: Stamp) -> None:
    for reading in readings:
        if isinstance(reading, Counts):
            if any(count is not None and count < 0 for count in reading.counts) or reading.stamp != now:
                raise AssertionError(f"{reading} is no count of now")


if __name__ == "__main__":
    fuzz(one_input, [2 * b"".join(word.to_bytes(2, "little") for word in encode(QUIET))], longest=512)

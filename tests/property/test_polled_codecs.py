"""Registers of polled portals for every input: junk never raises, no number ever becomes a smaller one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.formats.polled import MOST_COUNTS, Poll, Publisher
from drivers.readings import Channel, Counts, Phase, PortalStatus
from drivers.rpm.aspect.codec import BLOCK_COUNT, Measured, Monitor, decode, encode, monitor_area
from drivers.rpm.aspect.driver import AspectOptions
from drivers.rpm.modbus import codec as portal_map
from drivers.rpm.modbus.driver import ModbusPortalOptions
from tests.support.portal_lines import stamp
from tests.support.portal_map import KNOWN, WHOLE, WINDOWED

word = st.integers(0, 65_535)
blocks = st.lists(word, max_size=130)
number = st.floats(width=32)
measured = st.builds(Measured, word, st.integers(-(2**31), 2**31 - 1), number, number)
monitors = st.builds(Monitor, st.integers(0, 2**32 - 1), word, measured, measured, word, word, word, word)
OPTIONS = st.sampled_from([AspectOptions(), AspectOptions.model_validate(KNOWN)])
MAPS = [
    ModbusPortalOptions.model_validate({"map": WHOLE, **KNOWN}),
    ModbusPortalOptions.model_validate({"map": WINDOWED, "count_interval_s": 0.2}),
]


def check(readings: list[Any]) -> None:
    """What every reading of a polled portal keeps, whatever its registers say."""
    for reading in readings:
        if isinstance(reading, Counts):
            present = [count for count in reading.counts if count is not None]
            assert all(count >= 0 for count in present)
            assert (reading.total is None) == (len(present) < len(reading.counts))


@given(blocks, OPTIONS)
def test_any_registers_are_a_monitor_or_none(registers: list[int], options: AspectOptions) -> None:
    monitor = decode(registers)
    assert (monitor is None) == (len(registers) < BLOCK_COUNT)
    area = monitor_area(registers[:8])
    assert 8 <= area.address <= 65_536 - area.count
    assert BLOCK_COUNT <= area.count <= 125
    if monitor is not None:
        again = decode(encode(monitor))
        assert again is not None
        assert again.text() == monitor.text()
        assert len(monitor.text().split(b",")) == 14
        check(Publisher(options).take(monitor.poll(stamp(1), options.fitted)))


@given(monitors, OPTIONS)
def test_no_number_ever_becomes_a_smaller_one(monitor: Monitor, options: AspectOptions) -> None:
    occupied = replace(monitor, inputs=monitor.inputs | 0x01)
    readings = Publisher(options).take(occupied.poll(stamp(1), options.fitted))
    check(readings)
    status, gamma = readings[0], readings[1]
    assert isinstance(status, PortalStatus)
    assert status.gamma_alarm is bool(monitor.gamma.status & 0x03), "an alarm is never lost"
    assert isinstance(gamma, Counts)
    known = monitor.gamma
    sound = (
        known.status & 0x80
        and 0 <= known.count <= MOST_COUNTS
        and 0 <= known.background <= MOST_COUNTS
        and abs(known.variance) <= MOST_COUNTS
    )
    assert gamma.counts == ((known.count,) if sound else (None,))


@given(st.data(), st.sampled_from(MAPS))
def test_any_registers_of_a_map_are_a_poll(data: st.DataObject, options: ModbusPortalOptions) -> None:
    memory: dict[portal_map.Place, int] = {}
    for request in portal_map.requests(options.map, options.unit_id):
        most = 1 if request.function in (1, 2) else 65_535
        for more in range(request.count):
            where = request.unit_id, request.function, request.address + more
            memory[where] = data.draw(st.integers(0, most))
    told, flaws = portal_map.poll(options.map, options.unit_id, memory, stamp(1))
    missing = sum(count is None for counts in told.counts.values() for count in counts)
    assert missing <= len(flaws)
    check(Publisher(options).take(replace(told, status=replace(told.status, occupied=True))))


ENTRIES = st.fixed_dictionaries(
    {
        "field": st.sampled_from(portal_map.Name.__args__),
        "function": st.integers(1, 4),
        "address": st.integers(0, 65_535),
        "type": st.sampled_from(["u16", "i16", "u32", "i32", "f32", "bit"]),
        "word_order": st.sampled_from(["high_first", "low_first"]),
        "scale": st.sampled_from([1.0, 0.001, -1.0]),
        "inverted": st.booleans(),
    },
    optional={"bit": st.integers(0, 15), "unit_id": st.integers(0, 255)},
)


@given(st.lists(ENTRIES, max_size=6))
def test_any_map_is_refused_or_reads_what_it_names(entries: list[dict[str, Any]]) -> None:
    try:
        options = ModbusPortalOptions.model_validate({"map": entries})
    except ValidationError:
        return
    read = {
        (request.unit_id, request.function, request.address + more)
        for request in portal_map.requests(options.map, options.unit_id)
        for more in range(request.count)
    }
    told, _ = portal_map.poll(options.map, options.unit_id, dict.fromkeys(read, 0), stamp(1))
    assert isinstance(told, Poll)


NUMBERS = st.fixed_dictionaries(
    {
        "field": st.just("speed"),
        "function": st.sampled_from([3, 4]),
        "address": st.integers(0, 65_534),
        "type": st.sampled_from(["u16", "i16", "u32", "i32", "f32"]),
        "word_order": st.sampled_from(["high_first", "low_first"]),
        "scale": st.sampled_from([1.0, 0.001, -1.0]),
    }
)


@given(NUMBERS, word, word)
def test_what_a_map_encodes_it_decodes(entry: dict[str, Any], high: int, low: int) -> None:
    point = portal_map.Point.model_validate(entry)
    value = portal_map.number(point, [high, low][: point.width])
    if math.isfinite(value):
        assert portal_map.number(point, portal_map.encode(point, value)) == value


@given(
    st.lists(
        st.tuples(st.booleans(), st.none() | st.integers(0, 1_000), st.sampled_from([0.1, 0.2, 0.2, 0.7])),
        max_size=60,
    ),
    OPTIONS,
)
def test_any_story_keeps_its_order_and_counts_every_neutron_at_most_once(
    story: list[tuple[bool, int | None, float]], options: AspectOptions
) -> None:
    publisher, at_s, last_ns = Publisher(options), 100.0, 0
    drawn = told = 0
    for occupied, count, step_s in story:
        at_s = round(at_s + step_s, 3)
        status = PortalStatus(stamp(at_s), occupied=occupied)
        readings = publisher.take(Poll(status, {Channel.GAMMA: (count,), Channel.NEUTRON: (count,)}))
        assert not readings or readings[0] is status
        assert readings or not occupied, "a vehicle is told with every poll"
        drawn += (count or 0) * occupied
        for reading in readings:
            assert reading.stamp.mono_ns >= last_ns
            last_ns = reading.stamp.mono_ns
            if isinstance(reading, Counts) and reading.channel is Channel.NEUTRON:
                assert (reading.phase is Phase.SCAN) == occupied
                told += (reading.total or 0) * occupied
    assert told <= drawn

"""The map of a portal's registers: what a lane file may say, what is asked, and what the answers mean."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.readings import Channel
from drivers.rpm.modbus.codec import Place, Point, Request, encode, number, place, poll, requests
from drivers.rpm.modbus.driver import ModbusPortalOptions
from station import plugins
from station.lanefile import LaneFileError, load_lane, shipped
from tests.support.portal_lines import stamp
from tests.support.portal_map import KNOWN, WHOLE, WINDOWED, Entry, entry

G, N = Channel.GAMMA, Channel.NEUTRON
CONTACTS = [entry("occupied", 2, 0, "bit"), entry("gamma_alarm", 2, 1, "bit")]
PANEL = entry("gamma_counts", 3, 0, "u16")


def options(*entries: Entry, **more: Any) -> ModbusPortalOptions:
    return ModbusPortalOptions.model_validate({"map": entries, **more})


def point(**values: Any) -> Point:
    return Point.model_validate({"field": "gamma_counts", "function": 3, "address": 0, **values})


# --- numbers and bits -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words", "value"),
    [
        ("u16", [0xFFFF], 65_535),
        ("i16", [0xFFFF], -1),
        ("u32", [0x0001, 0x1170], 70_000),
        ("i32", [0xFFFF, 0xFFFE], -2),
        ("f32", [0x4148, 0x0000], 12.5),
    ],
)
@pytest.mark.parametrize("order", ["high_first", "low_first"])
def test_a_number_and_its_registers(kind: str, words: list[int], value: float, order: str) -> None:
    at = point(type=kind, word_order=order)
    shown = words if order == "high_first" else words[::-1]
    assert number(at, shown) == value
    assert encode(at, value) == shown


def test_a_scale_makes_units() -> None:
    speed = point(field="speed", type="u16", scale=0.001)
    assert number(speed, [1_355]) == pytest.approx(1.355)
    assert encode(speed, 1.355) == [1_355]


def test_a_level_is_any_bit_and_its_contrary() -> None:
    for bit in (0, 7, 15):
        fault = point(field="fault", type="bit", bit=bit)
        assert number(fault, [1 << bit]) == 1
        assert number(fault, [0xFFFF & ~(1 << bit)]) == 0
        assert encode(fault, 1) == [1 << bit]
    inverted = point(field="fault", function=2, type="bit", inverted=True)
    assert [number(inverted, [0]), number(inverted, [1])] == [1, 0]
    assert [encode(inverted, 0), encode(inverted, 1)] == [[1], [0]]
    word = point(field="occupied", type="u16")
    assert [number(word, [0]), number(word, [3])] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [("u16", -4, 0), ("u16", 70_000, 65_535), ("i16", 40_000, 32_767), ("i32", -3e9, -(2**31))],
)
def test_what_does_not_fit_is_held_as_the_nearest(kind: str, value: float, held: float) -> None:
    at = point(type=kind)
    assert number(at, encode(at, value)) == held


# --- what is asked --------------------------------------------------------------------------------


def test_neighbours_are_one_request_and_no_other_address_is_read() -> None:
    whole = options(*WHOLE)
    assert requests(whole.map, 1) == (
        Request(1, 1, 3, 1),
        Request(1, 2, 10, 2),
        Request(1, 3, 20, 6),
        Request(1, 3, 30, 1),
        Request(1, 3, 40, 1),
        Request(1, 4, 100, 5),
        Request(9, 4, 7, 1),
    )
    asked = {
        (each.unit_id, each.function, each.address + more)
        for each in requests(whole.map, 1)
        for more in range(each.count)
    }
    named = {
        (unit, function, address + more)
        for each in whole.map
        for unit, function, address in [place(each, 1)]
        for more in range(each.width)
    }
    assert asked == named


def test_no_request_reads_more_than_modbus_allows_nor_half_a_number() -> None:
    numbers = [point(type="u32", address=2 * n) for n in range(80)]
    assert requests(numbers, 1) == (Request(1, 3, 0, 124), Request(1, 3, 124, 36))
    bits = [point(field="tamper", function=1, type="bit", address=n) for n in range(2_001)]
    assert requests(bits, 1) == (Request(1, 1, 0, 2_000), Request(1, 1, 2_000, 1))


def test_two_bits_of_one_register_are_read_once() -> None:
    bits = [point(field=name, type="bit", bit=n) for n, name in enumerate(("fault", "tamper"))]
    assert requests(bits, 1) == (Request(1, 3, 0, 1),)
    assert requests([point(type="u32"), point(type="u16")], 1) == (Request(1, 3, 0, 2),)


# --- what the answers mean ------------------------------------------------------------------------


def answers(map_: ModbusPortalOptions, **values: list[float]) -> dict[Place, int]:
    memory: dict[Place, int] = {}
    left = {name: iter(each) for name, each in values.items()}
    for at in map_.map:
        unit, function, address = place(at, map_.unit_id)
        for more, word in enumerate(encode(at, next(left.get(at.field, iter([0]))))):
            memory[unit, function, address + more] = memory.get((unit, function, address + more), 0) | word
    return memory


def test_the_whole_map() -> None:
    whole = options(*WHOLE, **KNOWN)
    memory = answers(
        whole,
        occupied=[1], gamma_alarm=[0], neutron_alarm=[1], fault=[1], tamper=[0],
        gamma_counts=[121, 119, 70_000, 118], gamma_background=[479.5],
        neutron_counts=[2], neutron_background=[0.61],
        speed=[1.355], counter=[65_535],
    )  # fmt: skip
    told, flaws = poll(whole.map, 1, memory, stamp(5))
    status = told.status
    assert (status.occupied, status.gamma_alarm, status.neutron_alarm) == (True, False, True)
    assert (status.fault, status.tamper, status.occupancy_count) == (True, False, 65_535)
    assert told.counts == {G: (121, 119, 70_000, 118), N: (2,)}
    assert told.background == {G: (479.5,), N: (pytest.approx(0.61),)}
    assert told.windows is None
    assert told.speed_mps == pytest.approx(1.355)
    assert flaws == ()
    assert status.raw == b"1,0,1,1,0,121,119,70000,118,479.5,2,0.61,1.355,65535"
    assert status.stamp == stamp(5)


def test_two_windows_beside_the_counts() -> None:
    windowed = options(*WINDOWED, count_interval_s=0.2)
    memory = answers(windowed, gamma_counts=[478], window_low=[300], window_high=[178])
    told, flaws = poll(windowed.map, 1, memory, stamp(5))
    assert (told.windows, told.counts, flaws) == ((300, 178), {G: (478,)}, ())
    assert windowed.portal.windows
    assert not options(*WHOLE, **KNOWN).portal.windows


def test_what_is_not_in_the_map_is_not_fitted() -> None:
    contacts = options(*CONTACTS)
    told, _ = poll(contacts.map, 1, {(1, 2, 0): 0, (1, 2, 1): 1}, stamp(5))
    status = told.status
    assert (status.occupied, status.gamma_alarm) == (False, True)
    assert (status.neutron_alarm, status.fault, status.tamper, status.occupancy_count) == (None,) * 4
    assert (told.counts, told.background, told.windows, told.speed_mps) == ({}, {}, None, None)
    assert contacts.portal.channels == frozenset()
    assert (contacts.portal.interval_s, contacts.portal.averaging_s) == (None, None)


def test_a_number_that_is_none_is_unknown_and_told() -> None:
    lane = options(
        *CONTACTS,
        entry("gamma_counts", 3, 0, "i16"),
        entry("gamma_counts", 3, 1, "f32"),
        entry("gamma_background", 3, 3, "f32"),
        entry("speed", 3, 5, "f32"),
    )
    memory = answers(lane, gamma_counts=[-1, math.nan], gamma_background=[math.inf], speed=[math.nan])
    told, flaws = poll(lane.map, 1, memory, stamp(5))
    assert flaws == ("negative_count", "not_a_number", "not_a_number", "not_a_number")
    assert (told.counts, told.background, told.speed_mps) == ({G: (None, None)}, {G: (None,)}, None)


def test_a_vehicle_that_backs_has_a_speed() -> None:
    lane = options(*CONTACTS, entry("speed", 3, 0, "i16", scale=0.01))
    told, flaws = poll(lane.map, 1, answers(lane, speed=[-1.5]), stamp(5))
    assert (told.speed_mps, flaws) == (pytest.approx(1.5), ())


def test_a_counter_of_more_bits_counts_on() -> None:
    lane = options(*CONTACTS, entry("counter", 3, 0, "u32"))
    told, _ = poll(lane.map, 1, answers(lane, counter=[65_537]), stamp(5))
    assert told.status.occupancy_count == 1


def test_what_the_map_says_of_the_portal() -> None:
    facts = options(*WHOLE, **KNOWN).portal
    assert (facts.detectors, facts.channels) == (("P1", "P2", "P3", "P4"), {G, N})
    assert (facts.interval_s, facts.averaging_s) == (0.2, 20.0)
    own = options(*CONTACTS, PANEL, count_interval_s=0.2).portal
    assert (own.channels, own.interval_s, own.averaging_s) == ({G}, 0.2, 1.0)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"function": 2, "type": "u16"},
            "function 2 reads single bits: give type = 'bit', or function 3 or 4",
        ),
        (
            {"field": "fault", "type": "bit"},
            "function 3 reads registers: give bit = 0 to 15, or function 1 or 2",
        ),
        ({"field": "fault", "function": 1, "type": "bit", "bit": 3}, "bit picks one bit of a register"),
        ({"type": "u16", "bit": 3}, "bit picks one bit of a register"),
        ({"type": "u32", "address": 65_535}, "a u32 at address 65535 reaches beyond the last address, 65535"),
        ({"type": "u16", "scale": 0.0}, "scale must be a number, and not 0"),
        ({"type": "u16", "scale": math.nan}, "scale must be a number, and not 0"),
        ({"field": "occupied", "type": "f32"}, "occupied is yes or no: it needs a bit or a whole number"),
        ({"field": "fault", "type": "u16", "scale": 2.0}, "fault is yes or no"),
        ({"type": "bit", "bit": 3}, "gamma_counts is a number: it cannot be a bit, nor inverted"),
        ({"field": "speed", "type": "u16", "inverted": True}, "speed is a number"),
        ({"field": "counter", "type": "f32"}, "counter is a running number: it needs a whole number"),
        ({"field": "counter", "type": "u16", "scale": 2.0}, "counter is a running number"),
        ({"type": "u64"}, "Input should be 'u16', 'i16'"),
        ({"function": 5, "type": "u16"}, "Input should be 1, 2, 3 or 4"),
        ({"type": "u16", "address": 65_536}, "less than 65536"),
        ({"field": "gamma", "type": "u16"}, "Input should be 'occupied'"),
        ({"type": "u16", "adress": 3}, "Extra inputs are not permitted"),
    ],
)
def test_an_entry_that_cannot_work_is_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        point(**wrong)


@pytest.mark.parametrize(
    ("entries", "more", "sentence"),
    [
        ([], {}, "at least 1 item"),
        ([*CONTACTS, CONTACTS[0]], {}, "the map has occupied 2 times; it may stand once"),
        ([CONTACTS[0]], {}, "has neither an alarm nor counts: nothing would tell radiation"),
        ([PANEL], {}, "has counts and no occupied: nobody would know which of them are of a vehicle"),
        (
            [*CONTACTS, entry("gamma_background", 3, 0, "u16")],
            {},
            "has 1 gamma_background and 0 gamma_counts; give one for all panels, or one for each",
        ),
        (
            [*CONTACTS, *[{**PANEL, "address": n} for n in range(3)]]
            + [entry("gamma_background", 4, n, "u16") for n in range(2)],
            KNOWN,
            "has 2 gamma_background and 3 gamma_counts",
        ),
        (
            [*CONTACTS, PANEL, entry("neutron_counts", 3, 1, "u16"), entry("gamma_background", 3, 2, "u16")],
            KNOWN,
            "the map has a background of one channel and none of the other; give both, or neither",
        ),
        (
            [*WINDOWED, entry("gamma_background", 4, 0, "u16")],
            KNOWN,
            "the map has windows, whose background is learnt from the empty portal",
        ),
        (
            [*CONTACTS, PANEL, entry("window_low", 3, 1, "u16")],
            {},
            "needs window_low and window_high together, beside gamma_counts",
        ),
        (
            [*CONTACTS, entry("window_low", 3, 1, "u16"), entry("window_high", 3, 2, "u16")],
            {},
            "needs window_low and window_high together, beside gamma_counts",
        ),
        (
            [*CONTACTS, entry("gamma_counts", 3, 4, "u32"), entry("speed", 3, 5, "u16")],
            {},
            "the map lets gamma_counts at address 4 and speed at 5 overlap: a u32 takes two registers",
        ),
        (
            [*CONTACTS, PANEL, entry("gamma_background", 3, 1, "u16")],
            {"count_interval_s": 0.2},
            "the map has a background: count_interval_s and bg_averaging_s belong together",
        ),
        ([*CONTACTS, PANEL], KNOWN, "bg_averaging_s is the averaging of a background, and the map has none"),
    ],
)
def test_a_map_that_cannot_work_is_refused(entries: list[Entry], more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        options(*entries, **more)


@pytest.mark.parametrize(
    "entries",
    [
        [entry("gamma_alarm", 2, 1, "bit"), entry("neutron_alarm", 2, 1, "bit")],  # one contact for both
        [*CONTACTS, entry("gamma_counts", 3, 0, "u32"), entry("speed", 4, 1, "u16")],  # another function
        [*CONTACTS, entry("gamma_counts", 3, 0, "u32"), entry("speed", 3, 1, "u16", unit_id=2)],
    ],
)
def test_a_map_that_can_work_is_taken(entries: list[Entry]) -> None:
    options(*entries)


def test_carril_check_names_the_entry_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    text = shipped("lanes", "generic").read_text(encoding="utf-8")
    path = tmp_path / "lane.toml"
    path.write_text(
        text.replace('function = 2, address = 3, type = "bit"', 'function = 2, address = 3, type = "u16"')
    )
    with pytest.raises(LaneFileError) as caught:
        load_lane(path, plugins.find)
    assert [str(problem) for problem in caught.value.problems] == [
        "device.rpm1.options.map[4]: function 2 reads single bits: give type = 'bit', or function 3 or 4"
    ]
    path.write_text(text.replace('field = "occupied"', 'field = "tamper"'))
    with pytest.raises(LaneFileError) as caught:
        load_lane(path, plugins.find)
    (problem,) = caught.value.problems
    assert problem.place == "device.rpm1.options"
    assert problem.rule == "the map has tamper 2 times; it may stand once"

"""An Aspect portal's registers: where each field stands, in which order of words, and what it means."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from drivers.readings import Channel, PortalStatus
from drivers.rpm.aspect.codec import USUAL, Area, Measured, Monitor, decode, encode, monitor_area
from tests.support.portal_lines import stamp

BOTH = tuple(Channel)
READY = 0x80
QUIET = Monitor(1_000, 0, Measured(READY, 480, 479.5, 480.0), Measured(READY, 1, 0.6, 0.6), 7, 0, 1_355, 0)


def said(fitted: tuple[Channel, ...] = BOTH, **change: Any) -> PortalStatus:
    return replace(QUIET, **change).poll(stamp(1), fitted).status


@pytest.mark.parametrize(
    ("offset", "registers", "field", "value"),
    [
        (0, [0x1170, 0x0001], "elapsed", 70_000),
        (2, [0x8541], "inputs", 0x8541),
        (17, [65_535], "object_count", 65_535),
        (18, [3], "object_mark", 3),
        (19, [1_355], "speed_mmps", 1_355),
        (20, [0x0701], "outputs", 0x0701),
    ],
)
def test_the_fields_of_the_portal(offset: int, registers: list[int], field: str, value: int) -> None:
    block = [0] * 21
    block[offset : offset + len(registers)] = registers
    monitor = decode(block)
    assert monitor is not None
    assert getattr(monitor, field) == value
    assert encode(monitor) == block


@pytest.mark.parametrize(("channel", "offset"), [("gamma", 3), ("neutron", 10)])
@pytest.mark.parametrize(
    ("more", "registers", "field", "value"),
    [
        (0, [0x8093], "status", 0x8093),
        (1, [0x1170, 0x0001], "count", 70_000),
        (1, [0xFFFF, 0xFFFF], "count", -1),
        (3, [0x0000, 0x4148], "background", 12.5),
        (5, [0x0000, 0xBF80], "variance", -1.0),
    ],
)
def test_the_fields_of_a_channel(
    channel: str, offset: int, more: int, registers: list[int], field: str, value: float
) -> None:
    block = [0] * 21
    block[offset + more : offset + more + len(registers)] = registers
    monitor = decode(block)
    assert monitor is not None
    assert getattr(getattr(monitor, channel), field) == value
    assert encode(monitor) == block


def test_row_12_the_counter_is_not_the_neutron_variance() -> None:
    """Defect 12 of the peer driver (radiation.md, section 8): it read the counter at offset 16."""
    block = encode(replace(QUIET, object_count=258, neutron=Measured(READY, 1, 0.6, 3.5)))
    assert (block[15], block[16], block[17]) == (0x0000, 0x4060, 258)
    monitor = decode(block)
    assert monitor is not None
    assert (monitor.neutron.variance, monitor.object_count) == (3.5, 258)


@pytest.mark.parametrize(("registers", "whole"), [(20, False), (21, True), (40, True)])
def test_a_block_may_be_longer_and_not_shorter(registers: int, whole: bool) -> None:
    assert (decode([0] * registers) is not None) is whole


@pytest.mark.parametrize(
    ("place", "area"),
    [
        ((100, 21), USUAL),
        ((8, 21), Area(8, 21)),
        ((1_000, 125), Area(1_000, 125)),
        ((65_515, 21), Area(65_515, 21)),
        ((7, 21), USUAL),  # in the descriptor itself
        ((200, 20), USUAL),  # too short
        ((200, 126), USUAL),  # more than one request can read
        ((65_516, 21), USUAL),  # beyond the last address
        ((0, 0), USUAL),
    ],
)
def test_the_descriptor_is_believed_when_it_is_plausible(place: tuple[int, int], area: Area) -> None:
    assert monitor_area([0x4153, 121, 1, *place, 0, 0, 0]) == area


def test_without_a_descriptor_the_block_is_where_it_usually_is() -> None:
    assert monitor_area([]) == USUAL == Area(100, 21)


# --- what it means --------------------------------------------------------------------------------


@pytest.mark.parametrize("bit", [0x01, 0x02, 0x04, 0x08])
def test_each_occupancy_bit_is_a_vehicle(bit: int) -> None:
    assert said(inputs=bit).occupied is True
    assert said(inputs=0xFF & ~0x0F).occupied is False


@pytest.mark.parametrize("alarm", [0x01, 0x02, 0x03])
def test_either_alarm_is_an_alarm_of_its_channel(alarm: int) -> None:
    gamma = said(gamma=Measured(READY | alarm, 480, 480.0, 480.0))
    neutron = said(neutron=Measured(READY | alarm, 9, 0.6, 0.6))
    assert (gamma.gamma_alarm, gamma.neutron_alarm) == (True, False)
    assert (neutron.gamma_alarm, neutron.neutron_alarm) == (False, True)


def test_an_alarm_needs_neither_a_fitted_nor_a_ready_channel() -> None:
    assert said((Channel.GAMMA,), neutron=Measured(0x01, 0, 0.0, 0.0)).neutron_alarm


@pytest.mark.parametrize(
    ("inputs", "tamper", "fault", "warning"),
    [
        (0x0400, True, False, True),  # open
        (0x0100, False, False, True),  # power fail
        (0x8000, False, False, True),  # reset
        (0x0200, False, True, False),  # low battery
        (0x0800, False, True, False),  # error
        (0x00FF, False, False, False),
    ],
)
def test_what_the_contacts_say(inputs: int, tamper: bool, fault: bool, warning: bool) -> None:
    status = said(inputs=inputs)
    assert (status.tamper, status.fault, status.warning) == (tamper, fault, warning)


@pytest.mark.parametrize("trouble", [0x10, 0x20, 0x40])
def test_counts_out_of_their_range_are_a_fault(trouble: int) -> None:
    assert said(gamma=Measured(READY | trouble, 480, 480.0, 480.0)).fault
    assert said((Channel.GAMMA,), neutron=Measured(READY | trouble, 1, 0.6, 0.6)).fault is False


def test_bits_of_unknown_meaning_mean_nothing() -> None:
    assert said(gamma=Measured(0xFF80, 480, 480.0, 480.0)) == replace(
        said(), raw=replace(QUIET, gamma=Measured(0xFF80, 480, 480.0, 480.0)).text()
    )


def test_a_channel_that_is_not_ready_has_measured_nothing() -> None:
    poll = replace(QUIET, gamma=Measured(0, 480, 480.0, 480.0)).poll(stamp(1), BOTH)
    assert poll.status.fault
    assert (poll.counts[Channel.GAMMA], poll.background[Channel.GAMMA]) == ((None,), (None,))
    assert poll.counts[Channel.NEUTRON] == (1,)


@pytest.mark.parametrize(
    ("measured", "wrong"),
    [
        (Measured(READY, -1, 480.0, 480.0), "negative_count"),
        (Measured(READY, 480, math.nan, 480.0), "not_a_number"),
        (Measured(READY, 480, math.inf, 480.0), "not_a_number"),
        (Measured(READY, 480, -0.5, 480.0), "negative_count"),
        (Measured(READY, 480, 480.0, math.nan), "not_a_number"),
        (Measured(READY, 1_000_000, 480.0, 480.0), "count_too_large"),
        (Measured(READY, 480, 480.0, -1.0), None),
        (Measured(0, -1, math.nan, math.nan), None),  # it does not measure: these are no numbers
    ],
)
def test_a_number_that_is_none_is_unknown_and_its_alarm_stands(measured: Measured, wrong: str | None) -> None:
    alarmed = replace(measured, status=measured.status | 0x01)
    poll = replace(QUIET, gamma=alarmed).poll(stamp(1), BOTH)
    assert alarmed.wrong == wrong
    sound = wrong is None and measured.ready
    assert poll.counts[Channel.GAMMA] == ((480,) if sound else (None,))
    assert poll.counts[Channel.NEUTRON] == (1,)
    assert poll.status.gamma_alarm


def test_the_rest_of_a_poll() -> None:
    poll = QUIET.poll(stamp(1), BOTH)
    assert poll.status.occupancy_count == 7
    assert poll.speed_mps == 1.355
    assert poll.counts == {Channel.GAMMA: (480,), Channel.NEUTRON: (1,)}
    assert poll.background[Channel.GAMMA] == (479.5,)
    assert QUIET.poll(stamp(1), (Channel.GAMMA,)).counts == {Channel.GAMMA: (480,)}


def test_a_recording_has_its_fourteen_fields_in_their_order() -> None:
    assert QUIET.text() == b"1000,0000,0080,480,479.5,480,0080,1,0.6,0.6,7,0,1355,0000"
    assert len(QUIET.text().split(b",")) == 14
    assert said().raw == QUIET.text()

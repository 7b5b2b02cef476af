"""What the TSA driver adds to its codec: when a record came, and what is not for this driver."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.api import BadFrame
from drivers.readings import (
    Channel,
    Counts,
    OccupancyEnd,
    PortalSetup,
    Speed,
    Stamp,
    Tamper,
    UnknownRecord,
)
from drivers.rpm.tsa.codec import CountsLine, EndLine, Record, SpeedLine
from drivers.rpm.tsa.driver import Stamper, TsaOptions
from tests.support.portal_server import only, portal_wire

GS, NS, GB = b"GS,000012,000011,000012,000013\r\n", b"NS,1,0,2,1\r\n", b"GB,600,601,602,603\r\n"


def at(seconds: float) -> Stamp:
    return Stamp(round((seconds + 1e9) * 1e9), round(seconds * 1e9), "boot")


def places(
    items: list[Record | BadFrame], arrival_s: float, opened_s: float = 0.0
) -> list[tuple[str, float]]:
    return [
        (getattr(item, "tag", type(item).__name__), stamp.mono_ns / 1e9)
        for item, stamp in Stamper(at(opened_s)).place(items, at(arrival_s))
    ]


def line(tag: str) -> CountsLine:
    return CountsLine(tag, (1, 2, 3, 4))


# --- when -----------------------------------------------------------------------------------------


def test_scans_of_one_read_lie_one_interval_apart_and_the_last_on_its_arrival() -> None:
    assert places([line("GS"), line("GA"), line("GS")], 10.0) == [("GS", 9.6), ("GA", 9.8), ("GS", 10.0)]


def test_neutron_scans_lie_a_second_apart_and_order_is_kept() -> None:
    read = [line("NS"), line("GS"), line("GS"), line("NS")]
    assert places(read, 10.0) == [("NS", 9.0), ("GS", 9.8), ("GS", 10.0), ("NS", 10.0)]
    assert places([line("NS"), line("GS"), line("GS")], 10.0)[0] == ("NS", 9.8)


def test_a_record_before_a_moved_scan_moves_with_it() -> None:
    read = [SpeedLine(0.2, 3.4, 5.5), line("GS"), line("GS"), EndLine(1, None)]
    assert places(read, 10.0) == [("SpeedLine", 9.8), ("GS", 9.8), ("GS", 10.0), ("EndLine", 10.0)]


def test_backgrounds_of_one_read_are_not_moved() -> None:
    assert places([line("GB"), line("NB")], 10.0) == [("GB", 10.0), ("NB", 10.0)]


def test_no_record_is_older_than_its_link_or_than_the_one_before() -> None:
    assert places([line("GS")] * 3, 10.0, opened_s=9.9) == [("GS", 9.9), ("GS", 9.9), ("GS", 10.0)]
    stamper = Stamper(at(0))
    stamper.place([line("GS")], at(9.9))
    assert [stamp.mono_ns for _, stamp in stamper.place([line("GS")] * 2, at(10.0))] == [9.9e9, 10.0e9]


async def test_moved_records_say_so() -> None:
    async with portal_wire() as wire:
        wire.clock.advance(60)
        burst = only(await wire.send(GS * 6, 6), Counts)
        assert [scan.stamp_interpolated for scan in burst] == [True] * 5 + [False]
        assert {scan.raw for scan in burst} == {GS.strip()}


# --- what -----------------------------------------------------------------------------------------


async def test_every_record_becomes_its_reading() -> None:
    async with portal_wire() as wire:
        data = (
            b"GA,1,2,3,***\nNL,0,0,0,0\nSP,0.2249,03.032,004.88,000000\nTT,0,0,0,0\nTC,111111,111111,1,1\n"
            b"GX,000123,004741,000000,000000\nQQ,1,2\nnonsense\n"
        )
        alarm, low, speed, tamper, closed, end, unknown, bad = await wire.send(data, 8)
        assert isinstance(alarm, Counts)
        assert (alarm.channel, alarm.flag, alarm.interval_s) == (Channel.GAMMA, "alarm", 0.2)
        assert (alarm.counts, alarm.partial, alarm.total) == ((1, 2, 3, None), True, None)
        assert isinstance(low, Counts)
        assert (low.channel, low.phase, low.flag) == (Channel.NEUTRON, "background", "fault_low")
        assert isinstance(speed, Speed)
        assert speed.speed_mps == pytest.approx(1.3553, abs=1e-4)
        assert isinstance(tamper, Tamper)
        assert isinstance(closed, Tamper)
        assert (tamper.open, closed.open) == (True, False)
        assert isinstance(end, OccupancyEnd)
        assert (end.device_count, end.neutron_background) == (123, 4.741)
        assert isinstance(unknown, UnknownRecord)
        assert (unknown.tag, unknown.raw) == ("QQ", b"QQ,1,2")
        assert isinstance(bad, BadFrame)
        assert bad.head == b"nonsense"


async def test_the_setup_hash_is_over_the_last_of_every_setup_line() -> None:
    async with portal_wire() as wire:
        one, two = b"SG1,300,100,5,10,6.5,0", b"SN2,1,2,3,4,x"
        burst = one + b"\n" + two + b",00-00-01.000\n"
        first, both = only(await wire.send(burst, 2), PortalSetup)
        again = only(await wire.send(burst, 2), PortalSetup)
        (changed,) = only(await wire.send(one.replace(b"6.5", b"7.0") + b"\n"), PortalSetup)
        assert first.setup_hash == hashlib.sha256(one).hexdigest()
        assert both.setup_hash == hashlib.sha256(one + b"\n" + two).hexdigest()
        assert {item.setup_hash for item in again} == {both.setup_hash}
        assert changed.setup_hash != both.setup_hash
        assert (first.values["nsigma"], changed.values["nsigma"]) == (6.5, 7.0)


async def test_a_setup_that_is_said_again_after_a_reconnect_is_no_change() -> None:
    memory: dict[str, Any] = {}
    hashes = []
    for _ in range(2):
        async with portal_wire(memory) as wire:
            burst = only(await wire.send(b"SG1,300,100,5,10,6.5,0\nSN2,1,2,3,4,x\n", 2), PortalSetup)
            hashes.append([item.setup_hash for item in burst])
    assert hashes[1] == [hashes[0][1]] * 2


# --- the wrong dialect ----------------------------------------------------------------------------


async def test_stray_spectroscopic_lines_among_counts_are_only_unknown() -> None:
    async with portal_wire() as wire:
        await wire.send((b"S1,1,2,3\n" * 2 + GB) * 3, 9)
        for _ in range(3):
            wire.clock.advance(31)  # never three within a minute
            await wire.send(b"ID,1,2\n", 1)
        assert not wire.hearing.ended
        assert len(only(wire.hearing.items, UnknownRecord)) == 9


# --- the end --------------------------------------------------------------------------------------


async def test_our_own_close_is_the_end_and_no_error() -> None:
    async with portal_wire() as wire:
        await wire.driver.close()
        await wire.until(lambda: wire.hearing.ended)
        assert wire.hearing.error is None


# --- options --------------------------------------------------------------------------------------


def test_options_of_a_lane_file() -> None:
    options = TsaOptions.model_validate({"host": "10.0.0.7", "port": 1601, "detectors": ["A", "B", "C", "D"]})
    assert options.detectors == ("A", "B", "C", "D")
    assert TsaOptions.model_validate({"serial_port": "/dev/ttyS0", "baud": 19_200}).baud == 19_200


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"host": "10.0.0.7", "serial_port": "/dev/ttyS0"}, "not both"),
        ({"detectors": ["A", "A", "C", "D"]}, "a name of its own"),
        ({"detectors": ["A", "B", "C"]}, "at least 4"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"port": "1601"}, "valid integer"),
        ({"detector": []}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        TsaOptions.model_validate(options)

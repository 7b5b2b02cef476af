"""What a peer's drivers for portals got wrong, each as a test of its own [OSCAR drivers of OpenSensorHub].

From the bytes on the wire to the record of the vehicle. Rows 10 and 12 are of a portal that is polled: they
stand with the tests of its driver and its codec. Row 11, the cost of polling, is a figure of the bench.
"""

from __future__ import annotations

import pytest

from drivers.contract import CHECKS, CLOSE_LIMIT_S, RECONNECTS, a_hundred_reconnects, closes_clean_and_twice
from drivers.errors import ConfigError, LinkLost
from drivers.readings import BadFrame, Channel, Counts, OccupancyEnd, PortalSetup
from drivers.rpm.tsa import codec
from imaging.radiation.opinion import device_rule
from imaging.radiation.verdict import REPLICA
from station.domain.occupancy_record import Occupancy
from tests.contract.cases_tsa import CASES
from tests.support.lane_rig import Rig
from tests.support.portal_lines import stamp
from tests.support.portal_server import only, portal_wire
from tests.support.portal_stream import PortalStream


@pytest.fixture
def stream() -> PortalStream:
    """A portal that is vacant at 15 s."""
    stream = PortalStream()
    stream.vacant()
    return stream


def record(stream: PortalStream) -> Occupancy:
    """The one vehicle that passed."""
    (closed,) = stream.closed
    return closed.occupancy


@pytest.mark.parametrize(
    "line",
    [
        b"GS,0000x2,000011,000012,000013\r\n",
        b"\r\n",
        b"GS,000012,0000\r\n",
        b"\x00\xff\xfe\r\n",
        b"GS" * 200 + b"\r\n",
    ],
    ids=["not a number", "blank", "truncated", "junk", "too long"],
)
def test_row_1_a_bad_line_ends_no_reading_and_without_neutrons_there_is_still_a_record(
    stream: PortalStream, line: bytes
) -> None:
    for i in range(20):
        stream.hear(line + b"GS,000050,000050,000050,000050\r\n", 20 + 0.2 * i)
    stream.end(24.0)
    occupancy = record(stream)
    assert occupancy.gamma.totals == [200] * 20
    assert (occupancy.device_count, occupancy.neutron.best_total, occupancy.neutron.max_1s) == (1, None, None)
    assert "no_neutron" in stream.portal.missing()
    assert len(stream.bad) == (0 if line == b"\r\n" else 20), "and each is counted"


def test_row_2_a_close_leaves_nothing_and_a_hundred_reconnects_read_their_own_stream() -> None:
    """Proved on sockets and on a serial line by the contract of all drivers (tests/contract)."""
    assert {case.name for case in CASES} == {"tsa_tcp", "tsa_pty"}
    assert {closes_clean_and_twice, a_hundred_reconnects} <= set(CHECKS)
    assert (CLOSE_LIMIT_S, RECONNECTS) == (1.0, 100)


def test_row_3_the_first_records_are_in_the_maxima_and_a_short_passage_has_a_true_one(
    stream: PortalStream,
) -> None:
    stream.hear(b"GS,900,0,0,0\nNS,9,0,0,0\n", 20.0)
    stream.scans(20.2, 24.0)
    stream.end(24.2)
    stream.hear(b"GS,300,0,0,0\n", 40.0)
    stream.hear(b"GS,100,0,0,0\n", 40.2)
    stream.end(40.4)
    long, short = (closed.occupancy for closed in stream.closed)
    assert (long.gamma.max_1s, long.gamma.best_total, long.neutron.best_total) == (900 + 4 * 200, 900, 9)
    assert (short.gamma.max_1s, short.gamma.short, long.gamma.short) == (400, True, False)


def test_row_4_a_background_with_a_time_behind_it_has_the_same_sum() -> None:
    plain, timed = PortalStream(), PortalStream()
    plain.vacant(b"GB,000822,000750,000770,000757\r\n")
    timed.vacant(b"GB,000822,000750,000770,000757,00-00-04.919\r\n")
    sums = [each.portal.opinion.background_cps("gamma") for each in (plain, timed)]
    assert sums == [3099, 3099]
    assert timed.bad == []


def test_row_5_six_and_a_half_sigma_stay_six_and_a_half(stream: PortalStream) -> None:
    stream.hear(b"SG1,000300,000100,000005,000010,6.5,000000\r\n", 16.0)
    setup = stream.readings[-1]
    assert isinstance(setup, PortalSetup)
    rule = device_rule(setup.values)
    assert rule == (6.5, 5, "")
    stream.portal.opinion.setup(*rule)
    stream.scans(20.0, 24.0)
    stream.end(24.2)
    (replica,) = [v for v in stream.closed[0].opinion.verdicts if v.algo == REPLICA]
    assert (replica.params["k"], replica.threshold) == (6.5, 1205)


def test_row_6_a_link_that_is_cut_leaves_a_gap_a_reason_and_the_true_start(stream: PortalStream) -> None:
    stream.scans(20.0, 22.0)
    stream.hear(b"GS,0000", 22.1)
    stream.hang_up(22.1)
    stream.connect(27.0)
    stream.scans(27.2, 30.0)
    stream.end(30.2)
    occupancy = record(stream)
    assert [frame.kind for frame in stream.bad] == ["truncated"]
    assert (occupancy.start, occupancy.start_known, occupancy.close_reason) == (stamp(19.8), True, "gx")
    assert {gap.cause for gap in occupancy.gaps} == {"link"}
    assert stream.portal.missing() == ("gap", "link")
    stream.scans(60.0, 62.0)
    stream.hang_up(62.1)
    stream.portal.tick(62.1 + 30)
    assert stream.closed[-1].occupancy.close_reason == "link_lost"


async def test_row_6_on_a_socket_what_came_is_kept_and_no_end_is_made_up() -> None:
    scan = b"GS,000012,000011,000012,000013\r\n"
    async with portal_wire() as wire:
        await wire.send(scan + scan + b"GS,0000", 2)
        await wire.hang_up()
        assert wire.hearing.bad_frames == [BadFrame("truncated", 2 * len(scan), b"GS,0000")]
        assert [type(item) for item in wire.hearing.readings] == [Counts, Counts]
        assert isinstance(wire.hearing.error, LinkLost)
        assert "check the portal" in str(wire.hearing.error)


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_row_7_a_step_of_the_wall_clock_changes_no_duration(stream: PortalStream, step_s: float) -> None:
    stream.hear(b"GS,50,50,50,50,23-59-59.999\n", 20.0)
    stream.hear(b"NS,1,0,1,0\n", 20.5)
    stream.hear(b"GS,50,50,50,50,00-00-00.199\n", 20.9, wall_s=step_s)
    stream.hear(b"GX,1,0,0,0\n", 21.0, wall_s=step_s)
    stream.portal.tick(23.0)
    assert record(stream).duration_s == pytest.approx(1.1)
    assert stream.portal.missing() == ()
    assert [r.t_device for r in only(stream.readings, Counts)[-3:]] == ["23-59-59.999", None, "00-00-00.199"]


async def test_row_7_stamps_keep_milliseconds_and_both_times() -> None:
    async with portal_wire() as wire:
        wire.clock.advance(60)
        (before,) = only(await wire.send(b"GB,822,750,770,757,00-00-04.919\n"), Counts)
        for step_s in (3600, -7200):
            wire.clock.step_utc(step_s)
            wire.clock.advance(1.25)
            (after,) = only(await wire.send(b"GB,822,750,770,757\n"), Counts)
            assert after.stamp.mono_ns - before.stamp.mono_ns == 1_250_000_000
            assert after.stamp.utc_ns - before.stamp.utc_ns == (step_s + 1.25) * 1_000_000_000
            before = after


def test_row_8_tamper_in_a_passage_is_in_its_record_and_the_speed_before_it_is_kept(
    stream: PortalStream,
) -> None:
    stream.hear(b"SP,0.2249,03.032,004.88,000000\r\n", 19.0)
    stream.scans(20.0, 22.0)
    stream.hear(b"TT,000000,000000,000000,000000\r\n", 22.1)
    stream.hear(b"TC,111111,111111,111111,111111\r\n", 22.2)
    stream.end(22.4)
    occupancy = record(stream)
    assert occupancy.tamper
    assert [(round(t_s, 3), round(v_mps, 3)) for t_s, v_mps in occupancy.speeds] == [(-0.8, 1.355)]


def test_row_9_too_few_neutrons_are_a_fault(stream: PortalStream) -> None:
    stream.hear(b"NL,000000,000000,000000,000000\r\n", 18.0)
    assert stream.portal.machine.faults == {Channel.NEUTRON}
    stream.scans(20.0, 24.0)
    stream.end(24.2)
    assert stream.portal.missing() == ("fault",)


def test_row_13_spectroscopic_backgrounds_are_not_mistaken_for_counts(stream: PortalStream) -> None:
    before, readings = stream.portal.opinion.background_cps("gamma"), len(stream.readings)
    stream.hear(b"GB,12,11,12,13,14,15\r\nS1,1,2,3\r\nGS,1,2,3\r\n", 20.0)
    assert [frame.kind for frame in stream.bad] == ["columns", "columns"]
    assert len(stream.readings) == readings + 1
    assert (stream.portal.opinion.background_cps("gamma"), stream.portal.machine.open) == (before, None)
    with pytest.raises(ConfigError, match="spectroscopic dialect"):
        stream.hear(b"S1,1,2,3\r\nS1,1,2,3\r\n", 21.0)


@pytest.mark.parametrize(
    "spectrum", [b"S1,1,2,3\n", b"S2," + b"0,1," * 200 + b"\n"], ids=["short", "longer than a line may be"]
)
async def test_row_13_a_spectroscopic_portal_is_refused_in_a_sentence(spectrum: bytes) -> None:
    async with portal_wire() as wire:
        await wire.send(spectrum * 2 + b"GB,1,2,3,4,5,6,7,8\n", 3)
        wire._writer.write(spectrum)
        with pytest.raises(ConfigError, match="set it to gross counts"):
            await wire.until(lambda: wire.hearing.ended)


def test_row_14_what_is_found_out_later_amends_and_overwrites_nothing() -> None:
    """No record is written again: a portal's late word is a record of its own, which names the first."""
    rig = Rig()
    rig.background()
    rig.board(entry_loop=True)
    rig.wait(1.0)
    rig.board(entry_loop=False)
    rig.occupancy(gamma="alarm", end=False)
    rig.health("rpm1", "backoff")
    rig.wait(31)
    ended = rig.last("occupancy.ended")
    assert (ended.close_reason, ended.device_count, ended.gamma_alarm) == ("link_lost", None, True)
    told = rig.records()
    rig.health("rpm1", "online")
    rig.read("rpm1", OccupancyEnd(rig.stamp(), 8))
    amended = rig.last("inspection.amended")
    assert (amended.what, amended.inspection_id) == ("device_count", ended.inspection_id)
    assert amended.fields == {"occupancy_id": ended.occupancy_id, "device_count": 8}
    assert rig.records()[: len(told)] == told


def test_row_15_a_line_is_parsed_once(stream: PortalStream, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    parse = codec.decode_line

    def counting(line: bytes) -> codec.Record:
        parsed.append(line)
        return parse(line)

    monkeypatch.setattr(codec, "decode_line", counting)
    for byte in b"GS,1,2,3,4\r\nbad\r\n\r\nGX,1,2,3,4\r\n":
        stream.hear(bytes([byte]), 20.0)
    stream.portal.tick(30.0)
    assert parsed == [b"GS,1,2,3,4\r", b"bad\r", b"GX,1,2,3,4\r"]
    assert record(stream).device_count == 1

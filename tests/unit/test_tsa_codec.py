"""TSA/Rapiscan ASCII as its manual would tell it: bytes in, records out.

The lines are written by hand from the published descriptions, not by our encoder.
"""

from __future__ import annotations

import pytest

from drivers.readings import BadFrame, Channel, DeviceFlag, Phase
from drivers.rpm.tsa import codec
from drivers.rpm.tsa.codec import (
    COUNT_TAGS,
    CountsLine,
    EndLine,
    SetupLine,
    SpeedLine,
    TamperLine,
    TsaCodec,
    UnknownLine,
    encode,
)


def read(data: bytes) -> list[codec.Record | BadFrame]:
    return TsaCodec().feed(data)


def one(line: bytes) -> codec.Record | BadFrame:
    (item,) = read(line + b"\r\n")
    return item


def kinds(data: bytes) -> list[str]:
    return [item.kind if isinstance(item, BadFrame) else type(item).__name__ for item in read(data)]


# --- the published vectors ------------------------------------------------------------------------


def test_gamma_scan() -> None:
    assert one(b"GS,000012,000011,000012,000013") == CountsLine(
        "GS", (12, 11, 12, 13), None, b"GS,000012,000011,000012,000013"
    )


@pytest.mark.parametrize(
    ("line", "counts", "time"),
    [
        (b"GB,000822,000750,000770,000757,00-00-04.919", (822, 750, 770, 757), "00-00-04.919"),
        (b"NB,000002,000002,000002,000002,00-00-04.841", (2, 2, 2, 2), "00-00-04.841"),
    ],
)
def test_recorded_background_has_a_trailing_time(line: bytes, counts: tuple[int, ...], time: str) -> None:
    assert one(line) == CountsLine(line[:2].decode(), counts, time, line)


def test_speed_is_a_foot_in_so_many_seconds() -> None:
    speed = one(b"SP,0.2249,03.032,004.88,000000")
    assert isinstance(speed, SpeedLine)
    assert speed.speed_mps == pytest.approx(1.355, abs=0.0005)
    assert not speed.inconsistent


def test_end_of_occupancy_carries_its_number_and_the_neutron_background() -> None:
    assert one(b"GX,000123,004741,000000,000000") == EndLine(
        123, 4.741, None, b"GX,000123,004741,000000,000000"
    )


# --- every tag ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "channel", "phase", "flag", "interval_s"),
    [
        ("GB", Channel.GAMMA, Phase.BACKGROUND, DeviceFlag.NONE, 1.0),
        ("GH", Channel.GAMMA, Phase.BACKGROUND, DeviceFlag.FAULT_HIGH, 1.0),
        ("GL", Channel.GAMMA, Phase.BACKGROUND, DeviceFlag.FAULT_LOW, 1.0),
        ("GS", Channel.GAMMA, Phase.SCAN, DeviceFlag.NONE, 0.2),
        ("GA", Channel.GAMMA, Phase.SCAN, DeviceFlag.ALARM, 0.2),
        ("NB", Channel.NEUTRON, Phase.BACKGROUND, DeviceFlag.NONE, 1.0),
        ("NH", Channel.NEUTRON, Phase.BACKGROUND, DeviceFlag.FAULT_HIGH, 1.0),
        ("NL", Channel.NEUTRON, Phase.BACKGROUND, DeviceFlag.FAULT_LOW, 1.0),
        ("NS", Channel.NEUTRON, Phase.SCAN, DeviceFlag.NONE, 1.0),
        ("NA", Channel.NEUTRON, Phase.SCAN, DeviceFlag.ALARM, 1.0),
    ],
)
def test_meaning_of_the_counts(
    tag: str, channel: Channel, phase: Phase, flag: DeviceFlag, interval_s: float
) -> None:
    item = one(f"{tag},000001,000002,000003,000004".encode())
    assert isinstance(item, CountsLine)
    assert (item.tag, item.counts) == (tag, (1, 2, 3, 4))
    assert COUNT_TAGS[tag] == codec.CountTag(channel, phase, flag, interval_s)


def test_tamper_set_and_cleared() -> None:
    assert one(b"TT,000000,000000,000000,000000") == TamperLine(True, None, b"TT,000000,000000,000000,000000")
    assert one(b"TC,111111,111111,111111,111111") == TamperLine(
        False, None, b"TC,111111,111111,111111,111111"
    )


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (
            b"SG1,000300,000100,000005,000010,6.5,000000",
            {
                "gamma_high_fault_cps": 300.0,
                "gamma_low_fault_cps": 100.0,
                "intervals": 5.0,
                "occupancy_holdin": 10.0,
                "nsigma": 6.5,
                "placeholder": "000000",
            },
        ),
        (
            b"SG2,4,0.050,5.000,3,HORIZONTAL,A-1.07",
            {
                "detectors_online": 4.0,
                "gamma_master_lld": 0.05,
                "gamma_master_uld": 5.0,
                "relay_output": 3.0,
                "algorithm": "HORIZONTAL",
                "software_version": "A-1.07",
            },
        ),
        (
            b"SG3,0.050,5.000,20,4,1.10.1",
            {
                "gamma_slave_lld": 0.05,
                "gamma_slave_uld": 5.0,
                "background_time_s": 20.0,
                "background_sigma": 4.0,
                "firmware_version": "1.10.1",
            },
        ),
        (
            b"SN1,7,5,0.0001,4,4,120",
            {
                "neutron_high_fault": 7.0,
                "max_intervals": 5.0,
                "alpha": 0.0001,
                "zmax": 4.0,
                "sequential_intervals": 4.0,
                "neutron_background_time_s": 120.0,
            },
        ),
        (
            b"SN2,0.5,5.0,0.5,5.0,",
            {
                "neutron_master_lld": 0.5,
                "neutron_master_uld": 5.0,
                "neutron_slave_lld": 0.5,
                "neutron_slave_uld": 5.0,
                "placeholder": "",
            },
        ),
    ],
)
def test_setup_numbers_are_floats_and_words_stay_text(line: bytes, values: dict[str, float | str]) -> None:
    item = one(line)
    assert isinstance(item, SetupLine)
    assert (item.part, item.values, item.raw) == (line[:3].decode(), values, line)


def test_a_setup_line_may_carry_a_time_too() -> None:
    item = one(b"SN2,1,2,3,4,x,12-30-59.001")
    assert isinstance(item, SetupLine)
    assert (item.values["placeholder"], item.t_device) == ("x", "12-30-59.001")


# --- tolerances -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GS,000001,000002,000003,000004\n",
        b"GS,000001,000002,000003,000004\r\n",
        b"\r\n\n  \nGS,000001,000002,000003,000004\r\n\r\n",
        b"  GS , 000001,000002 ,\t000003,000004  \r\n",
        b"GS,1,2,3,4\n",
    ],
    ids=["LF", "CRLF", "blank lines", "spaces", "short counts"],
)
def test_the_same_record_in_every_tolerated_form(data: bytes) -> None:
    (item,) = read(data)
    assert isinstance(item, CountsLine)
    assert item.counts == (1, 2, 3, 4)


def test_asterisks_are_no_number() -> None:
    item = one(b"GS,000012,***,000012,******")
    assert isinstance(item, CountsLine)
    assert item.counts == (12, None, 12, None)
    end = one(b"GX,000007,******,000000,000000")
    assert isinstance(end, EndLine)
    assert end.neutron_background is None


def test_a_line_has_at_most_256_bytes_and_a_longer_one_is_one_bad_frame() -> None:
    fits = b"ZZ," + b"x" * 253
    assert kinds(fits + b"\n") == ["UnknownLine"]
    assert read(b"GS,1,2,3,4\n" + fits + b"x\nGS,1,2,3,4\n")[1] == BadFrame("too_long", 11, fits[:64])
    assert kinds(fits + b"x\nGS,1,2,3,4\n") == ["too_long", "CountsLine"]


def test_a_megabyte_without_newline_is_one_bad_frame_and_keeps_nothing() -> None:
    stream = TsaCodec()
    found = [item for _ in range(1000) for item in stream.feed(b"G" * 1000)]
    assert found == [BadFrame("too_long", 0, b"G" * 64)]
    assert len(stream._line) <= codec.LINE_LIMIT
    assert stream.feed(b"\nGS,1,2,3,4\n") == [CountsLine("GS", (1, 2, 3, 4), None, b"GS,1,2,3,4")]
    assert stream.end() == []


@pytest.mark.parametrize("byte", [b"\x00", b"\x80", b"\xff", b"\x1b", b"\x7f"])
def test_a_byte_that_is_no_text_spoils_its_line_only(byte: bytes) -> None:
    data = b"GS,1,2,3,4\nGS,1," + byte + b"2,3,4\nGS,5,6,7,8\n"
    assert kinds(data) == ["CountsLine", "not_ascii", "CountsLine"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"GS", "columns"),
        (b"GS,000001,000002", "columns"),
        (b"GS,1,2,3,4,5", "columns"),
        (b"GS,1,2,3,4,00-00-04.919,00-00-04.919", "columns"),
        (b"GS,1,2,3,4,00:00:04.919", "columns"),
        (b"SG1,300,100,5,10,7.0", "columns"),
        (b"SN1,7,5,3,9,4,20,20", "columns"),
        (b"GS,1,2,x,4", "bad_number"),
        (b"GS,1,2,,4", "bad_number"),
        (b"GS,1,2,-3,4", "bad_number"),
        (b"GS,1,2,3.0,4", "bad_number"),
        (b"GS,1,2,0000003,4", "bad_number"),
        (b"GX,***,004741,000000,000000", "bad_number"),
        (b"GX,12,4.741,000000,000000", "bad_number"),
        (b"SP,0.2249,fast,004.88,000000", "bad_number"),
        (b"TT,open,0,0,0", "bad_number"),
        (b"SG1,300,100,5,ten,7.0,0", "bad_number"),
        (b"SG1,300,100,5,10,nan,0", "bad_number"),
        (b"SG1,300,100,5,10,1e3,0", "bad_number"),
        (b"hello world", "no_record"),
        (b"gs,1,2,3,4", "no_record"),
        (b"S,1,2,3,4", "no_record"),
        (b"000012,000011", "no_record"),
        (b",,,,", "no_record"),
    ],
)
def test_what_is_no_record_is_one_bad_frame_and_the_next_line_counts(line: bytes, kind: str) -> None:
    good = b"GS,000012,000011,000012,000013\r\n"
    items = read(good + line + b"\r\n" + good)
    assert items[1] == BadFrame(kind, len(good), line[:64] + b"\r")
    assert [type(item) for item in items] == [CountsLine, BadFrame, CountsLine]


def test_a_stream_that_ends_in_mid_line_counts_the_half_line() -> None:
    stream = TsaCodec()
    assert stream.feed(b"GS,1,2,3,4\nGS,1,2") == [CountsLine("GS", (1, 2, 3, 4), None, b"GS,1,2,3,4")]
    assert stream.end() == [BadFrame("truncated", 11, b"GS,1,2")]
    assert TsaCodec().end() == []
    assert stream.feed(b"G" * 300)
    assert stream.end() == []  # counted already, as too long


def test_speed_units_that_disagree_by_more_than_two_percent() -> None:
    agree, differ = one(b"SP,0.2249,03.090,004.88,0"), one(b"SP,0.2249,03.100,004.88,0")
    assert isinstance(agree, SpeedLine)
    assert isinstance(differ, SpeedLine)
    assert (agree.inconsistent, differ.inconsistent) == (False, True)


def test_a_standing_vehicle_has_speed_zero() -> None:
    still = one(b"SP,0.0000,00.000,000.00,000000")
    assert isinstance(still, SpeedLine)
    assert (still.speed_mps, still.inconsistent) == (0.0, False)
    slow = one(b"SP,0.0000,00.000,000.36,000000")
    assert isinstance(slow, SpeedLine)
    assert slow.speed_mps == pytest.approx(0.1)
    assert slow.inconsistent


def test_an_unknown_tag_is_kept() -> None:
    assert one(b"QQ7,1,two,3") == UnknownLine("QQ7", ("1", "two", "3"), None, b"QQ7,1,two,3")


# --- what the emulator sends ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (CountsLine("GS", (12, 11, 12, 13)), b"GS,000012,000011,000012,000013\r\n"),
        (CountsLine("GA", (12, None, 12, 13)), b"GA,000012,***,000012,000013\r\n"),
        (
            CountsLine("GB", (822, 750, 770, 757), "00-00-04.919"),
            b"GB,000822,000750,000770,000757,00-00-04.919\r\n",
        ),
        (SpeedLine(0.2249, 3.032, 4.88), b"SP,0.2249,03.032,004.88,000000\r\n"),
        (EndLine(123, 4.741), b"GX,000123,004741,000000,000000\r\n"),
        (EndLine(123, None), b"GX,000123,***,000000,000000\r\n"),
        (TamperLine(True), b"TT,000000,000000,000000,000000\r\n"),
        (TamperLine(False), b"TC,111111,111111,111111,111111\r\n"),
        (SetupLine("SN2", ("1", "2", "3", "4", "x")), b"SN2,1,2,3,4,x\r\n"),
        (UnknownLine("QQ", ("1", "2")), b"QQ,1,2\r\n"),
    ],
)
def test_encoded_lines_are_the_published_ones(record: codec.Record, line: bytes) -> None:
    assert encode(record) == line

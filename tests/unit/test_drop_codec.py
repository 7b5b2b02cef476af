"""A portal's document as one report: which samples are the vehicle's, what its counts are, and its words."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.formats.n42.document import Alarm, Analysis, Detector, DetectorCounts, Fault, Measurement, NotN42
from drivers.formats.n42.write import write
from drivers.readings import Channel, Phase, PortalReport, Stamp
from drivers.rpm.drop.codec import decode
from tests.support.n42_documents import GAMMA, document, measured, passage, rfc3339

S = 1_000_000_000
BEGIN_NS = 1_795_000_000 * S
ARRIVAL = Stamp(BEGIN_NS + 10 * S, 500 * S, "boot")


def decoded(**change: object) -> PortalReport:
    return decode(write(replace(passage(BEGIN_NS), **change)), "one.n42", ARRIVAL)


def test_a_passage_has_scans_a_background_and_a_span_by_the_portals_clock() -> None:
    report = decode(document(BEGIN_NS, alarms=("Gamma",), item={"plate": "R4K 7719"}), "one.n42", ARRIVAL)
    assert (report.name, report.refused, len(report.key)) == ("one.n42", "", 64)
    assert report.span == (BEGIN_NS, BEGIN_NS + 4 * S)
    scans = [each for each in report.counts if each.phase is Phase.SCAN and each.channel is Channel.GAMMA]
    assert len(scans) == 20
    assert {(each.counts, each.interval_s) for each in scans} == {((120,) * 4, 0.2)}
    first = scans[0].stamp
    assert first == Stamp(BEGIN_NS + S // 5, 500 * S - 10 * S + S // 5, "boot"), "the end of its interval"
    (background,) = [
        each for each in report.counts if each.phase is Phase.BACKGROUND and each.channel is Channel.NEUTRON
    ]
    assert (background.counts, background.interval_s) == ((20, 20), 20)
    assert report.detectors == {Channel.GAMMA: GAMMA, Channel.NEUTRON: ("N1", "N2")}
    assert report.alarms == {Channel.GAMMA: "Gamma 7 sigma"}
    assert report.item == {"plate": "R4K 7719"}
    assert {speed.speed_mps for speed in report.speeds} == {2.0}


@pytest.mark.parametrize(
    ("kind", "occupied", "phase"),
    [
        ("Background", True, Phase.SCAN),
        ("Foreground", False, Phase.BACKGROUND),
        ("Background", None, Phase.BACKGROUND),
        ("Foreground", None, Phase.SCAN),
        ("NotSpecified", None, Phase.SCAN),
        ("Calibration", None, None),
        ("IntrinsicActivity", None, None),
    ],
)
def test_the_occupancy_indicator_counts_and_the_class_only_without_it(
    kind: str, occupied: bool | None, phase: Phase | None
) -> None:
    one = replace(measured(BEGIN_NS, 1, 100, 0, occupied=occupied), class_code=kind)
    counts = decoded(measurements=(one,)).counts
    assert [each.phase for each in counts] == ([phase] * 2 if phase else [])


def test_annex_d_has_its_occupied_samples_and_no_window_is_added(shared_data: Path) -> None:
    report = decode((shared_data / "rpm" / "Annex_D.n42").read_bytes(), "annex", ARRIVAL)
    scans = [each for each in report.counts if each.phase is Phase.SCAN]
    assert {each.interval_s for each in scans} == {0.1}
    assert {each.channel for each in scans} == set(Channel)
    assert all(len(each.counts) == (4 if each.channel is Channel.GAMMA else 2) for each in scans)
    assert not any(each.partial for each in report.counts)
    vacant = next(each for each in report.counts if each.channel is Channel.GAMMA)
    assert (vacant.phase, vacant.counts) == (Phase.BACKGROUND, (22, 11, 7, 7))


def test_annex_e_is_told_with_its_alarm_and_its_container(shared_data: Path) -> None:
    report = decode((shared_data / "rpm" / "Annex_E.n42").read_bytes(), "annex", ARRIVAL)
    assert report.item["ContainerID"] == "YMLU3030933"
    assert set(report.alarms) == {Channel.GAMMA}
    assert report.alarms[Channel.GAMMA].startswith("Isotope")


def test_a_panel_that_says_nothing_makes_no_smaller_sum() -> None:
    silent = measured(BEGIN_NS, 0.2, 100, None)
    report = decoded(measurements=(replace(silent, counts=silent.counts[1:]),))
    (counts,) = report.counts
    assert (counts.channel, counts.counts, counts.total) == (Channel.GAMMA, (None, 100, 100, 100), None)


def test_neutrons_may_be_counted_for_longer_than_the_measurement() -> None:
    one = measured(BEGIN_NS, 0.2, 100, None)
    neutrons = tuple(DetectorCounts(each, 1.0, 3) for each in ("N1", "N2"))
    report = decoded(measurements=(replace(one, counts=(*one.counts, *neutrons)),))
    assert {each.channel: each.interval_s for each in report.counts} == {"gamma": 0.2, "neutron": 1.0}


def test_samples_come_in_the_order_of_their_times() -> None:
    later, first = measured(BEGIN_NS + S, 1, 2, None), measured(BEGIN_NS, 1, 1, None)
    report = decoded(measurements=(later, first))
    assert [each.counts[0] for each in report.counts] == [1, 2]


def test_without_an_occupied_sample_the_span_is_that_of_all_and_without_any_there_is_none() -> None:
    vacant = measured(BEGIN_NS, 5, 100, 0, occupied=False)
    assert decoded(measurements=(vacant,)).span == (BEGIN_NS, BEGIN_NS + 5 * S)
    assert decoded(measurements=()).span is None


@pytest.mark.parametrize(
    ("category", "channel"),
    [
        ("Neutron", Channel.NEUTRON),
        *((each, Channel.GAMMA) for each in ("Gamma", "Isotope", "Beta", "Other", "?")),
    ],
)
def test_no_alarm_is_dropped_because_of_its_name(category: str, channel: Channel) -> None:
    analyses = (Analysis("a"), Analysis("b", (Alarm((), category, "no time", "\x07Cs-137\n"),)))
    assert decoded(analyses=analyses).alarms == {channel: f"{category} Cs-137"}


def test_many_alarms_are_told_in_few_words() -> None:
    alarms = tuple(Alarm(("G1",), "Gamma", None, f"{n} " + "x" * 200) for n in range(1000))
    (words,) = decoded(analyses=(Analysis("a", alarms),)).alarms.values()
    assert len(words) == 100
    item = {f"name {n}": "v" * 500 for n in range(100)}
    report = decoded(item=item)
    assert (len(report.item), max(map(len, report.item.values()))) == (32, 100)


def test_faults_are_told_once_and_a_tamper_is_one_whatever_its_weight() -> None:
    faults = (
        Fault("HV", "high voltage", "Fatal"),
        Fault("HV", "high voltage", "Fatal"),
        Fault("7", "Tamper switch", "Warning"),
    )
    one = replace(measured(BEGIN_NS, 1, 100, 0), faults=faults)
    report = decoded(measurements=(one,), analyses=(Analysis("a", faults=(Fault("T", "old"),)),))
    assert (report.faults, report.tamper) == (("HV high voltage", "T old"), True)
    assert not decoded(measurements=(replace(one, faults=faults[:1]),)).tamper


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-18T04:26:40Z", 0),
        ("2026-11-18T04:26:40", 0),
        ("2026-11-17T21:26:40.5-07:00", 0.5),
        ("2026-11-18T04:26:40.1234567Z", 0.123456),
    ],
)
def test_times_with_and_without_an_offset(text: str, seconds: float) -> None:
    one = replace(measured(0, 1, 100, 0), start=text)
    report = decoded(measurements=(one,))
    assert report.span is not None
    assert report.span[0] == round((1_794_976_000 + seconds) * 1e6) * 1000


@pytest.mark.parametrize("text", ["yesterday", "", "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(NotN42, match="a time that is none"):
        decoded(measurements=(replace(measured(BEGIN_NS, 1, 100, 0), start=text),))


def test_a_portal_of_hundreds_of_detectors_is_none() -> None:
    many = tuple(Detector(f"G{n}", "Gamma") for n in range(65))
    with pytest.raises(NotN42, match="more than 64 detectors"):
        decoded(detectors=many, measurements=())


def test_a_speed_that_no_vehicle_has_is_left_out() -> None:
    fast = [replace(measured(BEGIN_NS, 1, 1, 0), speed_mps=speed) for speed in (-3.0, 1e300, None)]
    assert [speed.speed_mps for speed in decoded(measurements=tuple(fast)).speeds] == [3.0]


WHOLE = document(BEGIN_NS, alarms=("Gamma", "Neutron"), item={"plate": "R4K"}, seconds=1)


@given(st.data())
def test_junk_raises_nothing_but_a_sentence(data: st.DataObject) -> None:
    body = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(NotN42):
        decode(bytes(body), "junk", ARRIVAL)


NUMBERS = st.sampled_from(["0", "-1", "1e308", "1e9", "1e10", "9" * 400, "nan", "inf", "0.5", "٣", "", "1 2"])
TIMES = st.sampled_from(["PT0S", "P9999999999999D", "PT" + "9" * 400 + "S", "P1Y", "", "PT0.2S", "P100D"])


@given(NUMBERS, TIMES, st.sampled_from(["", "2026-11-18T04:26:40+23:59", "2199-12-31T23:59:59Z", "-1"]))
def test_numbers_and_times_that_nobody_measured_raise_nothing_but_a_sentence(
    number: str, duration: str, start: str
) -> None:
    text = WHOLE.decode()
    for old, new in ((">120<", f">{number}<"), ("PT0.2S", duration), (rfc3339(BEGIN_NS), start)):
        assert old in text
        text = text.replace(old, new)
    with contextlib.suppress(NotN42):
        report = decode(text.encode(), "junk", ARRIVAL)
        assert all(count is None or 0 <= count <= 10**9 for each in report.counts for count in each.counts)


def test_the_measurement_that_nobody_can_time_is_not_a_measurement() -> None:
    with pytest.raises(NotN42, match="no duration of a measurement"):
        decoded(measurements=(Measurement(rfc3339(BEGIN_NS), 2e9, "Foreground"),))

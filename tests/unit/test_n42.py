"""N42.42-2012: the standard's own examples as they are, our documents as they were, and nothing else."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from drivers.formats.n42.document import (
    Alarm,
    Analysis,
    Detector,
    DetectorCounts,
    Document,
    Fault,
    Instrument,
    Measurement,
    NotN42,
    Unfinished,
    Window,
)
from drivers.formats.n42.read import read
from drivers.formats.n42.write import write

PASSAGE = Document(
    uuid="01a21ad2-c228-74b7-8178-8b5708f3b254",
    written="2026-11-27T02:00:00Z",
    creator="Carril",
    instrument=Instrument("TSA", "VM-250AGN", "rpm1", versions={"Firmware": "A.1.12"}),
    detectors=(
        Detector("ML", "Gamma", "PVT"),
        Detector("MU", "Gamma", "PVT"),
        Detector("N1", "Neutron", "He3"),
    ),
    measurements=(
        Measurement(
            "2026-11-27T01:59:50.2Z",
            0.2,
            "Foreground",
            (
                DetectorCounts("ML", 0.2, 52),
                DetectorCounts("MU", 0.2, 61, (Window(0, 3000, 61), Window(20, 120.5, 14))),
                DetectorCounts("N1", 1, 0),
            ),
            (Fault("tamper", "The cabinet is open", "Warning"),),
            2.25,
            True,
            "The truck stood",
        ),
    ),
    analyses=(
        Analysis("device", (Alarm(("ML", "MU"), "Gamma", "2026-11-27T01:59:50.4Z", "GA"),), "7 sigma"),
        Analysis("gross_ksigma_calibrated", faults=(Fault("old", "Its background is old", "Warning"),)),
    ),
    remarks=("Simulated data", "Lane 1"),
    item={"plate": "LXR 4827", "container": "YMLU3030933"},
)


def changed(old: str, new: str) -> bytes:
    text = write(PASSAGE).decode()
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.fixture(scope="module")
def schema(shared_data: Path) -> Any:
    return xmlschema.XMLSchema(str(shared_data / "rpm" / "n42-2011.xsd"))


def test_what_we_write_is_what_we_read() -> None:
    assert read(write(PASSAGE)) == PASSAGE


def test_a_panel_without_data_is_not_written_and_an_alarm_needs_no_words() -> None:
    silent = replace(
        PASSAGE.measurements[0], counts=(DetectorCounts("ML", 0.2, None), DetectorCounts("MU", 0.2, 1))
    )
    (alarm,) = PASSAGE.analyses[0].alarms
    plain = Analysis("device", (replace(alarm, time=None, description=""),))
    found = read(write(replace(PASSAGE, measurements=(silent,), analyses=(plain,))))
    assert [counts.detector for counts in found.measurements[0].counts] == ["MU"]
    assert found.analyses == (plain,)


def test_what_we_write_is_valid(schema: Any) -> None:
    schema.validate(write(PASSAGE).decode())
    empty = Measurement("2026-11-27T01:59:50Z", 1, "Background")
    bare = Document(PASSAGE.uuid, Instrument("unknown", "unknown"), PASSAGE.detectors[:1], (empty,))
    schema.validate(write(bare).decode())


def test_annex_d_is_read_as_it_is(shared_data: Path, schema: Any) -> None:
    annex = read((shared_data / "rpm" / "Annex_D.n42").read_bytes())
    assert annex.instrument.model == "RPM 3000"
    assert annex.detectors_of("Gamma") == ("Aa1", "Aa2", "Ba1", "Ba2")
    assert annex.detectors_of("Neutron") == ("Aa1N", "Ba1N")
    first = annex.measurements[0]
    assert [(one.detector, one.total) for one in first.counts] == [
        *(("Aa1", 22), ("Aa1N", 0), ("Aa2", 11), ("Ba1", 7), ("Ba1N", 1), ("Ba2", 7))
    ], "the window of the whole range; overlapping windows are not added"
    assert first.counts[0].windows == (Window(0, 100, 5), Window(0, 3000, 22), Window(100, 400, 200))
    assert [m.occupied for m in annex.measurements][:3] == [False, False, True]
    assert {m.class_code for m in annex.measurements if m.occupied} == {"Background"}
    assert read(write(annex)) == annex
    schema.validate(write(annex).decode())


def test_an_alarm_of_annex_d_is_read_beside_its_counts(shared_data: Path, schema: Any) -> None:
    alarm = (
        b'<AnalysisResults radMeasurementGroupReferences="MG-1">'
        b'<RadAlarm radDetectorInformationReferences="Aa1N Ba1N">'
        b"<RadAlarmCategoryCode>Neutron</RadAlarmCategoryCode>"
        b"</RadAlarm></AnalysisResults></RadInstrumentData>"
    )
    annex = (shared_data / "rpm" / "Annex_D.n42").read_bytes()
    alarmed = annex.replace(b"</RadInstrumentData>", alarm)
    schema.validate(alarmed.decode())
    found = read(alarmed)
    assert found.analyses[-1] == Analysis("", (Alarm(("Aa1N", "Ba1N"), "Neutron"),))
    assert found.measurements == read(annex).measurements
    assert read(write(found)) == found
    schema.validate(write(found).decode())


def test_annex_e_counts_its_spectra(shared_data: Path, schema: Any) -> None:
    annex = read((shared_data / "rpm" / "Annex_E.n42").read_bytes())
    assert annex.item["ContainerID"] == "YMLU3030933"
    assert {one.detector: one.total for one in annex.measurements[0].counts} == {
        **{"Aa1": 33_937, "Ba1": 33_937, "Aa1N": 301, "Ba1N": 300}
    }
    (alarm,) = annex.analyses[0].alarms
    assert (alarm.detectors, alarm.category) == (("Aa1", "Ba1"), "Isotope")
    assert read(write(annex)) == annex
    schema.validate(write(annex).decode())


def test_another_prefix_of_the_namespace_is_the_same_document() -> None:
    text = write(PASSAGE).decode().replace('xmlns="', 'xmlns:n="')
    assert read(re.sub(r"<(/?)(?=[A-Z])", r"<\1n:", text).encode()) == PASSAGE


@pytest.mark.parametrize(
    ("text", "occupied"), [("1", True), ("true", True), ("0", False), ("false", False), ("?", None)]
)
def test_a_truth_has_four_spellings(text: str, occupied: bool | None) -> None:
    assert read(changed(">true<", f">{text}<")).measurements[0].occupied is occupied


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("N42/2011/N42", "N42/2006/N42", "not N42.42-2012"),
        ("PT0.2S", "0.2", "RealTimeDuration of RadMeasurement M-1 is no duration"),
        ("PT0.2S", "PT", "no duration"),
        (">52<", ">5x<", "no number"),
        (">52<", ">-1<", "no counts"),
        (">52<", "><", "no counts"),
        (">52<", ">nan<", "no number"),
        (">61 14<", ">61<", "1 values for 2 energy windows"),
        (">0 20<", ">0<", "1 begins and 2 ends"),
        ('Reference="ML"', 'Reference="ZZ"', "a detector that is not described: 'ZZ'"),
        ("RadInstrumentInformation id", "Unknown id", "no XML"),
        ("<RadInstrumentData ", "<!DOCTYPE a [<!ENTITY b 'c'>]><RadInstrumentData ", "entities"),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_the_reason(old: str, new: str, why: str) -> None:
    with pytest.raises(NotN42, match=re.escape(why)):
        read(changed(old, new))


@pytest.mark.parametrize("counts", ["1.5", "1e16"])
def test_counts_that_are_no_whole_number_are_unknown_and_the_rest_of_the_document_is_read(
    counts: str,
) -> None:
    found = read(changed(">52<", f">{counts}<"))
    assert [one.detector for one in found.measurements[0].counts] == ["MU", "N1"]
    assert found.analyses == PASSAGE.analyses
    spectrum = (
        '<Spectrum id="S-1" radDetectorInformationReference="ML"><LiveTimeDuration>PT1S</LiveTimeDuration>'
        f"<ChannelData>{counts} 7</ChannelData></Spectrum>"
    )
    whole = changed('<GrossCounts id="C-1-ML"', f'{spectrum}<GrossCounts id="C-1-ML"')
    assert read(whole) == PASSAGE


def test_what_is_said_of_the_item_in_groups_and_on_its_way_belongs_to_it() -> None:
    one = "<Characteristic>{}</Characteristic>".format(
        "<CharacteristicName>{}</CharacteristicName><CharacteristicValue>{}</CharacteristicValue>"
    )
    group = f"<CharacteristicGroup>{one.format('seal', 'A1')}</CharacteristicGroup></RadItemCharacteristics>"
    text = changed("</RadItemCharacteristics>", group).decode()
    on_its_way = f"<RadItemCharacteristics>{one.format('lane', '2')}</RadItemCharacteristics></RadItemState>"
    found = read(text.replace("</RadItemState>", on_its_way).encode())
    assert found.item == {**PASSAGE.item, "seal": "A1", "lane": "2"}


def test_a_fault_of_one_detector_is_a_fault() -> None:
    fault = "<Fault><FaultCodeValue>HV</FaultCodeValue><FaultSeverityCode>Fatal</FaultSeverityCode></Fault>"
    state = f'<RadDetectorState radDetectorInformationReference="ML">{fault}</RadDetectorState><RadItemState'
    found = read(changed("<RadItemState", state)).measurements[0].faults
    assert found == (*PASSAGE.measurements[0].faults, Fault("HV", "", "Fatal"))


@pytest.mark.parametrize("cut", [0, 1, 300, -3])
def test_a_document_that_ends_too_early_may_be_one_that_is_being_written(cut: int) -> None:
    with pytest.raises(Unfinished, match="no XML"):
        read(write(PASSAGE)[:cut])
    with pytest.raises(NotN42, match="no XML") as junk:
        read(b"GS,000012,000011" + write(PASSAGE))
    assert not isinstance(junk.value, Unfinished)


@pytest.mark.parametrize(
    ("monster", "why"),
    [
        (b"<a>" * 60, "50 in each other"),
        (b"<a/>" * 1_000, "more than 1000 elements"),
        (b"<a>" + b" " * 2**20 + b" </a>", "more than 1048576 characters"),
    ],
)
def test_a_monster_without_entities_is_refused_before_it_fills_the_memory(
    monster: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.formats.n42.read.MAX_ELEMENTS", 1_000)
    with pytest.raises(NotN42, match=why):
        read(b"<b>" + monster)


def test_an_encoding_that_nobody_knows_is_refused() -> None:
    with pytest.raises(NotN42, match="no XML"):
        read(changed("encoding='utf-8'", "encoding='klingon'"))


def test_an_instrument_is_named() -> None:
    text = (
        write(PASSAGE)
        .decode()
        .replace("RadInstrumentInformation ", "Other ")
        .replace("/RadInstrumentInformation", "/Other")
    )
    with pytest.raises(NotN42, match="names no instrument"):
        read(text.encode())


def test_a_file_that_is_too_long_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.formats.n42.read.MAX_BYTES", 10)
    with pytest.raises(NotN42, match="at most 10"):
        read(b"x" * 11)


def test_windows_without_one_for_all_have_no_total() -> None:
    one = read(changed(">0 20<", ">0 30<")).measurements[0].counts[1]
    assert one.total == 61
    parts = read(changed(">3000 120.5<", ">20 120.5<")).measurements[0].counts[1]
    assert (parts.total, len(parts.windows)) == (None, 2)
    several = read(changed(' energyWindowsReference="Windows-1"', "")).measurements[0].counts[1]
    assert (several.total, several.windows) == (None, ())


@pytest.mark.parametrize(
    ("told", "total"),
    [((9000, 400), None), ((400, 9000), None), ((9000, 400, 400), None), ((400, 400), 400)],
)
def test_a_detector_with_two_different_totals_has_measured_nothing(
    told: tuple[int, ...], total: int | None
) -> None:
    one = PASSAGE.measurements[0]
    twice = replace(one, counts=tuple(DetectorCounts("ML", 0.2, count) for count in told))
    assert read(write(replace(PASSAGE, measurements=(twice,)))).measurements[0].counts == (
        DetectorCounts("ML", 0.2, total),
    )


@pytest.mark.parametrize(("channels", "total"), [("20 41", 61), ("20 40", None)])
def test_a_spectrum_and_a_gross_count_have_to_agree(channels: str, total: int | None) -> None:
    spectrum = (
        '<Spectrum id="S" radDetectorInformationReference="MU"><LiveTimeDuration>PT0.2S</LiveTimeDuration>'
        f"<ChannelData>{channels}</ChannelData></Spectrum><GrossCounts "
    )
    found = {one.detector: one for one in read(changed("<GrossCounts ", spectrum)).measurements[0].counts}
    assert found["MU"].total == total
    assert bool(found["MU"].windows) is (total is not None), "what is whole keeps its windows"
    assert found["ML"].total == 52


def test_a_spectrum_with_packed_zeros_counts_what_is_there() -> None:
    spectrum = (
        '<Spectrum id="S-1" radDetectorInformationReference="ML"><LiveTimeDuration>PT1S</LiveTimeDuration>'
        '<ChannelData compressionCode="CountedZeroes">0 94 1 0 80 2 3</ChannelData></Spectrum>'
    )
    whole = changed('<GrossCounts id="C-1-ML"', f'{spectrum}<GrossCounts id="C-1-MU-2"')
    assert read(whole).measurements[0].counts[0].total is None, "its gross count is another one: 52"
    alone = re.sub(rb'<GrossCounts id="C-1-MU-2".*?</GrossCounts>', b"", whole, flags=re.DOTALL)
    assert read(alone).measurements[0].counts[0] == DetectorCounts("ML", 1, 6)
    with pytest.raises(NotN42, match="within a run of zeros"):
        read(alone.replace(b"0 94 1 0 80 2 3", b"1 0"))


@pytest.mark.parametrize("name", ["1a", "a b", "Item", "ñ", ""])
def test_a_detector_that_no_document_can_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        write(Document("x", Instrument("", ""), (Detector(name, "Gamma"),), ()))


@pytest.mark.parametrize(
    ("severity", "read_as"), [("Fatal", "Fatal"), ("Warning", "Warning"), ("Bad", "Error")]
)
def test_a_severity_that_nobody_knows_is_an_error(severity: str, read_as: str) -> None:
    (fault,) = read(changed(">Warning<", f">{severity}<")).measurements[0].faults
    assert fault.severity == read_as


def test_days_and_hours_are_seconds() -> None:
    assert read(changed("PT0.2S", "P1DT2H3M4.5S")).measurements[0].real_time_s == 93_784.5


TEXT = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True).filter(
    lambda n: n not in ("Instrument", "Item", "Passage")
)
COUNT = st.integers(0, 10**9)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    names = draw(st.lists(NAME, max_size=4, unique=True))
    detectors = tuple(Detector(name, draw(st.sampled_from(["Gamma", "Neutron"]))) for name in names)
    windows = st.builds(
        lambda a, b, c: (Window(0, 3000, a), Window(b, b + 10, c)), COUNT, st.integers(0, 100), COUNT
    )

    def counts(name: str) -> DetectorCounts:
        found = draw(windows | st.just(()))
        total = found[0].counts if found else draw(COUNT)
        return DetectorCounts(name, draw(st.integers(0, 10**6)) / 1000, total, found)

    measurements = tuple(
        Measurement(
            draw(TEXT),
            draw(st.integers(1, 10**6)) / 1000,
            "Foreground",
            tuple(counts(name) for name in names),
            tuple(draw(st.lists(st.builds(Fault, TEXT, TEXT), max_size=2))),
            draw(st.none() | st.integers(0, 40)),
            draw(st.none() | st.booleans()),
            draw(TEXT),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    item = draw(st.dictionaries(TEXT, TEXT, max_size=2))
    remarks = tuple(draw(st.lists(TEXT, max_size=2)))
    instrument = Instrument(draw(TEXT), draw(TEXT))
    return Document(draw(TEXT), instrument, detectors, measurements, (), item, remarks=remarks)


@given(documents())
def test_any_passage_is_read_as_it_was_written(document: Document) -> None:
    assert read(write(document)) == document


@given(st.data())
def test_a_damaged_document_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(write(PASSAGE))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(NotN42):
        read(bytes(whole))


def test_a_control_character_costs_no_document() -> None:
    odd = Document("x", Instrument("a\x00b\ufffe", "m"), (), ())
    assert read(write(odd)).instrument.manufacturer == "a b"

"""A sealed inspection as an N42 document: valid, the same bytes each time, nothing that was not measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xmlschema

from drivers.api import PortalFacts
from drivers.formats.n42.document import Document
from drivers.formats.n42.read import read
from drivers.readings import Channel, Counts, OccupancyEnd, Phase, Speed, Tamper
from station.lane.export import n42, occupancies
from station.lane.restart import Record
from tests.support.lane_facts import DEVICES, facts
from tests.support.lane_rig import Rig
from tests.unit.test_reports import LANE, drive, gone, report

PANELS = ("ML", "MU", "SL", "SU")


class Exported:
    """An inspection's records, and what they become."""

    def __init__(self, rig: Rig, inspection_id: str) -> None:
        self.told: list[Record] = [r for r in rig.records() if r[2].get("inspection_id") == inspection_id]
        self.profiles: dict[str, Mapping[str, Any]] = {}
        for one in occupancies(self.told):
            if one.profile is not None:
                self.profiles[one.profile] = json.loads(rig.vault.blobs[one.profile])

    @property
    def bytes(self) -> bytes:
        made = n42("LANE-1", self.told, self.profiles)
        assert made is not None
        return made

    @property
    def document(self) -> Document:
        return read(self.bytes)


Validate = Callable[[bytes], None]


@pytest.fixture(scope="module")
def validate(root: Path) -> Validate:
    """Hold a document against the schema of NIST, where that is on this machine."""
    path = root.parent / "shared" / "data" / "rpm" / "n42-2011.xsd"
    if not path.is_file():
        return lambda body: None
    schema = xmlschema.XMLSchema(str(path))
    return lambda body: schema.validate(body.decode())


def truck(act: Callable[[Rig], object] = lambda rig: None, **change: Any) -> Exported:
    """Seal a truck that passed a portal which counts, with something that happened before its end."""
    rig = Rig(facts(**change))
    rig.background()
    rig.arrive(gamma="alarm")
    inspection_id = rig.seen.inspection_id
    act(rig)
    rig.decide("secondary")
    rig.leave()
    return Exported(rig, inspection_id)


def ended(rig: Rig) -> None:
    """End a second occupancy of the truck."""
    rig.device_count += 1
    rig.read("rpm1", OccupancyEnd(rig.stamp(), rig.device_count))
    rig.wait(1.4)


def test_the_schema_is_on_this_machine(shared_data: Path) -> None:
    assert (shared_data / "rpm" / "n42-2011.xsd").is_file()


def test_a_passage_is_written_with_its_counts_its_alarm_and_both_analyses(validate: Validate) -> None:
    found = truck()
    validate(found.bytes)
    document = found.document
    assert document.instrument.identifier == "rpm1"
    assert document.instrument.class_code == "Portal Monitor"
    assert document.detectors_of("Gamma") == tuple(f"{name}-gamma" for name in PANELS)
    assert document.detectors_of("Neutron") == tuple(f"{name}-neutron" for name in PANELS)
    backgrounds = [each for each in document.measurements if each.class_code == "Background"]
    totals = [[one.total for one in each.counts] for each in backgrounds]
    assert totals == [[3603, 3597, 3603, 3597], [6, 0, 6, 0]]
    assert {each.occupied for each in backgrounds} == {False}
    samples = [each for each in document.measurements if each.class_code == "Foreground"]
    assert {each.occupied for each in samples} == {True}
    gamma = [each for each in samples if each.real_time_s == 0.2]
    neutron = [each for each in samples if each.real_time_s == 1.0]
    assert [(len(gamma), len(neutron))] == [(15, 3)]
    assert {one.total for each in gamma for one in each.counts} == {120}
    assert [one.total for one in neutron[0].counts] == [1, 0, 1, 1]
    starts = [each.start for each in samples]
    assert starts == sorted(starts)
    portal, station = document.analyses
    assert (portal.algorithm, station.algorithm) == ("Portal", "Carril second opinion")
    (alarm,) = portal.alarms
    assert (alarm.category, alarm.detectors) == ("Gamma", document.detectors_of("Gamma"))
    assert alarm.time is not None
    assert portal.description == "rpm1: alarm (gamma); rpm1: no alarm (neutron)"
    assert station.alarms == ()
    assert "gross_ksigma_calibrated 1 (gamma): no_alarm" in station.description
    assert document.item["plate"] == "R4K7719"
    assert document.item["outcome"] == "referred_secondary"
    assert document.item["lane"] == "LANE-1"


def test_the_same_records_give_the_same_bytes_and_others_another_name() -> None:
    first, again, other = truck(), truck(), truck(lambda rig: rig.plate("ABC123"))
    assert first.bytes == again.bytes
    assert first.document.uuid != other.document.uuid
    assert replace(first.document, uuid="") != replace(other.document, uuid="")
    whole = read(first.bytes)
    assert whole.uuid == first.document.uuid


def test_what_is_simulated_says_so_twice(validate: Validate) -> None:
    found = truck()
    assert found.document.item["simulated"] == "true"
    assert any(remark.startswith("Simulated") for remark in found.document.remarks)
    real = truck(devices=tuple(replace(device, mode="real") for device in DEVICES))
    assert "simulated" not in real.document.item
    assert not any("Simulated" in remark for remark in real.document.remarks)
    for flag in ("test", "exercise"):
        told = [(seq, kind, {**data, flag: True}) for seq, kind, data in found.told]
        marked = n42("LANE-1", told, found.profiles)
        assert marked is not None
        validate(marked)
        assert read(marked).item[flag] == "true"
        assert any(remark.startswith(flag.capitalize()) for remark in read(marked).remarks)


def test_a_clock_that_nobody_disciplines_is_said() -> None:
    assert "Times are of a clock that was not known to be synchronised." in truck().document.remarks
    rig = Rig()
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    _, inspection_id = gone(rig)
    assert not any("clock" in remark for remark in Exported(rig, inspection_id).document.remarks)


def test_a_panel_without_data_writes_no_counts_and_a_speed_stands_where_it_was_measured(
    validate: Validate,
) -> None:
    def silent(rig: Rig) -> None:
        for _ in range(5):
            rig.counts(Channel.GAMMA, Phase.SCAN, (120, None, 120, 120))
            rig.wait(0.2)
        rig.counts(Channel.NEUTRON, Phase.SCAN, (None,) * 4)
        rig.read("rpm1", Speed(rig.stamp(), 1.5))
        rig.counts(Channel.GAMMA, Phase.SCAN, (130,) * 4)
        ended(rig)

    found = truck(silent)
    validate(found.bytes)
    samples = [each for each in found.document.measurements if each.class_code == "Foreground"]
    partial = [each for each in samples if len(each.counts) == 3]
    assert {one.detector for each in partial for one in each.counts} == {"ML-gamma", "SL-gamma", "SU-gamma"}
    assert [each.counts for each in samples if each.real_time_s == 1.0][-1] == ()
    assert {each.speed_mps for each in samples} == {None, 1.5}


def test_tamper_and_what_is_missing_are_faults(validate: Validate) -> None:
    def opened(rig: Rig) -> None:
        rig.counts(Channel.GAMMA, Phase.SCAN, (120,) * 4)
        rig.read("rpm1", Tamper(rig.stamp(), open=True))
        ended(rig)

    found = truck(opened)
    validate(found.bytes)
    faults = [fault for each in found.document.measurements for fault in each.faults]
    assert ("Tamper", "Error") in {(fault.code, fault.severity) for fault in faults}
    assert "no_neutron" in {fault.code for fault in faults}
    with_faults = [each for each in found.document.measurements if each.faults]
    assert len(with_faults) == 1


def test_the_stations_alarm_stands_apart_from_the_devices(validate: Validate) -> None:
    rig = Rig(LANE)
    rig.read("rpm1", report(rig, drive(rig), source=400))
    inspection_id = rig.seen.inspection_id
    rig.decide("secondary")
    rig.leave()
    found = Exported(rig, inspection_id)
    validate(found.bytes)
    portal, station = found.document.analyses
    assert portal.alarms == ()
    (alarm,) = station.alarms
    assert alarm.category == "Gamma"
    assert "gross_ksigma_calibrated 1 (gamma): alarm, " in alarm.description
    fifths = [each.start for each in found.document.measurements if each.occupied and each.real_time_s < 1]
    (one,) = occupancies(found.told)
    (crossed_s,) = [test.t_first_s for test in one.verdicts if test.outcome == "alarm"]
    assert crossed_s is not None
    assert alarm.time == fifths[round(crossed_s / 0.2) + 1], "when the record that crossed was over"
    assert found.document.detectors_of("Neutron") == ("N1-neutron", "N2-neutron")


def test_a_late_report_is_in_the_document_of_its_inspection(validate: Validate) -> None:
    rig = Rig(LANE)
    passed_s, inspection_id = gone(rig)
    before = Exported(rig, inspection_id)
    validate(before.bytes)
    (unmeasured,) = before.document.measurements
    assert [(fault.code, unmeasured.counts) for fault in unmeasured.faults] == [("timeout", ())]
    assert before.document.remarks[1] == "Not complete: rpm."
    rig.read("rpm1", report(rig, passed_s, alarms=("Neutron",)))
    after = Exported(rig, inspection_id)
    validate(after.bytes)
    assert len(after.document.measurements) > 20
    (alarm,) = after.document.analyses[0].alarms
    assert (alarm.category, alarm.time, alarm.description) == ("Neutron", None, "rpm1, told late")
    assert after.document.uuid != before.document.uuid


def test_without_its_profile_a_document_has_what_the_record_has(validate: Validate) -> None:
    found = truck()
    found.profiles.clear()
    validate(found.bytes)
    (measurement,) = found.document.measurements
    assert (measurement.counts, measurement.occupied) == ((), True)
    assert "not kept any more" in measurement.remark
    (alarm,) = found.document.analyses[0].alarms
    assert (alarm.category, alarm.detectors) == ("Gamma", ("Portal",))


def test_an_occupancy_without_a_record_is_no_count_of_zero(validate: Validate) -> None:
    rig = Rig(LANE)
    mine = report(rig, drive(rig))
    rig.read("rpm1", replace(mine, counts=()))
    inspection_id = rig.seen.inspection_id
    rig.decide("secondary")
    rig.leave()
    found = Exported(rig, inspection_id)
    validate(found.bytes)
    (measurement,) = found.document.measurements
    assert measurement.counts == ()
    assert {fault.code for fault in measurement.faults} >= {"no_gamma", "no_neutron"}


@pytest.mark.parametrize("names", [("1", "a b", "ñandú", "a-b"), (), ("same", "same", "same", "same")])
def test_any_name_of_a_panel_becomes_an_id(names: tuple[str, ...], validate: Validate) -> None:
    portal = replace(DEVICES[0], portal=PortalFacts(names, frozenset(Channel), 0.2))
    found = truck(devices=(portal, *DEVICES[1:]))
    validate(found.bytes)
    ids = [detector.id for detector in found.document.detectors]
    assert len(set(ids)) == len(ids)


def test_counts_of_which_nobody_knows_the_time_are_not_written(validate: Validate) -> None:
    def timeless(rig: Rig) -> None:
        for channel in Channel:
            rig.read("rpm1", Counts(rig.stamp(), channel, Phase.SCAN, 0.0, (120,) * 4))
        ended(rig)

    found = truck(timeless)
    validate(found.bytes)
    last = found.document.measurements[-1]
    assert (last.counts, last.occupied) == ((), True)


def test_a_lane_without_a_portal_has_no_document_and_an_open_inspection_none_yet() -> None:
    rig = Rig(facts(devices=DEVICES[1:], required=frozenset({"scanner", "lpr"})))
    rig.board(entry_loop=True)
    inspection_id = rig.seen.inspection_id
    with pytest.raises(ValueError, match="not sealed"):
        n42("LANE-1", Exported(rig, inspection_id).told, {})
    rig.board(entry_loop=False)
    rig.wait(31)
    assert n42("LANE-1", Exported(rig, inspection_id).told, {}) is None


def test_the_name_of_a_document_is_made_of_its_content() -> None:
    body = truck().bytes
    name = read(body).uuid
    nameless = body.replace(name.encode(), b"00000000-0000-0000-0000-000000000000")
    digest = hashlib.sha256(nameless).hexdigest()
    assert name.replace("-", "")[:12] == digest[:12]

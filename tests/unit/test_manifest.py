"""Manifests: declared before the vehicle comes, held against it when its plate is read, then judged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from station.domain.directives import Envelope
from station.domain.manifest import ManifestBody, ManifestMatch, match, timeliness
from station.domain.signed import moment_us
from tests.support.directives import MANIFEST, envelope, put, states
from tests.support.lane_facts import facts
from tests.support.lane_rig import Rig

PLATE = "R4K7719"
ARRIVAL_US = moment_us("2026-01-01T02:00:00Z")


def body(**change: Any) -> ManifestBody:
    return ManifestBody.model_validate({**MANIFEST, **change})


def declared(name: str = "M-1", version: int = 1, **change: Any) -> Envelope:
    """A manifest of the rig's plate."""
    return envelope(name, kind="manifest", version=version, body={**MANIFEST, **change})


@pytest.fixture
def rig() -> Rig:
    """A lane whose central system sends manifests; its clock is right."""
    rig = Rig(facts(manifests=True))
    rig.background()
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    return rig


def moment(rig: Rig, before_s: float) -> str:
    at = datetime.fromtimestamp(rig.stamp().utc_ns / 1e9 - before_s, UTC)
    return at.isoformat().replace("+00:00", "Z")


# --- what is sent -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "boat"},
        {"accepted_at": "yesterday"},
        {"trip_no": None, "conveyance": {}},
        {"shipments": [{"hazmat": [{"un": "29"}]}]},
        {"shipments": [{"gross_kg": -1}]},
        {"equipment": [{"no": "X", "laden": 1}]},
        {"consist": [{"seq": 0}], "trip_no": None, "conveyance": {}},
    ],
)
def test_what_is_no_manifest_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        body(**change)


@pytest.mark.parametrize(
    "key",
    [
        {"equipment": [{"no": "CSQU3054383", "seals": [{"no": "1", "class": "H"}]}]},
        {"documents": [{"kind": "doda", "integration_no": "1"}]},
        {"consist": [{"seq": 1, "number": "1234"}]},
        {"conveyance": {"tag": "T1"}},
    ],
)
def test_any_key_will_do(key: dict[str, Any]) -> None:
    assert body(**{"trip_no": None, "conveyance": {}, **key}).plates in (
        (),
        ("CS0U3054383",),
        ("CSQU3054383",),
    )


# --- matching ---------------------------------------------------------------------------------------


def matched(
    *bodies: ManifestBody,
    reads: tuple[tuple[str, str], ...] = ((PLATE, "US-TX"),),
    arrival_us: int | None = ARRIVAL_US,
) -> ManifestMatch:
    return match([(f"M-{n}", 1, each) for n, each in enumerate(bodies)], reads, arrival_us)


def test_a_plate_alone_is_a_partial_match_and_two_plates_agree() -> None:
    assert matched().status == "none"
    assert matched(body()) == ManifestMatch(
        status="partial", directive_id="M-0", directive_version=1, timeliness="on_time", lead_s=7200
    )
    trailer = body(equipment=[{"no": "TR-41 LER"}])
    assert matched(trailer, reads=((PLATE, ""), ("TR411ER", ""))).status == "partial"
    both = matched(trailer, reads=((PLATE, ""), ("TR41LER", "")))
    assert (both.status, both.equipment) == ("matched", ("TR-41 LER",))


def test_two_candidates_or_another_region_are_ambiguous() -> None:
    assert matched(body(), body()) == ManifestMatch(status="ambiguous")
    region = {"plate": PLATE, "region": "MX-NLE"}
    assert matched(body(conveyance=region)).status == "ambiguous"
    assert matched(body(conveyance={**region, "region": "us-tx"})).status == "partial"
    assert matched(body(conveyance=region), reads=((PLATE, ""),)).status == "partial"


@pytest.mark.parametrize(
    ("change", "arrival", "expected"),
    [
        ({}, "2026-01-01T01:00:00Z", ("on_time", 3600)),
        ({}, "2026-01-01T00:59:59Z", ("late", 3599)),
        ({}, None, ("unknown", None)),
        ({"direction": "out", "mode": "rail"}, "2026-01-01T01:00:00Z", ("late", 3600)),
        ({"mode": "sea"}, "2026-01-05T00:00:00Z", ("unknown", None)),
        ({"mode": "sea", "lading_at": "2026-01-02T00:00:00Z"}, None, ("on_time", 86_400)),
    ],
)
def test_early_enough_is_a_table(change: dict[str, Any], arrival: str | None, expected: Any) -> None:
    assert timeliness(body(**change), moment_us(arrival) if arrival else None) == expected


# --- in the lane ------------------------------------------------------------------------------------


def test_a_vehicle_without_a_manifest_goes_to_secondary_where_manifests_are_sent(rig: Rig) -> None:
    rig.arrive(plate=PLATE)
    assert [reason.code for reason in rig.seen.reasons] == ["manifest_none"]
    assert rig.seen.level == "secondary"
    assert (rig.seen.coverage.manifest.state, rig.seen.coverage.manifest.reason) == ("failed", "none")


def test_a_lane_that_nobody_sends_manifests_asks_for_none() -> None:
    rig = Rig()
    rig.background()
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "clear"
    assert (rig.seen.manifest, rig.seen.coverage.manifest.state) == (None, "not_fitted")


def test_a_partial_match_makes_the_officer_look(rig: Rig) -> None:
    put(rig, declared())
    rig.arrive(plate=PLATE)
    assert [reason.code for reason in rig.seen.reasons] == ["manifest_partial"]
    assert rig.locks == ["read_image"]
    assert rig.seen.manifest is not None
    assert (rig.seen.manifest.directive_id, rig.seen.manifest.timeliness) == ("M-1", "on_time")
    assert (rig.seen.coverage.manifest.state, rig.seen.coverage.manifest.fraction) == ("done", 0.5)
    assert rig.types().count("manifest.matched") == 1
    rig.restart()
    assert "manifest_partial" in [reason.code for reason in rig.seen.reasons]
    assert rig.types().count("manifest.matched") == 1


def test_a_late_manifest_is_told(rig: Rig) -> None:
    put(rig, declared(accepted_at=moment(rig, 60)))
    rig.arrive(plate=PLATE)
    assert [reason.code for reason in rig.seen.reasons] == ["manifest_partial", "manifest_late"]
    assert rig.seen.manifest is not None
    assert rig.seen.manifest.timeliness == "late"


def test_without_a_clock_nothing_is_late(rig: Rig) -> None:
    rig.carry(rig.lane.clock("unsync", rig.stamp()))
    put(rig, declared(accepted_at=moment(rig, 60)))
    rig.arrive(plate=PLATE)
    assert [reason.code for reason in rig.seen.reasons] == ["manifest_partial"]


def test_one_that_comes_while_the_vehicle_waits_counts(rig: Rig) -> None:
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "secondary"
    put(rig, declared())
    assert rig.seen.level == "review_image"
    put(rig, declared("M-2"))
    assert [reason.code for reason in rig.seen.reasons] == ["manifest_ambiguous"]


def test_two_plates_that_are_declared_are_a_match(rig: Rig) -> None:
    put(rig, declared(equipment=[{"no": "TRAILER1"}]))
    rig.arrive(plate=PLATE)
    rig.plate("TRAILER1")
    assert rig.seen.manifest is not None
    assert rig.seen.manifest.status == "matched"


def test_a_manifest_is_of_one_movement(rig: Rig) -> None:
    put(rig, declared())
    rig.arrive(plate=PLATE)
    rig.decide("secondary")
    rig.leave()
    assert states(rig)[-1] == ("closed", 1, "done")
    rig.arrive(plate=PLATE)
    assert [reason.code for reason in rig.seen.reasons] == ["manifest_none"]


def test_a_vehicle_that_went_away_undecided_may_come_again(rig: Rig) -> None:
    put(rig, declared())
    rig.arrive(plate=PLATE)
    rig.board(exit_loop=True)
    rig.board(booth_loop=False)
    rig.board(exit_loop=False)
    assert rig.last("inspection.sealed").outcome == "aborted"
    assert states(rig)[-1] == ("armed", 1, "")
    rig.arrive(plate=PLATE)
    assert rig.seen.manifest is not None
    assert rig.seen.manifest.status == "partial"


def test_before_the_plate_is_read_nothing_is_missing(rig: Rig) -> None:
    rig.board(entry_loop=True)
    assert rig.seen.coverage.manifest.state == "waiting"
    rig.plate("")
    assert rig.seen.coverage.manifest.state == "failed"
    put(rig, declared())
    rig.plate(PLATE)
    assert rig.seen.coverage.manifest.state == "done"

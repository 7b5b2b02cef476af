"""Whose report it is: by what it says of the vehicle, then by its time, and not certain where it is not."""

from __future__ import annotations

import pytest

from station.domain.attribution import NEAR_US, TOLERANCE_US, UNSEEN_US, Vehicle, contradicted, match
from station.domain.values import Identity, PlateIdentity

S = 1_000_000


def vehicle(name: str, from_s: float, to_s: float, plate: str = "", *more: str) -> Vehicle:
    texts = frozenset(filter(None, (plate, *more)))
    return Vehicle(name, round(from_s * S), round(to_s * S), plate, texts)


def span(from_s: float, to_s: float) -> tuple[int, int]:
    return round(from_s * S), round(to_s * S)


FIRST, SECOND = vehicle("first", 100, 115, "AAA111"), vehicle("second", 140, 155, "BBB222")
BOTH = (FIRST, SECOND)


@pytest.mark.parametrize(
    ("passage", "item", "whose", "certain"),
    [
        (span(105, 110), {}, "first", True),
        (span(95, 98), {}, "first", True),
        (span(160, 163), {}, "second", True),
        (span(125, 130), {}, None, None),
        (span(115, 140), {}, "first", False),
        (span(116, 142), {}, "second", False),
        (span(105, 110), {"plate": "aaa 111"}, "first", True),
        (span(105, 110), {"anything": "BBB-222"}, "second", True),
        (span(105, 110), {"plate": "CCC333"}, "first", False),
        (span(105, 110), {"container": "CCC333"}, "first", True),
        (span(400, 410), {"plate": "BBB222"}, "second", True),
        (span(400, 410), {"plate": "CCC333"}, None, None),
        (span(2000, 2010), {"plate": "BBB222"}, None, None),
        (None, {"plate": "BBB222"}, "second", True),
        (None, {"plate": "CCC333"}, None, None),
        (None, {}, None, None),
    ],
)
def test_a_report_is_matched_by_its_words_and_its_time(
    passage: tuple[int, int] | None, item: dict[str, str], whose: str | None, certain: bool | None
) -> None:
    found = match(passage, item, BOTH)
    assert (found.vehicle.inspection_id, found.certain) == (whose, certain) if found else whose is None


def test_what_else_fits_the_time_is_told() -> None:
    found = match(span(118, 139), {}, BOTH)
    assert found is not None
    assert {found.vehicle, *found.others} == {FIRST, SECOND}
    named = match(span(118, 139), {"plate": "AAA111"}, BOTH)
    assert named is not None
    assert (named.vehicle, named.certain, named.others) == (FIRST, True, (SECOND,))


def test_a_vehicle_that_came_twice_is_the_one_of_the_nearest_time() -> None:
    again = vehicle("again", 500, 515, "AAA111")
    found = match(span(480, 490), {"plate": "AAA111"}, (FIRST, again))
    assert found is not None
    assert (found.vehicle, found.certain) == (again, False)
    certain = match(span(505, 508), {"plate": "AAA111"}, (FIRST, again))
    assert certain is not None
    assert (certain.vehicle, certain.certain) == (again, True)
    assert match(None, {"plate": "AAA111"}, (FIRST, again)) is None


def identity(text: str, status: str = "accepted") -> Identity:
    plate = PlateIdentity.model_validate({"text": text, "status": status})
    container = PlateIdentity.model_validate({"text": "YMLU 303093-3", "status": "probable"})
    return Identity.model_validate({"status": status, "plate": plate, "container": container})


def test_a_vehicle_passes_the_portal_between_the_entry_and_the_booth() -> None:
    known = Vehicle.of("id", 50 * S, {"entry": 40 * S, "booth": 60 * S}, 90 * S, identity("ABO 12"))
    assert (known.from_us, known.to_us, known.plate) == (40 * S, 60 * S, "AB012")
    assert known.texts == {"AB012", "YMLU3030933"}
    unseen = Vehicle.of("id", 100 * S, {}, 190 * S, identity("AB", "probable"))
    assert (unseen.from_us, unseen.to_us) == (100 * S - UNSEEN_US, 190 * S)
    assert (unseen.plate, "AB" in unseen.texts) == ("", True)
    assert Vehicle.of("id", 0, {}, 0, Identity()).texts == frozenset()


@pytest.mark.parametrize(
    ("item", "plate", "other"),
    [
        ({"License Plate": "x1"}, "X2", True),
        ({"plate": "x2"}, "X2", False),
        ({"plate": ""}, "X2", False),
        ({"plate": "x1"}, "", False),
        ({"seal": "x1"}, "X2", False),
    ],
)
def test_only_another_plate_contradicts(item: dict[str, str], plate: str, other: bool) -> None:
    assert contradicted(item, vehicle("id", 0, 1, plate)) is other


def test_the_limits_are_those_of_clocks_and_of_days() -> None:
    near = match(span(115 + TOLERANCE_US / S, 130), {}, (FIRST,))
    assert near is not None
    assert match(span(115.1 + TOLERANCE_US / S, 130), {}, (FIRST,)) is None
    assert match(span(115 + NEAR_US / S, 2000), {"plate": "AAA111"}, (FIRST,)) is not None
    assert match(span(116 + NEAR_US / S, 2000), {"plate": "AAA111"}, (FIRST,)) is None

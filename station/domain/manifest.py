"""Manifests: what was declared of a vehicle before it came, and whether this is that vehicle, in time.

A match needs one strong key (a container number), or two others that agree, and none that contradicts. A lane
reads plates so far, and a plate is one of the others: with it alone a match is partial, and a person looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from station.domain.identity import folded
from station.domain.norm import norm_headings
from station.domain.signed import Amount, ListOf, Moment, Strict, Text, moment_us
from station.domain.values import Value

Mode = Literal["truck", "rail", "sea", "air"]
Timeliness = Literal["on_time", "late", "unknown"]
Status = Literal["none", "partial", "matched", "ambiguous"]

LEAD_S: Mapping[tuple[str, str], int] = {
    ("in", "truck"): 3_600,
    ("in", "rail"): 7_200,
    ("in", "air"): 14_400,
    ("in", "sea"): 86_400,
    ("out", "truck"): 3_600,
    ("out", "rail"): 7_200,
    ("out", "air"): 7_200,
    ("out", "sea"): 86_400,
}
"""Seconds before arrival (sea: before lading) by which a manifest must be accepted [US: 19 CFR 123.92,
123.91, 122.48a, 4.7; outbound 15 CFR 30.4]."""


class Conveyance(Strict):
    """What moves itself."""

    plate: Text | None = None
    region: Text | None = None
    vin: Text | None = None
    tag: Text | None = None


class Seal(Strict):
    """A numbered closure; ``class`` H is high security [ISO 17712]."""

    no: Text
    seal_class: Annotated[Literal["I", "S", "H"] | None, Field(alias="class")] = None


class Equipment(Strict):
    """What carries cargo; ``no`` by ISO 6346, or a plate."""

    no: Text
    type: Text | None = None
    iso_type: Text | None = None
    laden: bool | None = None
    tare_kg: Amount | None = None
    seals: ListOf[Seal] = ()


class Car(Strict):
    """One car of a consist."""

    seq: int = Field(ge=1, le=2**31)
    initial: Text | None = None
    number: Text | None = None
    aei_tag: Text | None = None
    orientation: Text | None = None


class Hazmat(Strict):
    """Dangerous goods: UN number, class, packing group."""

    un: Annotated[str, Field(pattern=r"^[0-9]{4}$")]
    hazard_class: Annotated[Text | None, Field(alias="class")] = None
    pg: Text | None = None


class Shipment(Strict):
    """One shipment of the movement."""

    ref: Text | None = None
    description: str = Field(default="", max_length=500)
    hs6: ListOf[Annotated[str, Field(pattern=r"^[0-9]{4,6}$")]] = ()
    qty: Amount | None = None
    package: Text | None = None
    gross_kg: Amount | None = None
    origin: Text | None = None
    shipper_ref: Text | None = None
    consignee_ref: Text | None = None
    hazmat: ListOf[Hazmat] = ()


class Document(Strict):
    """A paper of the movement."""

    kind: Text
    integration_no: Text | None = None
    payload_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class ManifestBody(Strict):
    """What was declared of one movement."""

    source: Literal["ace_truck", "doda", "rail_consist", "sea", "air", "other"]
    trip_no: Text | None = None
    mode: Mode
    direction: Literal["in", "out"]
    port: Text
    conveyance: Conveyance = Conveyance()
    equipment: ListOf[Equipment] = ()
    consist: ListOf[Car] = ()
    crew_ref: ListOf[Text] = ()
    shipments: ListOf[Shipment] = ()
    documents: ListOf[Document] = ()
    eta_at: Moment | None = None
    lading_at: Moment | None = None
    accepted_at: Moment

    @model_validator(mode="after")
    def _named(self) -> Self:
        cars = any(car.number or car.aei_tag for car in self.consist)
        papers = any(document.integration_no for document in self.documents)
        keys = (self.trip_no, self.conveyance.plate, self.conveyance.vin, self.conveyance.tag, self.equipment)
        if not (cars or papers or any(keys)):
            raise ValueError("at least one key must be given: a plate, a trip, a tag, equipment …")
        return self

    @property
    def plates(self) -> tuple[str, ...]:
        """Return the plates that it names, as they are compared: of the conveyance and of its equipment."""
        named = (self.conveyance.plate or "", *(each.no for each in self.equipment))
        return tuple(filter(None, map(folded, named)))


class ManifestMatch(Value):
    """What became of matching one vehicle; the directive is the candidate, if there is exactly one."""

    status: Status
    directive_id: str | None = None
    directive_version: int | None = None
    timeliness: Timeliness = "unknown"
    lead_s: int | None = None
    equipment: tuple[str, ...] = ()
    """Declared numbers of what carries the cargo: by them the vehicle is found, nobody has read them."""
    seals: tuple[str, ...] = ()
    """Declared, for the officer to compare."""
    hazmat: tuple[Hazmat, ...] = ()
    norm: tuple[str, ...] = ()
    """Headings of declared goods that are radioactive by nature."""


NOTHING = ManifestMatch(status="none")


def timeliness(body: ManifestBody, arrival_us: int | None) -> tuple[Timeliness, int | None]:
    """Return whether it was accepted early enough, and by how many seconds.

    ``arrival_us`` is ``None`` while the clock is not right.
    """
    end_us = arrival_us
    if body.mode == "sea":
        end_us = moment_us(body.lading_at) if body.lading_at else None
    if end_us is None:
        return "unknown", None
    lead_s = (end_us - moment_us(body.accepted_at)) // 1_000_000
    return ("on_time" if lead_s >= LEAD_S[body.direction, body.mode] else "late"), lead_s


TWO_AGREE = 2
Read = tuple[str, str]
"""A plate as it is compared, and its region, empty if unknown."""


def match(
    candidates: Sequence[tuple[str, int, ManifestBody]], reads: Sequence[Read], arrival_us: int | None
) -> ManifestMatch:
    """Match a vehicle with the manifests that name one of its plates: id, version and body of each.

    Two candidates, or one whose region contradicts the plate's, are ambiguous.
    """
    if not candidates:
        return NOTHING
    if len(candidates) > 1:
        return ManifestMatch(status="ambiguous")
    key, version, body = candidates[0]
    when, lead_s = timeliness(body, arrival_us)
    named = {
        "directive_id": key,
        "directive_version": version,
        "timeliness": when,
        "lead_s": lead_s,
        "equipment": tuple(each.no for each in body.equipment),
        "seals": tuple(seal.no for each in body.equipment for seal in each.seals),
        "hazmat": tuple(goods for shipment in body.shipments for goods in shipment.hazmat),
        "norm": norm_headings(code for shipment in body.shipments for code in shipment.hs6),
    }
    declared = {folded(body.conveyance.plate or ""): body.conveyance.region}
    regions = [(region, declared[plate]) for plate, region in reads if region and declared.get(plate)]
    agreeing = sum(plate in body.plates for plate in {plate for plate, _ in reads})
    if any(seen.upper() != (said or "").upper() for seen, said in regions):
        status: Status = "ambiguous"
    else:
        status = "matched" if agreeing >= TWO_AGREE else "partial"
    return ManifestMatch.model_validate({"status": status, **named})

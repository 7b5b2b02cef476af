"""The tables of the lane file: units stand in the names, nothing unknown is accepted or converted."""

from __future__ import annotations

import dataclasses
import difflib
import json
import zoneinfo
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    SecretStr,
    WithJsonSchema,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from drivers.api import BoardOptions, DriverSpec, Options, PortalContacts, Role
from drivers.geometry import LaneGeometry
from station.domain.directives import Kind

Check = Literal["rpm", "scanner", "lpr", "ocr", "manifest"]
"""A check of the coverage record."""

Mode = Literal["real", "emulated"]
"""What stands behind a device's driver."""

ALIKE = 0.8
"""Likeness from which the name of a city is taken for a slip of the pen."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

_strict_geometry = dataclass(frozen=True, config=_STRICT)(LaneGeometry)
Geometry = Annotated[LaneGeometry, GetPydanticSchema(lambda _, handler: handler(_strict_geometry))]
"""The lane's own geometry type, read as strictly as the rest."""


class Table(BaseModel):
    """Base of every table."""

    model_config = ConfigDict(**_STRICT, frozen=True)


def _known_time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        zones = zoneinfo.available_timezones()
        if not zones:
            raise PydanticCustomError(
                "no_time_zones", "this computer has no time zones: install the package tzdata"
            ) from None
        raise PydanticCustomError(
            "unknown_time_zone",
            "must be a time zone of the IANA database",
            {"nearest": _nearest_zone(name, zones)},
        ) from None
    return name


def _nearest_zone(name: str, zones: Iterable[str]) -> str | None:
    """Return the zone of about this city, if there is one: the same continent is no likeness.

    Zones with a number are never proposed: Etc/GMT+1 is one hour behind Greenwich.
    """

    def likeness(zone: str) -> tuple[float, float]:
        pairs = ((place.rsplit("/", 1)[-1], zone.rsplit("/", 1)[-1]), (place, zone))
        city, whole = (difflib.SequenceMatcher(None, a, b.casefold()).ratio() for a, b in pairs)
        return city, whole

    place = name.casefold().replace(" ", "_")
    named = sorted(zone for zone in zones if not any(map(str.isdigit, zone)))
    best = max(named, key=likeness, default="")
    return best if likeness(best)[0] >= ALIKE else None


def _no_replay(mode: object) -> object:
    if isinstance(mode, str) and mode.startswith("replay"):
        raise PydanticCustomError(
            "replay",
            "this version cannot replay a recording; use 'real' or 'emulated' and give the file later",
        )
    return mode


StationId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$",
        description="1 to 32 of A–Z, a–z, 0–9, '.', '_' and '-', beginning with a letter or digit",
    ),
]
Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_-]{0,31}$",
        description="1 to 32 of a–z, 0–9, '_' and '-', beginning with a letter",
    ),
]
Words = Annotated[str, Field(max_length=80)]


_REFERENCE = {
    "type": "object",
    "properties": {"credential": {"type": "string"}},
    "required": ["credential"],
    "additionalProperties": False,
}
"""A secret as it is written: by the name of its credential."""


class LaneTable(Table):
    """``[lane]``: what this lane is and what an inspection on it needs."""

    id: StationId
    """Also the station's id on the feed; a state folder belongs to one id for ever."""
    name: Words = ""
    site: Words = ""
    direction: Literal["in", "out"]
    time_zone: Annotated[str, AfterValidator(_known_time_zone)]
    """Times are stored as UTC and shown in this zone."""
    officer: Annotated[str, Field(min_length=1, max_length=64)]
    """Who decides, until officers can sign in."""
    required: Annotated[tuple[Check, ...], Field(min_length=1)]
    """Checks without which an inspection is incomplete and never clear."""
    modulation: bool = False
    """Release waits for a green fiscal selection; nobody here may override a red or absent one."""
    port_salt: Annotated[SecretStr | None, Field(min_length=32), WithJsonSchema(_REFERENCE)] = None
    """A credential that all lanes of a port share: wait times name vehicles by a key made with it."""


class Consumer(Table):
    """``[[consumer]]``: a central system that polls the feed."""

    name: Name
    required: bool = True
    """Records are kept until every required consumer has acknowledged them."""
    blobs: bool = False
    """It takes blobs: those are kept until it has sent a receipt for each, if it is required too."""


class Issuer(Table):
    """``[[issuer]]``: a central system whose signed directives this lane obeys."""

    name: Name
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$", description="32 bytes in base64")]
    """Its Ed25519 public key."""
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)]
    """What it may send."""


class Simulation(Table):
    """``[simulation]``: what drives past the emulated devices."""

    scenario: Annotated[str, Field(min_length=1)] = "demo"
    seed: Annotated[int, Field(ge=0)] = 1
    rate: Annotated[float, Field(gt=0, le=20)] = 1.0
    """Speed of the lane's one clock against real time; 1 with any real device."""


class Device(Table):
    """``[[device]]``: one device; its role comes from its driver."""

    name: Name
    driver: Annotated[str, Field(min_length=1)]
    """Name of the driver's entry point."""
    mode: Annotated[Mode, BeforeValidator(_no_replay)]
    stale_after_s: Annotated[float | None, Field(gt=0, le=600)] = None
    """Silence after which readings are stale, instead of the limit of the device's role."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Checked by the driver's own model."""


@dataclasses.dataclass(frozen=True, slots=True)
class FittedDevice:
    """One device of the lane, its options checked by its driver's own model."""

    name: str
    spec: DriverSpec
    mode: Mode
    options: Options
    stale_after_s: float | None = None

    @property
    def role(self) -> Role:
        """What the device is to the lane."""
        return self.spec.role


def contact_portals(
    devices: Iterable[FittedDevice],
) -> Iterator[tuple[FittedDevice, str, PortalContacts]]:
    """Yield the portals whose contacts are wired to a board: the board, their name and their contacts."""
    for board in devices:
        for name, contacts in (
            board.options.portals.items() if isinstance(board.options, BoardOptions) else ()
        ):
            yield board, name, contacts


class Radiation(Table):
    """``[radiation]``: the station's second opinion on counts."""

    p_occ: Annotated[float, Field(gt=0, le=0.1)] = 1e-4
    """False alarms that the owner allows per occupancy of the design length."""
    design_length_s: Annotated[float, Field(ge=1, le=600)] = 10.0
    gb_averaging_s: Annotated[float, Field(gt=0, le=600)] = 1.0
    """Counting time behind one background record; more than the cadence means a running mean."""
    scanner_disturbs: bool = True
    """Whether a scanner at work may add to the portal's counts: false only where a measurement showed it."""
    s50_max_counts: Annotated[float | None, Field(gt=0, le=1e6)] = None
    """Net counts of one second that the gamma test must find in one of two cases behind the cargo that is
    there: where it needs more, "no alarm" is of low confidence. Without it this is not asked."""
    panel_distance_m: Annotated[float, Field(ge=0.5, le=10)] = 2.5
    """From the portal's panels to the lane's middle: how wide the peak of a point source is."""
    occupancy_lead_s: Annotated[float, Field(ge=0, le=5)] = 0.2
    """From the nose in the first beam to the arrival of the first scan record."""
    sigma_x_m: Annotated[float, Field(gt=0, le=5)] = 0.2
    """Standard error of a place along the vehicle by geometry alone: beams, panels, scan plane, nose."""


class Ui(Table):
    """``[ui]``: the officer's screen."""

    panel_diagonal_in: Annotated[float, Field(ge=10, le=65)] = 12.1
    """Diagonal of the touch panel in inches: sizes of keys are millimetres, not pixels."""


class Document(Table):
    """The whole file."""

    lane: LaneTable
    consumer: Annotated[tuple[Consumer, ...], Field(min_length=1)]
    issuer: tuple[Issuer, ...] = ()
    geometry: Geometry
    simulation: Simulation = Simulation()
    device: Annotated[tuple[Device, ...], Field(min_length=1)]
    radiation: Radiation = Radiation()
    ui: Ui = Ui()


def schema_text() -> str:
    """Return the JSON Schema of the lane file as it is committed in config/schema/."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Document.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"

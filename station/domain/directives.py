"""Directives: signed instructions of a central system, when they are in force, and which vehicle they mean.

    received ──▶ armed ──▶ closed
        └──────────────────▶ closed     withdrawn | superseded | expired | done | …

A legal hold of one time is spent between the two: it stops nobody, and its records are held till its end.

Each change of state is a record of the feed, and so is each hit. A higher version takes the place of a lower
one; a version that is over when it comes is the withdrawal. Signatures are checked before (station.api).
Armed means in force here: what no rule of this version obeys stays received. What a start cannot read is
unreadable until a newer version comes, its time is over, or a later start reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from station.domain.decision import Refused
from station.domain.identity import folded
from station.domain.lane_mode import LaneModeBody
from station.domain.manifest import ManifestBody, Mode
from station.domain.signed import DirectiveId, ListOf, Moment, Strict, Text, moment_us
from station.domain.trust import TrustBody

Action = Literal["hold", "secondary", "scan", "notify"]
HoldKind = Literal["lookout", "targeting", "export_control", "person", "legal"]
Closed = Literal["done", "withdrawn", "superseded", "expired", "not_applicable", "issuer_removed"]
DISCREET = frozenset({"person", "lookout", "targeting"})
"""Kinds of a hold that warn nobody outside the booth unless they say so."""
READABLE = ("plate",)
"""Keys that a reader of this version can give; a hold of others alone is armed and can never hit."""


class DirectiveConflict(Refused):
    """A version that is not newer, or the same one with another content; ``stored`` is the known one."""

    code = "version-conflict"

    def __init__(self, stored: int) -> None:
        """Keep the version for the answer."""
        super().__init__(f"Version {stored} of this directive is known already. Nothing was changed.")
        self.stored = stored


class Scope(Strict):
    """Where it applies; an empty list means everywhere."""

    ports: ListOf[Text] = ()
    modes: ListOf[Mode] = ()
    lanes: ListOf[Text] = ()
    directions: ListOf[Literal["in", "out"]] = ()


class HoldKeys(Strict):
    """What a vehicle is known by; at least one."""

    plate: Text | None = None
    container: Text | None = None
    trip_no: Text | None = None
    seal: Text | None = None
    tag: Text | None = None
    vin: Text | None = None
    rail_mark: Text | None = None
    hs6: Text | None = None
    party_ref: Text | None = None

    def given(self) -> dict[str, str]:
        """Return the keys that are given, as they are compared; letters and digits alone count."""
        known = self.model_dump(exclude_none=True)
        return {name: folded(text) for name, text in known.items()}

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any(self.given().values()):
            raise ValueError("at least one key must hold letters or digits")
        return self


class Notes(Strict):
    """What the officer is told, in both languages."""

    en: str = Field(default="", max_length=200)
    es: str = Field(default="", max_length=200)


class HoldBody(Strict):
    """Stop, refer, scan or tell of the vehicles that these keys name."""

    hold_kind: HoldKind
    authority: Text
    keys: HoldKeys
    match: Literal["any", "all"] = "any"
    action: Action
    notes: Notes = Notes()
    steps: ListOf[Annotated[str, Field(max_length=200)]] = ()
    ack_within_s: int = Field(default=60, ge=10, le=3600)
    """Seconds in which the officer says that the order was received; else the centre is told."""
    once: bool = False
    discreet: bool | None = None
    case_ref: Text | None = None

    @property
    def quiet(self) -> bool:
        """Whether nobody outside the booth may notice."""
        return self.hold_kind in DISCREET if self.discreet is None else self.discreet


class ReleaseBody(Strict):
    """The word of another authority about one inspection: a vote, the officer decides."""

    inspection_id: Text
    inspection_version: int = Field(ge=1, le=2**31)
    agency: Text
    verdict: Literal["release", "secondary", "hold"]
    modulation: Literal["red", "green"] | None = None
    """The fiscal selection, if this authority makes it."""
    integration_no: Text | None = None
    reasons: ListOf[Text] = ()
    officer_ref: Text | None = None


class Terms(Strict):
    """A directive as it is sent; its id is in the path."""

    version: int = Field(ge=1, le=2**31)
    issuer: Annotated[str, Field(pattern=r"^urn:carril:client:[a-z][a-z0-9_-]{0,31}$")]
    issued_at: Moment
    valid_from: Moment
    valid_to: Moment
    scope: Scope = Scope()
    sig: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]
    """Ed25519 over the canonical JSON of all else and ``id``, base64."""

    @property
    def from_us(self) -> int:
        """Return when it begins to be in force, UTC in microseconds."""
        return moment_us(self.valid_from)

    @property
    def to_us(self) -> int:
        """Return when it ends."""
        return moment_us(self.valid_to)

    @property
    def withdraws(self) -> bool:
        """Whether it was over when it was issued: a withdrawal, whatever this computer's clock says."""
        return self.to_us <= moment_us(self.issued_at)

    @model_validator(mode="after")
    def _has_a_time(self) -> Self:
        if self.to_us < self.from_us:
            raise ValueError("valid_to is before valid_from; of a withdrawal they may be equal")
        return self

    def signed(self) -> dict[str, Any]:
        """Return what the signature is over, as it was sent: what was left out stays out."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"sig"})

    def concerns(self, lane: str, direction: str, mode: str = "truck") -> bool:
        """Whether this lane is meant; a lane does not know its port's code, so each port may be its own."""
        scope = self.scope
        wanted = ((scope.lanes, lane), (scope.directions, direction), (scope.modes, mode))
        return all(not named or own in named for named, own in wanted)


class HoldTerms(Terms):
    """A hold as it is sent."""

    kind: Literal["hold"]
    body: HoldBody


class ManifestTerms(Terms):
    """A manifest as it is sent."""

    kind: Literal["manifest"]
    body: ManifestBody


class ReleaseTerms(Terms):
    """A vote as it is sent."""

    kind: Literal["release"]
    body: ReleaseBody


class TrustTerms(Terms):
    """A list of trusted traders as it is sent."""

    kind: Literal["trust"]
    body: TrustBody


class LaneModeTerms(Terms):
    """A lane's way of working as it is sent."""

    kind: Literal["lane_mode"]
    body: LaneModeBody


class HoldEnvelope(HoldTerms):
    """A hold as it is signed."""

    id: DirectiveId


class ManifestEnvelope(ManifestTerms):
    """A manifest as it is signed."""

    id: DirectiveId


class ReleaseEnvelope(ReleaseTerms):
    """A vote as it is signed."""

    id: DirectiveId


class TrustEnvelope(TrustTerms):
    """A list of trusted traders as it is signed."""

    id: DirectiveId


class LaneModeEnvelope(LaneModeTerms):
    """A lane's way of working as it is signed."""

    id: DirectiveId


Kind = Literal["hold", "manifest", "release", "trust", "lane_mode"]
KEPT = frozenset({"trust", "lane_mode"})
"""Kinds that are taken and kept, and that nothing here obeys yet."""
Envelope = HoldEnvelope | ManifestEnvelope | ReleaseEnvelope | TrustEnvelope | LaneModeEnvelope
"""A directive as it is signed; with ``id``, so that it cannot be sent under another name."""
_ENVELOPE: TypeAdapter[Envelope] = TypeAdapter(Annotated[Envelope, Field(discriminator="kind")])


def envelope_of(signed: Mapping[str, Any]) -> Envelope:
    """Return the directive in a signed object; raises ``pydantic.ValidationError``."""
    return _ENVELOPE.validate_python(signed)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An open directive whose envelope cannot be read, or is not what was received."""

    id: str
    version: int
    kind: str
    issuer: str
    """Empty: nobody can tell."""
    from_us: int
    to_us: int
    why: str
    told: bool
    """Whether the feed has it."""
    body: None = None


@dataclass(frozen=True, slots=True)
class Directive:
    """One version of a directive that is not closed: armed, or received only, or unreadable."""

    envelope: Envelope | Unreadable
    sha256: str
    """Of the canonical envelope: the same version with another one is a conflict."""
    keys: Mapping[str, str]
    """Keys of a hold, as they are compared."""
    plates: tuple[str, ...]
    """Plates that it names."""
    from_us: int
    to_us: int
    size: int
    """Bytes of the envelope as JSON."""
    armed: bool = False
    spent: bool = False
    """Whether it has named the one vehicle that it was for."""

    @classmethod
    def of(
        cls,
        envelope: Envelope | Unreadable,
        sha256: str,
        size: int,
        *,
        armed: bool = False,
        spent: bool = False,
    ) -> Directive:
        """Return it with what is asked often at hand."""
        body = envelope.body
        keys = body.keys.given() if isinstance(body, HoldBody) else {}
        plates = body.plates if isinstance(body, ManifestBody) else tuple(filter(None, [keys.get("plate")]))
        return cls(envelope, sha256, keys, plates, envelope.from_us, envelope.to_us, size, armed, spent)

    @property
    def obeyed(self) -> bool:
        """Whether it can be in force here, now or later."""
        if isinstance(self.envelope, Unreadable) or self.spent:
            return False
        return self.envelope.kind not in KEPT

    @property
    def next_us(self) -> int:
        """Return the moment at which time asks something of it."""
        return self.to_us if self.armed or not self.obeyed else self.from_us

    def names(self, plates: Collection[str]) -> tuple[str, ...]:
        """Return the keys of a hold that a vehicle with these plates has; empty: it is not meant.

        Every read counts, also one that the identity did not accept: a lookout must not fail for a low
        confidence.
        """
        found = tuple(name for name, text in self.keys.items() if name == "plate" and text in plates)
        whole = isinstance(self.envelope.body, HoldBody) and self.envelope.body.match == "all"
        return () if whole and len(found) < len(self.keys) else found

    def due(self, now_utc_us: int, *, synchronised: bool) -> Literal["wait", "arm", "expire"]:
        """Return what time asks of it.

        While the clock is not synchronised a hold is in force whatever it says: to stop a vehicle too many is
        the smaller fault. A manifest then agrees in part at best.
        """
        if synchronised and now_utc_us >= self.to_us:
            return "expire"
        begun = not synchronised or now_utc_us >= self.from_us
        return "arm" if begun and self.obeyed else "wait"


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal has of a directive: its newest version, and whose of which kind its id is."""

    version: int
    sha256: str
    issuer: str | None
    """``None``: an older station took it, and nobody can tell any more."""
    kind: str


def check_newer(known: Known | None, envelope: Envelope, sha256: str) -> bool:
    """Return whether this is a new version, ``False``: exactly the one that is known.

    Raises ``DirectiveConflict``, or ``Refused`` if the id is another's.
    """
    if known is None:
        return True
    if known.issuer is not None and (known.issuer, known.kind) != (envelope.issuer, envelope.kind):
        raise Refused("This id is that of another issuer's, or of another kind. Nothing was changed.")
    if envelope.version <= known.version and (envelope.version, sha256) != (known.version, known.sha256):
        raise DirectiveConflict(known.version)
    return envelope.version > known.version

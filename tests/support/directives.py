"""Directives as a central system sends them: the envelope of a year that never ends, and its signature."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from station.domain.directives import Envelope, Known, envelope_of
from station.lane.directives import PutDirective
from tests.support.lane_facts import ISSUER
from tests.support.lane_rig import Rig

MANIFEST: dict[str, Any] = {
    "source": "ace_truck",
    "trip_no": "SCAC12345",
    "mode": "truck",
    "direction": "in",
    "port": "2304",
    "conveyance": {"plate": "R4K7719"},
    "accepted_at": "2026-01-01T00:00:00Z",
}
"""Of the truck that the rig drives."""
SIG = "A" * 86 + "=="
"""Of the right form, and nobody's."""


_NOW = datetime.now(UTC)
OF_NOW = {
    name: f"{_NOW + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    for name, days in (("issued_at", 0), ("valid_to", 300))
}
"""Times that a station with a clock of today takes."""


def terms(kind: str, version: int = 1, **change: Any) -> dict[str, Any]:
    """A directive without id, body and signature, in force for years."""
    return {
        "kind": kind,
        "version": version,
        "issuer": ISSUER,
        "issued_at": "2026-01-01T00:00:00Z",
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_to": "2099-01-01T00:00:00Z",
        **change,
    }


def signed(name: str, key: Ed25519PrivateKey, sent: dict[str, Any]) -> dict[str, Any]:
    """The directive with its signature, which is over its id too, as a PUT carries it."""
    signature = key.sign(rfc8785.dumps({**sent, "id": name}))
    return {**sent, "sig": base64.b64encode(signature).decode()}


def public_text(key: Ed25519PrivateKey) -> str:
    """The public key as a lane file names it."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def envelope(name: str, *, kind: str, **change: Any) -> Envelope:
    """A directive as the lane gets it, its signature checked before; ``change`` has at least its body."""
    return envelope_of({"id": name, **terms(kind, **{"sig": SIG, **change})})


def put(rig: Rig, sent: Envelope, known: Known | None = None) -> Known:
    """Send it as the route does; return what the journal has of it then."""
    digest = hashlib.sha256(rfc8785.dumps(sent.signed())).hexdigest()
    whole = {**sent.signed(), "sig": SIG}
    rig.order(PutDirective(sent, digest, whole, len(rfc8785.dumps(whole)), known))
    return Known(sent.version, digest, sent.issuer, sent.kind)


def states(rig: Rig) -> list[tuple[str, int, str]]:
    """What the records say became of directives."""
    kinds = {f"carril.directive.{state}" for state in ("received", "armed", "spent", "unreadable", "closed")}
    return [
        (kind.rpartition(".")[2], data["directive_version"], data.get("how", ""))
        for _, kind, data in rig.records()
        if kind in kinds
    ]

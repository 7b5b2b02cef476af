"""Who the vehicle is: camera reads of one passage folded into one identity.

A read is evidence, not a decision, and a wrong accepted identity is worse than none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from station.domain.values import Identity, PlateIdentity

ACCEPT_CONFIDENCE = 0.90
"""Site limit at which one camera read counts as accepted when no rival was seen."""

_FOLD = str.maketrans({"O": "0", "Q": "0", "I": "1"})


@dataclass(frozen=True, slots=True)
class PlateEvidence:
    """One camera event of this passage; ``text`` is empty when nothing was read."""

    device: str
    text: str
    region: str
    confidence: float | None


def folded(text: str) -> str:
    """Return the key for comparing plates: uppercase alphanumerics, O and Q as 0, I as 1."""
    return re.sub(r"[^A-Z0-9]", "", text.upper()).translate(_FOLD)


def read_status(read: PlateEvidence) -> str:
    """Return what one read alone is worth: accepted, probable or unverified."""
    if not folded(read.text):
        return "unverified"
    sure = read.confidence is not None and read.confidence >= ACCEPT_CONFIDENCE
    return "accepted" if sure else "probable"


ReadStatus = Literal["accepted", "probable", "other"]
"""What a read is worth for naming a vehicle: its identity, or a read that its identity is not."""


def status_of(identity: Identity, text: str) -> ReadStatus:
    """Return what a plate that was read is worth beside what else was read of the vehicle."""
    plate = identity.plate
    if plate is None or folded(plate.text) != folded(text):
        return "other"
    return "accepted" if plate.status == "accepted" else "probable"


@lru_cache(maxsize=64)  # the lane asks at every step, and reads are few
def resolve(reads: tuple[PlateEvidence, ...]) -> Identity:
    """Fold the reads of one passage.

    Accepted: one sure read and no rival, or two devices that agree. A rival (another plate of the same
    passage) makes it probable. Reads without text leave it unverified; no reads at all: waiting.
    """
    if not reads:
        return Identity()
    texts = [read for read in reads if folded(read.text)]
    if not texts:
        return Identity(status="unverified")
    best = max(texts, key=lambda read: read.confidence or 0.0)
    keys = {folded(read.text) for read in texts}
    agreeing = {read.device for read in texts if folded(read.text) == folded(best.text)}
    accepted = len(keys) == 1 and (read_status(best) == "accepted" or len(agreeing) >= 2)
    status = "accepted" if accepted else "probable"
    plate = PlateIdentity.model_validate(
        {"text": best.text, "region": best.region, "status": status, "confidence": best.confidence}
    )
    return Identity.model_validate({"status": status, "plate": plate})

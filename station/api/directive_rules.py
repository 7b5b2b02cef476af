"""What a new directive must be besides sound and genuine: under a name of its own, and over some day.

An older one of this lane that is neither goes on, and can be withdrawn.
"""

from __future__ import annotations

import re

from fastapi.exceptions import RequestValidationError

from station.domain.directives import Envelope
from station.lane.core import LaneFacts

_INSPECTION = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_DAY = r"statistics\.\d{4}-\d\d-\d\d"


def check_name(envelope: Envelope, facts: LaneFacts) -> None:
    """Raise ``RequestValidationError`` if other records of this lane stand under this id."""
    others = {"lane", facts.lane_id, *(device.name for device in facts.devices)}
    if envelope.id in others or re.fullmatch(f"{_INSPECTION}|{_DAY}", envelope.id):
        rule = (
            "is what other records stand under: it must not be 'lane', the lane's or a device's name of the "
            "lane file, 'statistics.' and a day, or of the form of an inspection's id (a UUID)"
        )
        raise _wrong("id", rule)


def _wrong(field: str, rule: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": rule}])

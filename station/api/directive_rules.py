"""What a new directive must be besides sound and genuine: under a name of its own, and not endless.

What an older station took is under neither rule: it goes on, and can be withdrawn.
"""

from __future__ import annotations

import re

from fastapi.exceptions import RequestValidationError

from station.domain.directives import Envelope
from station.domain.signed import moment_us
from station.lane.core import LaneFacts

MAX_AHEAD_DAYS = 400
"""Longer than a year, so that an order can be renewed yearly and with time to spare."""
MAX_AHEAD_US = MAX_AHEAD_DAYS * 86_400 * 1_000_000
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


def check_end(envelope: Envelope, now_us: int | None) -> None:
    """Raise ``RequestValidationError`` if it is over too late; ``now_us``: UTC, ``None`` if nobody knows.

    What is over stays known until nothing of it could come to life again: that time must have an end.
    """
    moments = [moment_us(envelope.issued_at), *([] if now_us is None else [now_us])]
    if envelope.to_us > min(moments) + MAX_AHEAD_US:
        rule = (
            f"must not be more than {MAX_AHEAD_DAYS} days after issued_at, nor after now: send it again then"
        )
        raise _wrong("valid_to", rule)


def _wrong(field: str, rule: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": rule}])

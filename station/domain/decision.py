"""Why Release is not free: locks in words, computed on the server and only there.

A screen may add locks of its own (stale data, dead time), never remove one. Secondary is open to one
officer while Release is locked; Hold is always open.
"""

from __future__ import annotations

from dataclasses import dataclass

from station.domain.values import Level, Lock

SUPERVISOR_LEVELS = frozenset({Level.SECONDARY, Level.HOLD})


class Refused(Exception):
    """A command that the lane does not carry out; ``code`` names the problem type."""

    code = "refused"


class VersionConflict(Refused):
    """The inspection changed since the officer looked: nothing was done."""

    code = "version-conflict"


class ReleaseLocked(Refused):
    """The order is locked; ``locks`` say why."""

    code = "release-locked"

    def __init__(self, message: str, locks: tuple[Lock, ...] = ()) -> None:
        """Keep the locks for the answer."""
        super().__init__(message)
        self.locks = locks


class NotFound(Refused):
    """There is no such inspection, alarm or portal in the lane."""

    code = "not-found"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the locks depend on."""

    level: Level | None
    """``None``: there is no advice yet."""
    held: bool
    modulated: bool
    """The fiscal selection does not close Release: no supervisor may override it."""
    image_read: bool
    emergency: bool
    at_barrier: bool
    in_service: bool
    ordered: bool
    """A release or referral stands already, or is being written down."""


def release_locks(standing: Standing) -> tuple[Lock, ...]:
    """Return every lock on Release, the one to read first in front; empty: Release is free."""
    codes = []
    if not standing.in_service:
        codes.append("out_of_service")
    if standing.emergency or standing.level == Level.EMERGENCY:
        codes.append("emergency")
    if standing.ordered:
        codes.append("decided")
    elif standing.level is None:
        codes.append("measuring")
    if not standing.modulated:
        codes.append("modulation")
    if standing.held or standing.level in SUPERVISOR_LEVELS:
        codes.append("needs_supervisor")
    elif standing.level == Level.REVIEW_IMAGE and not standing.image_read:
        codes.append("read_image")
    if not standing.at_barrier:
        codes.append("vehicle_not_at_barrier")
    return tuple(Lock(code=code) for code in codes)

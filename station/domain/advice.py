"""What follows from an inspection: the inputs of the rules, and the locks on Release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station.domain.decision import Standing, release_locks
from station.domain.rules import Facts
from station.domain.values import Lock

if TYPE_CHECKING:
    from station.domain.inspection import Inspection


def facts(inspection: Inspection) -> Facts:
    """Return the frozen inputs of the rules."""
    return Facts(
        coverage=inspection.coverage,
        required=inspection.required,
        identity_status=inspection.identity.status,
        emergency=inspection.emergency,
        neutron=inspection.neutron,
        gamma=inspection.gamma,
        tamper=inspection.tamper,
        opinions=inspection.opinions,
        directed=inspection.directed,
    )


def locks(inspection: Inspection) -> tuple[Lock, ...]:
    """Return every lock on Release; a vehicle that is being measured once more has no advice to go by."""
    settled = inspection.advised and not inspection.checks.measuring
    return release_locks(
        Standing(
            level=inspection.recommendation.level if settled else None,
            held=inspection.held,
            modulated=inspection.directed.modulation is None,
            image_read=inspection.image_read,
            emergency=inspection.emergency,
            at_barrier=inspection.at_barrier,
            in_service=inspection.in_service,
            ordered=inspection.state == "aborted" or inspection.order is not None,
        )
    )


def visible(inspection: Inspection) -> tuple[object, ...]:
    """Return what its version counts the changes of."""
    checks = tuple(inspection.checks.known.items())
    advice = inspection.recommendation if inspection.advised else None
    stored = inspection.order is not None and inspection.order.seq is not None
    last = (inspection.flags, stored, inspection.withdrawn)
    return (inspection.state, checks, inspection.identity, advice, inspection.locks, *last)

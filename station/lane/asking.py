"""When the officer is asked to decide."""

from __future__ import annotations

from station.domain.events import DecisionRequested
from station.lane.core import Core


def ask(core: Core) -> None:
    """Ask the officer, and ask again whenever the advice changes or an order was taken back."""
    passage = core.passage
    if passage is None:
        return
    inspection = passage.inspection
    if inspection.state != "awaiting_decision" or inspection.order is not None:
        return
    advice = (inspection.recommendation, inspection.coverage, len(inspection.decisions))
    if passage.requested == advice:
        return
    passage.requested = advice
    core.tell(
        DecisionRequested,
        level=inspection.recommendation.level,
        reasons=inspection.recommendation.reasons,
        coverage=inspection.coverage,
        locks=inspection.locks,
        restarted=inspection.restarted,
    )

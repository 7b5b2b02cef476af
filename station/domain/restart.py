"""How an inspection that was open when the daemon ended comes back."""

from __future__ import annotations

from dataclasses import replace

from station.domain.inspection import Inspection
from station.domain.values import Check, CoverageState


def resume(found: Inspection, now_s: float) -> Inspection:
    """Return an inspection that was open when the daemon ended, as it comes back.

    What was measured stays; what cannot resume has failed (``station_restart``). Nothing opens by itself:
    an order whose barrier never moved must be given again, so it no longer stands.
    """
    checks = {
        name: _failed_if_waiting(check, "station_restart") if name in found.fitted else check
        for name, check in found.checks.items()
    }
    back = replace(
        found,
        checks=checks,
        running=set(),
        pending_work=0,
        restarted=True,
        opened_s=now_s,
        seen_s=now_s,
        booth_since_s=None,
        at_barrier=False,
        order=found.order if found.left_barrier else None,
        order_s=now_s if found.left_barrier else None,
        withdrawn=True,
    )
    if not back.left_barrier and not back.over:
        back.state = "awaiting_decision"
    back.version = found.version + 1
    return back


def _failed_if_waiting(check: Check, reason: str) -> Check:
    """Return ``check``, failed for ``reason`` if it was still waiting."""
    if check.state == CoverageState.WAITING:
        return Check(state=CoverageState.FAILED, reason=reason)
    return check

"""How an inspection that was open when the daemon ended comes back."""

from __future__ import annotations

from dataclasses import replace

from station.domain.inspection import Inspection
from station.domain.values import Verdict


def resume(found: Inspection, now_s: float) -> Inspection:
    """Return an inspection that was open when the daemon ended, as it comes back.

    What was measured stays; what cannot resume has failed (``station_restart``). Nothing opens by itself:
    an order whose barrier never moved must be given again, so it no longer stands.
    """
    referred = found.order is not None and found.order.verdict == Verdict.SECONDARY
    back = replace(
        found,
        held=found.held or (referred and not found.left_barrier),
        pending_work=0,
        restarted=True,
        opened_s=now_s,
        seen_s=now_s,
        booth_since_s=None,
        at_barrier=False,
        order=found.order if found.left_barrier else None,
        order_s=now_s if found.left_barrier else None,
        withdrawn=found.left_barrier,
    )
    back.checks = found.checks
    for check in [check for check, count in back.checks.running.items() if count > 0]:
        back.checks.doubt(check, "station_restart")
    back.checks.running.clear()
    for check in back.checks.waiting():
        back.checks.presume(check, "station_restart")
    if not back.left_barrier and back.state != "aborted":
        back.state = "awaiting_decision"
    back.version = found.version + 1
    return back

"""Snapshots of a lane with an order of the centre: for the looks of the screen, and for its words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from station.domain.directives import Notes
from station.domain.values import Level, Reason
from station.domain.view import DirectiveView, LaneView
from tests.browser.snapshots import alarm, alarm_gamma, fresh_id, lane, secondary, vehicle

NOTES = Notes(
    en="Cobalt-60 source declared for the other truck of this carrier; papers of this load are missing.",
    es="Fuente de cobalto-60 declarada en el otro camión del transportista; faltan papeles de esta carga.",
)
STEPS = (
    "Keep the vehicle at the barrier, engine off.",
    "Call the Customs desk, extension 4417.",
    "Give no reason to the driver.",
    "Wait for the escort before Secondary.",
)
LONG = Notes(en=("radioactive material " * 10)[:200], es=("material radiactivo " * 10)[:200])
AGENCY = "Joint Office of Licences for Dangerous Goods, South"
LONG_STEPS = (("Inspect each of the pallets " * 8)[:200], ("Escort the vehicle " * 11)[:200], "Seal it.")


def order(action: str = "secondary", **other: Any) -> DirectiveView:
    """Return an order that nobody has received."""
    told: dict[str, Any] = {
        "directive_id": fresh_id("H"),
        "version": 1,
        "hold_kind": "export_control",
        "action": action,
        "discreet": False,
        "authority": "Customs",
        "notes": NOTES,
        "steps": STEPS,
        "keys": ("plate",),
        "read": "probable",
        "alarm_id": None,
        "due_utc_us": time.time_ns() // 1000 + 43_000_000,
        "missed": False,
        "officer": None,
    }
    return DirectiveView(**{**told, **other})


def ordered(level: Level, *orders: DirectiveView, code: str | None = None, **other: Any) -> LaneView:
    """Return a vehicle at the barrier that is named, with the alarm that belongs to it."""
    reasons = tuple(
        Reason(
            rule="R3",
            code="directive_hit",
            args={"directive": o.directive_id, "action": o.action, "discreet": o.discreet},
        )
        for o in orders
    )
    truck = vehicle(level, ("needs_supervisor",), reasons=reasons, directives=orders)
    values = {"directive": orders[0].directive_id, "authority": orders[0].authority}
    priority = 1 if code == "hold_order" else 2
    raised = [alarm(code, truck, priority=priority, device=None, values=values, **other)] if code else []
    return lane(truck, *raised)


def order_secondary() -> LaneView:
    """To secondary: a band."""
    return ordered(Level.SECONDARY, order(), code="exam_order")


def order_seen() -> LaneView:
    """The same, received, and the alarm seen: the night may come back."""
    return ordered(Level.SECONDARY, order(officer="DEMO-1"), code="exam_order", state="ack")


def order_discreet() -> LaneView:
    """A hold that must warn nobody."""
    return ordered(Level.HOLD, order("hold", hold_kind="lookout", discreet=True))


def order_hold() -> LaneView:
    """A hold: it takes the screen over, its steps as tiles."""
    return ordered(Level.HOLD, order("hold", read="accepted"), code="hold_order")


def order_long() -> LaneView:
    """As long as a directive may be, twice, and nobody received the first in time."""
    long = order(notes=LONG, steps=LONG_STEPS, authority=AGENCY, read="other", missed=True)
    return ordered(Level.SECONDARY, long, order("notify", steps=()), code="exam_order", state="ack")


def order_hold_long() -> LaneView:
    """The same as a takeover."""
    long = order("hold", notes=LONG, steps=LONG_STEPS, authority=AGENCY, missed=True)
    return ordered(Level.HOLD, long, order(), code="hold_order", state="ack")


def order_broken() -> LaneView:
    """Together with all that may be missing of a passage."""
    seen = secondary()
    assert seen.inspection is not None
    truck = seen.inspection.model_copy(update={"directives": (order("scan", steps=()),)})
    return seen.model_copy(update={"inspection": truck})


def order_alarm() -> LaneView:
    """A discreet one of a vehicle with a gamma alarm: it takes the room of the steps."""
    seen = alarm_gamma()
    assert seen.inspection is not None
    truck = seen.inspection.model_copy(
        update={"directives": (order("hold", hold_kind="lookout", discreet=True),)}
    )
    return seen.model_copy(update={"inspection": truck})


ORDERS: dict[str, Callable[[], Any]] = {
    "order_secondary": order_secondary,
    "order_seen": order_seen,
    "order_discreet": order_discreet,
    "order_hold": order_hold,
    "order_long": order_long,
    "order_hold_long": order_hold_long,
    "order_broken": order_broken,
    "order_alarm": order_alarm,
    "viewer_order": order_seen,
    "menu_order": order_discreet,
    "stale_order": order_seen,
}
BY_DAY = {"order_secondary", "order_hold", "order_broken"}
"""Looks with an alarm that waits for somebody."""

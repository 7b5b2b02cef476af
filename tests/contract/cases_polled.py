"""The portals that are polled, under the contract that every driver keeps."""

from __future__ import annotations

from typing import Any

from drivers.contract import DriverCase
from drivers.rpm.aspect.driver import SPEC as ASPECT
from drivers.rpm.modbus.driver import SPEC as GENERIC
from tests.support.lane_places import APPROACH_S, CLEAN, lane
from tests.support.portal_map import KNOWN, WHOLE


def kind(reading: object) -> object:
    """Counts are of the moment; what kinds of readings come is not."""
    return type(reading).__name__


POLLED: dict[str, Any] = {
    "plant": lambda clock: lane(clock, CLEAN),
    "start_s": APPROACH_S - 0.5,
    "readings": 20,
    "junk_is_counted": False,  # the library drops what is no answer to its question
    "junk_ends_link": True,
    "cut_is_counted": False,  # half an answer is a poll that failed
    "replayable": False,
    "essence": kind,
    "in_order": False,
}

CASES = (
    DriverCase(name="aspect_modbus", spec=ASPECT, options=KNOWN, **POLLED),
    DriverCase(name="generic_modbus", spec=GENERIC, options={"map": WHOLE, **KNOWN}, **POLLED),
)

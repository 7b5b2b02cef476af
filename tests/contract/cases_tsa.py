"""The TSA portal under the contract that every driver keeps, over TCP and over a serial line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivers.contract import DriverCase
from drivers.rpm.tsa.driver import SPEC
from tests.support.lane_places import APPROACH_S, CLEAN, lane


def serial_line(place: int | str) -> Mapping[str, Any]:
    return {"serial_port": str(place), "baud": 19_200}


CASES = (
    DriverCase(
        name="tsa_tcp",
        spec=SPEC,
        plant=lambda clock: lane(clock, CLEAN),
        options={"detectors": ["ML", "MU", "SL", "SU"]},
        start_s=APPROACH_S - 0.5,
        readings=25,
    ),
    DriverCase(
        name="tsa_pty",
        spec=SPEC,
        plant=lambda clock: lane(clock, CLEAN),
        address=serial_line,
        start_s=APPROACH_S - 0.5,
        readings=25,
        serial=True,
        reads_on_connect=False,  # a line that is always plugged in knows of no connect
    ),
)

"""The line scanner under the driver contract."""

from __future__ import annotations

from drivers.contract import DriverCase
from drivers.scanner.linestream.driver import SPEC
from tests.support.scanner_lane import plant_with

CASES = [
    DriverCase(
        name="linestream",
        spec=SPEC,
        plant=plant_with(),
        junk_ends_link=True,
        cut_after=40_000,  # HELLO, DESCRIBE and STATUS are shorter: in the middle of LINES
    )
]

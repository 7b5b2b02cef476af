"""The GigE Vision camera under the driver contract."""

from __future__ import annotations

from drivers.contract import DriverCase
from drivers.scanner.gige.driver import SPEC
from tests.support.gige_lane import WITH_INPUTS
from tests.support.scanner_lane import plant_with

CASES = [DriverCase(name="gige_vision", spec=SPEC, plant=plant_with(), options=WITH_INPUTS)]

"""A radiation alarm keeps a full band of its own beside every other band, on every screen that exists."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from station.domain.view import LaneView
from tests.browser.fixture_server import Fixture, fixture_lane
from tests.browser.screen import Screen
from tests.browser.snapshots import alarm, lane, vehicle
from tests.browser.test_looks import CHECK_SCROLL, rested, to_view

pytestmark = pytest.mark.timeout(150)

SCREENS = ("lane", "viewer", "menu")
OTHERS = {"nothing": (), "P2": (2, "unack"), "P1": (1, "unack"), "P1 ended": (1, "rtn_unack")}
"""A second alarm, of tamper: rank and state."""
RADIATION = {"neutron_alarm": ("NEUTRON", "unack"), "gamma_alarm": ("GAMMA", "ack")}
LOST = "/try/.test(document.querySelector('.band')?.innerText)"

# A band of full height and width, wholly on the glass, nothing before it.
SEEN = """
[...document.querySelectorAll("SELECTOR")].some((band) => {
  const box = band.getBoundingClientRect();
  const points = [[0.3, 0.3], [0.3, 0.7], [0.5, 0.5]];
  return box.width > 0.9 * innerWidth && box.height >= HEIGHT && box.top >= 0 && box.bottom <= innerHeight
    && band.innerText.includes("WORDS") && points.every(([x, y]) =>
      band.contains(document.elementFromPoint(box.left + x * box.width, box.top + y * box.height)));
})
"""


def seen(selector: str, words: str, height: int) -> str:
    """Return the question whether such a band is wholly on the glass."""
    return SEEN.replace("SELECTOR", selector).replace("WORDS", words).replace("HEIGHT", str(height))


@dataclass(frozen=True, slots=True)
class Case:
    """Bands beside those of the link: which radiation alarm, which second alarm, whether SIMULATED."""

    radiation: str
    other: str
    simulated: bool

    def view(self) -> LaneView:
        """Return a lane with these bands."""
        truck = vehicle()
        alarms = [alarm(self.radiation, truck, state=RADIATION[self.radiation][1])]
        if OTHERS[self.other]:
            priority, state = OTHERS[self.other]
            alarms.append(alarm("tamper", truck, priority=priority, state=state, values={}))
        return lane(truck, *alarms, simulated=self.simulated)

    def faults(self, screen: Screen, link: str) -> Iterator[str]:
        """Look at each screen in turn; say which bands are missing on it, and what is cut."""
        words, state = RADIATION[self.radiation]
        wanted = {"radiation": seen(".alarm", words, 110)}
        if self.simulated:
            wanted["SIMULATED"] = seen(".sim", "SIMULATED", 20)
        if link != "live":
            wanted["stale"] = seen(".band", "No data", 56)
        if link == "lost":
            wanted["lost"] = seen(".band", "try", 56)
        if self.other == "P1" and state == "ack" and link == "live":
            wanted["second alarm"] = seen(".alarm", "CABINET OPEN", 110)
        elif self.other != "nothing":
            wanted["count of alarms"] = seen(".alarm", "+1 more", 110)
        for name in SCREENS:
            to_view(screen, name)
            rested(screen)
            missing = [band for band, question in wanted.items() if not screen.js(question)]
            yield from (f"{self}, {link}, {name}: {each}" for each in missing + screen.js(CHECK_SCROLL))


def test_radiation_has_its_own_band_beside_simulated_and_a_second_alarm(
    opened: Any, fixture: Fixture
) -> None:
    """Both radiation alarms, each rank and state of the second; a P1 that waits has its own band as well."""
    fixture.show(lane())
    screen = opened(fixture.url)
    faults: list[str] = []
    for case in [Case(*each) for each in itertools.product(RADIATION, OTHERS, (False, True))]:
        view = case.view()
        fixture.show(view)
        screen.until(f"window.heard.at(-1)?.alarms[0] === '{view.alarms[0].alarm_id}'")
        faults += case.faults(screen, "live")
    assert faults == [], "\n".join(faults)


def test_radiation_has_its_own_band_beside_old_data_and_a_lost_connection(opened: Any) -> None:
    """Stale and lost, each with SIMULATED, with a second alarm, and with both: then of the other alarm only its number is told."""
    cases = [
        Case("neutron_alarm", "nothing", simulated=True),
        Case("neutron_alarm", "P2", simulated=False),
        Case("gamma_alarm", "P1", simulated=True),
    ]
    faults: list[str] = []
    with contextlib.ExitStack() as lanes:
        fixtures = [lanes.enter_context(fixture_lane(case.view())) for case in cases]
        screens = [opened(fixture.url) for fixture in fixtures]
        for fixture in fixtures:
            fixture.silent = True
        for link, sign in (("stale", "!!document.querySelector('.band')"), ("lost", LOST)):
            for case, screen in zip(cases, screens, strict=True):
                screen.until(sign)
                faults += case.faults(screen, link)
        for screen in screens:
            screen.page.context.close()  # before its lane goes
    assert faults == [], "\n".join(faults)

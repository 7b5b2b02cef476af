"""Fingers on the glass: one press at a time, and no press outlives what it was meant for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.fixture_server import Fixture
from tests.browser.screen import Screen
from tests.browser.snapshots import alarm, clear, decided, lane, vehicle

RELEASE, ACK = ".bar .release", ".alarm .ack"
ACK_FREE = f"document.querySelector('{ACK}')?.getAttribute('aria-disabled') === 'false'"
QUIET_MS = 300
"""Longer than an order needs from the glass to this station."""

pytestmark = pytest.mark.timeout(150)


def orders(screen: Screen, fixture: Fixture, count: int) -> list[Any]:
    """Wait for so many orders, and a moment for one too many; return their verdicts."""
    for _ in range(200):
        if len(fixture.orders) >= count:
            break
        screen.page.wait_for_timeout(20)
    screen.page.wait_for_timeout(QUIET_MS)
    return [order["verdict"] for order in fixture.orders]


@pytest.fixture
def screen(opened: Any, fixture: Fixture) -> Screen:
    """A screen whose Release is free."""
    fixture.show(clear())
    screen: Screen = opened(fixture.url)
    screen.until_release_free()
    fixture.orders.clear()
    fixture.acknowledged.clear()
    return screen


def test_a_second_finger_is_ignored_while_the_first_is_down(screen: Screen, fixture: Fixture) -> None:
    """It comes and goes, or stays longer than the first: the first alone decides, once."""
    for other in ("release", "secondary", "hold"):
        fixture.orders.clear()
        truck = vehicle()
        fixture.show(lane(truck))
        screen.until_shows(truck.inspection_id)
        screen.until_release_free()
        first, (x, y) = screen.middle(RELEASE), screen.middle(f".bar .{other}")
        second = (x + 40, y)
        screen.finger("Start", first)
        screen.finger("Start", second, 2)
        screen.finger("End", second, 2)
        assert orders(screen, fixture, 0) == [], f"{other}: a finger that lifts beside the first decides"
        screen.finger("Start", second, 2)
        screen.finger("End", first)
        screen.finger("End", second, 2)
        assert orders(screen, fixture, 1) == ["release"], other


def test_a_finger_that_slid_off_decides_nothing(screen: Screen, fixture: Fixture) -> None:
    """Even if it comes back before it lifts; then the glass is free again."""
    x, y = screen.middle(RELEASE)
    screen.finger("Start", (x, y))
    screen.finger("Move", (x - 350, y))
    screen.finger("Move", (x, y))
    screen.finger("End", (x, y))
    assert orders(screen, fixture, 0) == []
    screen.touch(RELEASE)
    assert orders(screen, fixture, 1) == ["release"]


def test_a_double_tap_is_one_release(screen: Screen, fixture: Fixture) -> None:
    """Also while the answer to the first tap is not there yet."""
    fixture.mute = True
    try:
        screen.touch(RELEASE)
        screen.touch(RELEASE)
        assert orders(screen, fixture, 1) == ["release"]
    finally:
        fixture.mute = False


def test_hold_works_after_its_neighbour_vanished_under_a_finger(screen: Screen, fixture: Fixture) -> None:
    """Another place decides while a finger rests on Release: the button goes, and no other one is dead."""
    at = screen.middle(RELEASE)
    screen.finger("Start", at)
    fixture.show(decided())
    screen.until(f"!document.querySelector('{RELEASE}')")
    screen.finger("End", at)
    screen.touch(".bar .hold")
    assert orders(screen, fixture, 1) == ["hold"]


def test_a_press_on_acknowledge_is_for_the_alarm_that_was_under_the_finger(
    screen: Screen, fixture: Fixture
) -> None:
    """Another place acknowledges it meanwhile, and the next alarm takes the band: that one stays unseen."""
    truck = vehicle()
    neutron, gamma = alarm("neutron_alarm", truck), alarm("gamma_alarm", truck)
    fixture.show(lane(truck, neutron, gamma))
    screen.until(ACK_FREE)
    at = screen.middle(ACK)
    screen.finger("Start", at)
    fixture.show(lane(truck, neutron.model_copy(update={"state": "ack"}), gamma))
    screen.until("document.querySelector('.alarm h2').innerText.startsWith('GAMMA')")
    screen.finger("End", at)
    screen.touch(ACK)  # and the second of two taps
    screen.page.wait_for_timeout(QUIET_MS)
    assert fixture.acknowledged == []
    screen.until(ACK_FREE)
    screen.touch(ACK)
    screen.page.wait_for_timeout(QUIET_MS)
    assert fixture.acknowledged == [gamma.alarm_id]

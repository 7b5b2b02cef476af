"""The portal's day in the technician's menu: by finger, by key, on days that are there and on those that are not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.browser.day import GONE, NOW
from tests.browser.fixture_server import Fixture
from tests.browser.screen import Screen
from tests.browser.snapshots import clear, free

MENU, TREND = ".header .buttons button:nth-child(2)", ".choices button:nth-child(5)"
TOLD = "document.querySelector('.plots .told').innerText"
BEFORE, AFTER, EARLIER, LATER, CHANNEL = (f".tools button:nth-child({number})" for number in (2, 3, 4, 5, 6))


@pytest.fixture
def trend(opened: Any, fixture: Fixture) -> Iterator[Screen]:
    fixture.show(free())
    fixture.days.clear()
    screen = opened(fixture.url)
    screen.tap(MENU)
    screen.until("document.querySelector('.choices')")
    screen.tap(TREND)
    screen.until(f"{TOLD}.includes('{40 + NOW} occupancies')")
    yield screen
    fixture.trimmed = False


def today(less: int = 0) -> str:
    return f"{datetime.now(UTC) - timedelta(days=less):%Y-%m-%d}"


def legend(screen: Screen, row: int) -> str:
    return str(screen.js(f"document.querySelectorAll('.plots .legend')[{row}].innerText")).replace("\n", " ")


def dark(row: int, hour: int) -> str:
    """Return what counts the dark pixels of a plot in an hour."""
    return f"""
    (() => {{
      const canvas = document.querySelectorAll(".plot canvas")[{row}];
      const [wide, tall] = [canvas.width / 24, canvas.height];
      const found = canvas.getContext("2d").getImageData(wide * {hour} + 4, 0, wide - 8, tall).data;
      let dark = 0;
      for (let i = 0; i < found.length; i += 4) if (found[i] < 60 && found[i + 3] > 200) dark += 1;
      return dark;
    }})()"""


def test_it_shows_the_day_of_now_and_the_last_hour(trend: Screen, fixture: Fixture) -> None:
    assert fixture.days == [(today(), "simulated")]
    told = trend.js(TOLD)
    assert f"{today()} UTC, {NOW}–{NOW + 1} h" in told
    assert "day not over" in told
    assert "not all of it recorded" in told
    assert "ML 615" in legend(trend, 0)
    assert "SU 1.6" in legend(trend, 1) or "SU 1.5" in legend(trend, 1)
    assert "95 % of them 0.27" in legend(trend, 2)
    label = trend.js("document.querySelectorAll('.plot canvas')[0].getAttribute('aria-label')")
    assert label.startswith("Background, counts per second: ML 615")


def test_an_hour_without_a_station_is_a_gap_and_no_zero(trend: Screen) -> None:
    for row in range(3):
        trend.until(f"{dark(row, GONE - 1)} > 20")
        assert trend.js(dark(row, GONE)) == 0
    x, y = trend.middle(".plot >> nth=1")
    width = trend.js("document.querySelector('.plot').getBoundingClientRect().width")
    left = x - width / 2
    trend.page.mouse.click(left + width * (GONE + 0.5) / 24, y)
    trend.until(f"{TOLD}.includes('{GONE}–{GONE + 1} h: nothing recorded')")
    assert "ML –" in legend(trend, 0)


def test_a_finger_and_the_keys_choose_the_hour(trend: Screen) -> None:
    trend.touch(".plot >> nth=0")  # the middle: 12 h
    trend.until(f"{TOLD}.includes('12–13 h: 52 occupancies')")
    trend.touch(EARLIER)
    trend.until(f"{TOLD}.includes('11–12 h')")
    trend.page.focus(LATER)
    trend.page.keyboard.press("Enter")
    trend.page.keyboard.press(" ")
    trend.until(f"{TOLD}.includes('13–14 h')")
    trend.page.keyboard.press("Escape")
    trend.until("!document.querySelector('.plots')")


def test_another_day_and_the_other_channel(trend: Screen, fixture: Fixture) -> None:
    assert trend.js(f"document.querySelector('{AFTER}').getAttribute('aria-disabled')") == "true"
    trend.tap(BEFORE)
    trend.until(f"{TOLD}.includes('{today(1)} UTC')")
    trend.tap(AFTER)
    trend.until(f"{TOLD}.includes('{today()} UTC') && {TOLD}.includes('{40 + NOW} occupancies')")
    assert [day for day, _ in fixture.days] == [today(), today(1), today()]
    trend.tap(CHANNEL)
    trend.until(f"{TOLD}.includes('Neutrons')")
    trend.until("document.querySelector('.plots .legend').innerText.includes('ML 1.0')")


def test_a_removed_day_says_so_and_shows_no_number(trend: Screen, fixture: Fixture) -> None:
    fixture.trimmed = True
    trend.tap(BEFORE)
    trend.until(f"{TOLD}.includes('removed')")
    trend.until(f"{dark(0, NOW)} === 0")
    trend.errors.clear()  # the browser tells of the 410 that the test asked for


def test_the_decision_bar_stays_where_it_was(trend: Screen, fixture: Fixture) -> None:
    bar = "JSON.stringify(document.querySelector('.bar').getBoundingClientRect())"
    before = trend.js(bar)
    fixture.show(clear())
    trend.until_release_free()
    assert trend.js(bar) == before
    assert trend.js("!!document.querySelector('.plots')"), "a vehicle takes the page from nobody"

"""The band of a hot spot stands where it must: on the radiograph, on both strips and under them, to the pixel."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import pytest

from station.domain.norm import NORM
from station.domain.values import HotSpot, Unlocated
from station.domain.view import InspectionView, LaneView
from tests.browser.fixture_server import PX_MM, Fixture
from tests.browser.screen import Screen
from tests.browser.snapshots import alarm_gamma, alarm_neutron, clear, hot_spot, lane, vehicle
from tests.browser.test_looks import rested, words

CARGO_M = (1000 - 120) * PX_MM / 1000
"""Where the drawn truck's cargo begins behind its nose."""

# Middles of the yellow stripes in one row of a canvas, CSS pixels of the window; the hatch of what is not
# penetrated is yellow too, and stands lower.
YELLOW = """
((selector, share) => {
  const canvas = document.querySelector(selector);
  const box = canvas.getBoundingClientRect();
  const ratio = canvas.width / box.width;
  const row = canvas.getContext("2d").getImageData(0, Math.round(canvas.height * share), canvas.width, 1).data;
  const found = [];
  let from = null;
  for (let x = 0; x <= canvas.width; x += 1) {
    const [r, g, b] = row.slice(4 * x, 4 * x + 3);
    const yellow = x < canvas.width && r > 230 && g > 190 && b < 110;
    if (yellow && from === null) from = x;
    if (!yellow && from !== null) {
      found.push(box.left + (from + x) / 2 / ratio);
      from = null;
    }
  }
  return found;
})
"""

# Where the drawn cargo begins: the first dark pixel behind the gap between cab and cargo.
CARGO = """
(() => {
  const canvas = document.querySelector(".picture canvas");
  const box = canvas.getBoundingClientRect();
  const ratio = canvas.width / box.width;
  const y = Math.round(canvas.height * 0.3);
  const row = canvas.getContext("2d").getImageData(0, y, canvas.width, 1).data;
  let light = false;
  for (let x = 0; x < canvas.width; x += 1) {
    if (light && row[4 * x] < 128) return box.left + x / ratio;
    light ||= row[4 * x] > 128;
  }
  return 0;
})()
"""

# The map as the axis tells it: pixels of the window at 0 m, and pixels per metre.
AXIS = """
(() => {
  const marks = [...document.querySelectorAll(".axis span")].map((mark) =>
    [parseFloat(mark.innerText), mark.getBoundingClientRect()]);
  const at = ([m, box]) => [m, box.left + box.width / 2];
  const [[m0, x0], [m1, x1]] = [at(marks[1]), at(marks.at(-1))];
  const perM = (x1 - x0) / (m1 - m0);
  return [x0 - m0 * perM, perM];
})()
"""


def with_spots(*spots: HotSpot) -> LaneView:
    known = vehicle()
    radiation = known.radiation.model_copy(update={"hot_spots": spots})
    return lane(known.model_copy(update={"radiation": radiation}))


def shown(screen: Screen, fixture: Fixture, view: LaneView) -> InspectionView:
    fixture.show(view)
    assert view.inspection is not None
    screen.until_shows(view.inspection.inspection_id)
    screen.until(f"({CARGO}) > 0")
    return view.inspection


def edges(screen: Screen, selector: str, share: float) -> list[float]:
    rested(screen)
    found: list[float] = screen.js(f"({YELLOW})({json.dumps(selector)}, {share})")
    return found


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
@pytest.mark.parametrize("large", [False, True])
def test_the_band_stands_at_the_same_place_on_all_parts(
    opened: Callable[..., Screen], fixture: Fixture, width: int, height: int, large: bool
) -> None:
    """One edge is where the drawn cargo begins: the metres of the record are the metres of the image."""
    fixture.show(clear())
    screen = opened(fixture.url, width, height)
    plain = shown(screen, fixture, clear())
    assert plain.radiation.hot_spots == ()
    if large:
        screen.tap(".picture")
        screen.until("document.querySelector('.tools')")
    screen.until(f"({CARGO}) > 0")
    cargo = screen.js(CARGO)
    assert edges(screen, ".picture canvas", 0.15) == [], "no yellow without a hot spot"
    shown(screen, fixture, with_spots(hot_spot("gamma", CARGO_M + 0.8, 0.4)))
    screen.until("document.querySelector('.axis b')")
    screen.until(f"({YELLOW})('.picture canvas', 0.15).length === 2")
    left, right = edges(screen, ".picture canvas", 0.15)
    zero, per_m = screen.js(AXIS)
    assert left == pytest.approx(cargo, abs=1.5)
    assert (right - left) / per_m == pytest.approx(1.6, abs=1.5 / per_m)
    assert left == pytest.approx(zero + CARGO_M * per_m, abs=1.5)
    for strip in (".strip canvas", ".strip ~ .strip canvas"):
        assert edges(screen, strip, 0.5) == pytest.approx([left, right], abs=1)
    box = screen.js(
        "(() => { const b = document.querySelector('.axis b').getBoundingClientRect(); return [b.left, b.right]; })()"
    )
    assert (box[0] + box[1]) / 2 == pytest.approx((left + right) / 2, abs=2)
    assert "γ 3.7–5.3 m" in screen.text()


def test_strips_that_are_not_aligned_have_no_band(opened: Callable[..., Screen], fixture: Fixture) -> None:
    """Without a map from time to metres a band would stand anywhere."""

    def timed(page: Any) -> None:
        def answer(route: Any) -> None:
            body = route.fetch().json()
            body["gamma"]["s_m"] = body["neutron"]["s_m"] = None
            route.fulfill(json=body)

        page.route("**/profile", answer)

    fixture.show(with_spots(hot_spot("gamma", 6.0, 0.4)))
    screen = opened(fixture.url, before=timed)
    screen.until("document.querySelector('.caption').innerText.includes('Not aligned')")
    screen.until(f"({CARGO}) > 0")
    assert edges(screen, ".picture canvas", 0.15) == []
    assert screen.js("document.querySelector('.axis b')") is None


def test_spread_goods_show_how_far_and_cover_nothing(opened: Callable[..., Screen], fixture: Fixture) -> None:
    fixture.show(alarm_gamma())
    screen = opened(fixture.url)
    screen.until("document.querySelector('.axis b')")
    screen.until(f"({CARGO}) > 0")
    assert edges(screen, ".picture canvas", 0.25) == [], "no line crosses the goods"
    zero, per_m = screen.js(AXIS)
    wanted = [zero + m * per_m for m in (9.4 - 5.6, 9.4 + 5.6)]
    assert edges(screen, ".strip canvas", 0.5) == pytest.approx(wanted, abs=1.5)
    assert "Source spread over 3.8–15.0 m behind the nose" in screen.text()
    assert "by chance once in 10,000 empty trucks" in screen.text()
    advice = screen.js("document.querySelector('.advice').innerText")
    assert "Gamma alarm" not in advice, "the band says it"
    assert "Declared tiles (6907): consistent with NORM, still verify" in screen.text().replace("\n", " ")


def test_who_does_not_see_the_band_hears_it(opened: Callable[..., Screen], fixture: Fixture) -> None:
    fixture.show(alarm_neutron())
    screen = opened(fixture.url)
    screen.until("document.querySelector('.axis b')")
    said = "neutrons: Source 5.3–7.5 m behind the nose"
    for part in ("button.picture", ".picture canvas", ".strip ~ .strip canvas"):
        assert said in screen.js(f"document.querySelector({json.dumps(part)}).getAttribute('aria-label')")
    assert said not in screen.js("document.querySelector('.strip canvas').getAttribute('aria-label')")
    labels = screen.js("[...document.querySelectorAll('.axis b')].map((b) => b.innerText)")
    assert sorted(labels) == ["n 5.3–7.5 m", "γ 5.7–7.3 m ?", "γ 9.1–10.7 m ?"]
    boxes = screen.js(
        "[...document.querySelectorAll('.axis b')].map((b) => b.getBoundingClientRect()).map((b) => [b.left, b.right])"
    )
    boxes.sort()
    assert all(before[1] <= after[0] + 0.5 for before, after in pairwise(boxes))


def test_the_screen_has_words_for_all_that_may_be_said_of_a_place() -> None:
    kinds = get_args(Unlocated.model_fields["kind"].annotation)
    assert set(get_args(Unlocated.model_fields["why"].annotation)) <= set(words("unlocated"))
    assert set(kinds) <= set(words("channel"))
    assert set(NORM.values()) <= set(words("norm"))


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_reason_for_no_place_has_room(
    opened: Callable[..., Screen], fixture: Fixture, language: str
) -> None:
    """In the band of an alarm, with the longest numbers beside it."""
    fixture.show(alarm_gamma())
    screen = opened(fixture.url)
    if language == "es":
        screen.tap(".header .buttons button:nth-child(1)")
    cut = []
    for why in words("unlocated"):
        view = alarm_gamma()
        assert view.inspection is not None
        nowhere = (Unlocated.model_validate({"kind": "gamma", "why": why}),)
        radiation = view.inspection.radiation.model_copy(update={"hot_spots": (), "unlocated": nowhere})
        truck = view.inspection.model_copy(update={"radiation": radiation})
        fixture.show(view.model_copy(update={"inspection": truck}))
        screen.until_shows(truck.inspection_id)
        screen.until("!document.querySelector('.axis b') && !!document.querySelector('.alarm')")
        faults = screen.js(
            "[...document.querySelectorAll('.alarm .cut')].filter((p) => p.scrollWidth > p.clientWidth + 1).length"
        )
        cut += [why] if faults else []
    assert cut == []

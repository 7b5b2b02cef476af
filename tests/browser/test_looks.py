"""Every look of the screen: readable by everybody, nothing cut, in both languages, by day and by night."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.fixture_server import DIST, Fixture
from tests.browser.screen import Screen
from tests.browser.snapshots import (
    alarm_gamma,
    alarm_neutron,
    clear,
    decided,
    free,
    review,
    scanning,
    secondary,
)

pytestmark = pytest.mark.soak  # open: contrast of the SIMULATED band at 1920, wide numbers in the rail

WEB = DIST.parent
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
SIZES = ((1280, 800), (1920, 1080))
LOOKS: dict[str, Callable[[], Any]] = {
    "free": free,
    "scanning": scanning,
    "clear": clear,
    "review": review,
    "secondary": secondary,
    "alarm_neutron": alarm_neutron,
    "alarm_gamma": alarm_gamma,
    "decided": decided,
    "viewer": review,
    "stale": clear,
}
ALWAYS_DAY = {"alarm_neutron", "secondary"}
"""An alarm waits for somebody: the screen lights up, whatever was wished."""

CHECK_AXE = """
axe.run(document, {resultTypes: ["violations", "incomplete"]}).then((found) => [
  ...found.violations,
  ...found.incomplete.filter((rule) => rule.id === "color-contrast"),
].flatMap((rule) => rule.nodes.map((node) =>
  `${rule.id}: ${node.target.join(" ")} ${node.any[0]?.message ?? ""}`)))
"""

CHECK_SCROLL = """
[...document.querySelectorAll("body, body *")].filter((element) => {
  if (element.closest("svg") || getComputedStyle(element).display === "inline") return false;
  if (element.matches(".unseen")) return false;  // for screen readers: one pixel by design
  const cut = getComputedStyle(element).textOverflow === "ellipsis";
  return element.scrollHeight > element.clientHeight + 1
    || (element.scrollWidth > element.clientWidth + 1 && !cut);
}).map((element) => `${element.tagName}.${element.className}: ${element.scrollWidth}x${element.scrollHeight} in `
  + `${element.clientWidth}x${element.clientHeight} "${(element.textContent ?? "").slice(0, 40)}"`)
"""

CHECK_NUMBERS = r"""
(() => {
  const split = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (const found of node.data.matchAll(/\d[\d.,:  ]*\d/g)) {
      const range = document.createRange();
      range.setStart(node, found.index);
      range.setEnd(node, found.index + found[0].length);
      const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      if (lines.size > 1) split.push(`${found[0]} in "${node.data.slice(0, 60)}"`);
    }
  }
  return split;
})()
"""


@pytest.fixture(scope="module")
def page(browser: Any, fixture: Fixture) -> Iterator[Screen]:
    """One screen for all looks, with axe beside it."""
    from tests.browser.screen import open_screen

    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `npm ci` in station/web")
    screen = open_screen(browser, fixture.url, *SIZES[0])
    screen.js(AXE.read_text(encoding="utf-8") + ";undefined")
    yield screen
    screen.page.context.close()
    assert screen.errors == []


def to_look(screen: Screen, fixture: Fixture, look: str) -> None:
    """Bring the screen to a look, wherever it was."""
    view = LOOKS[look]()
    vehicle = view.inspection.inspection_id if view.inspection else None
    if fixture.silent:
        fixture.silent = False
        screen.until("!document.querySelector('.band')")
    fixture.show(view)
    screen.until_shows(vehicle)
    screen.page.keyboard.press("Escape")
    if look == "viewer":
        screen.tap(".picture")
        screen.until("document.querySelector('.tools')")
    if look == "clear":
        screen.until_release_free()
    if look == "stale":
        fixture.silent = True
        screen.until("document.querySelector('.band')")


def dress(screen: Screen, language: str, night: bool, size: tuple[int, int]) -> None:
    """Choose language, light and size as a person would."""
    if screen.js("document.documentElement.lang") != language:
        screen.tap(".header .buttons button:nth-child(1)")
        screen.until(f"document.documentElement.lang === '{language}'")
    screen.page.set_viewport_size({"width": size[0], "height": size[1]})
    if (screen.js("document.documentElement.dataset.theme") == "night") != night:
        # The menu's second choice; then back to where we were.
        viewer = screen.js("document.querySelector('.tools') !== null")
        screen.tap(".header .buttons button:nth-child(2)")
        screen.until("document.querySelector('.choices')")
        screen.tap(".choices button:nth-child(2)")
        screen.until(f"document.documentElement.dataset.theme === '{'night' if night else 'day'}'")
        screen.page.keyboard.press("Escape")
        if viewer:
            screen.tap(".picture")
            screen.until("document.querySelector('.tools')")
    screen.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_is_readable_and_whole(look: str, page: Screen, fixture: Fixture) -> None:
    """Axe finds nothing, nothing scrolls, no number stands on two lines."""
    to_look(page, fixture, look)
    faults = []
    lights = (False,) if look in ALWAYS_DAY else (False, True)
    for night in lights:
        for size in SIZES:
            for language in ("en", "es"):
                dress(page, language, night, size)
                found = page.js(CHECK_AXE) + page.js(CHECK_SCROLL) + page.js(CHECK_NUMBERS)
                faults += [f"{language} {'night' if night else 'day'} {size[0]}: {each}" for each in found]
    dress(page, "en", False, SIZES[0])
    assert faults == [], "\n".join(faults)


def test_an_alarm_that_waits_ends_the_night(page: Screen, fixture: Fixture) -> None:
    to_look(page, fixture, "clear")
    dress(page, "en", True, SIZES[0])
    to_look(page, fixture, "alarm_neutron")
    page.until("document.documentElement.dataset.theme === 'day'")
    to_look(page, fixture, "clear")
    page.until("document.documentElement.dataset.theme === 'night'")
    dress(page, "en", False, SIZES[0])


def test_the_look_check_sees_what_it_must(page: Screen, fixture: Fixture) -> None:
    """Grey on grey, a box too small and a number on two lines are found."""
    to_look(page, fixture, "free")
    page.js(
        "document.body.insertAdjacentHTML('beforeend', `<div id='bad'><p>grey</p><b>1 250</b></div>`);"
        "document.querySelector('#bad').style.cssText = 'position:fixed;left:0;top:0;width:9px;height:9px;"
        "overflow:hidden;background:#888;color:#999';"
    )
    try:
        assert any("#bad" in each for each in page.js(CHECK_AXE))
        assert any("9x9" in each for each in page.js(CHECK_SCROLL))
        assert page.js(CHECK_NUMBERS)
    finally:
        page.js("document.querySelector('#bad').remove()")


def test_the_screen_speaks_to_its_own_station_only(opened: Any, fixture: Fixture) -> None:
    fixture.show(alarm_neutron())
    screen = opened(fixture.url)
    screen.until("document.querySelector('.alarm')")
    fixture.show(clear())
    screen.until_release_free()
    foreign = [url for url in screen.requests if not url.startswith((screen.origin, "data:", "blob:"))]
    assert foreign == []
    assert len(screen.policies) == 1
    policy = screen.policies[0] or ""
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy


def test_both_languages_say_everything() -> None:
    """Equal keys and placeholders, every key known, no literal text in the parts."""
    done = subprocess.run(["node", "scripts/check-text.mjs"], cwd=WEB, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

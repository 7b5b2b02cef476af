"""Every look of the screen: readable by everybody, nothing cut, in both languages, by day and by night."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

import pytest

from station.domain.alarms import PRIORITY
from station.domain.values import Check, CoverageState, Level, Reason, Verdict
from station.domain.view import CentreView, DeviceView, LaneView
from tests.browser.fixture_server import DIST, Fixture
from tests.browser.orders import BY_DAY, ORDERS
from tests.browser.screen import Screen
from tests.browser.snapshots import (
    alarm,
    alarm_ended,
    alarm_gamma,
    alarm_left,
    alarm_neutron,
    alarm_two,
    clear,
    coverage,
    decided,
    free,
    held,
    image_read,
    lane,
    officer,
    review,
    scan,
    scanner_lost,
    scanning,
    secondary,
    vehicle,
)

pytestmark = pytest.mark.timeout(150)  # a look is taken in six dresses, on a busy machine slowly

WEB = DIST.parent
MENU, NIGHT = ".header .buttons button:nth-child(2)", ".choices button:nth-child(2)"
TREND = ".choices button:nth-child(5)"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
SIZES = ((1280, 800), (1920, 1080))
LOOKS: dict[str, Callable[[], Any]] = {
    "free": free,
    "scanning": scanning,
    "clear": clear,
    "review": review,
    "secondary": secondary,
    "held": held,
    "officer": officer,
    "decided": decided,
    "alarm_neutron": alarm_neutron,
    "alarm_gamma": alarm_gamma,
    "alarm_ended": alarm_ended,
    "alarm_two": alarm_two,
    "alarm_left": alarm_left,
    "image_read": image_read,
    "scanner_lost": scanner_lost,
    "viewer": review,
    "viewer_scanning": scanning,
    "viewer_alarm": alarm_gamma,
    "viewer_two": alarm_two,
    "trend": clear,
    "trend_two": alarm_two,
    "menu": secondary,
    "menu_alarm": alarm_gamma,
    "menu_two": alarm_two,
    "stale": clear,
    "stale_alarm": alarm_gamma,
    "lost": decided,
    **ORDERS,
}
ALWAYS_DAY = {
    "alarm_neutron",
    "alarm_ended",
    "alarm_two",
    "alarm_left",
    "viewer_two",
    "menu_two",
    "trend_two",
    "secondary",
    "menu",
    *BY_DAY,
}
"""An alarm waits for somebody: the screen lights up, whatever was wished."""

CHECK_AXE = """
axe.run(document, {resultTypes: ["violations", "incomplete"], ...WHICH}).then((found) => [
  ...found.violations,
  ...found.incomplete.filter((rule) => rule.id === "color-contrast"),
].flatMap((rule) => rule.nodes.map((node) =>
  `${rule.id}: ${node.target.join(" ")} ${node.any[0]?.message ?? ""}`)))
"""

# An ellipsis protects a layout from a name that nobody foresaw; where it shows, words are missing.
CHECK_SCROLL = """
[...document.querySelectorAll("body, body *")].filter((element) => {
  if (element.closest("svg") || getComputedStyle(element).display === "inline") return false;
  if (element.matches(".unseen")) return false;  // for screen readers: one pixel by design
  return element.scrollHeight > element.clientHeight + 1 || element.scrollWidth > element.clientWidth + 1;
}).map((element) => `${element.tagName}.${element.className}: ${element.scrollWidth}x${element.scrollHeight} in `
  + `${element.clientWidth}x${element.clientHeight} "${(element.textContent ?? "").slice(0, 60)}"`)
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
    to_view(screen, look)
    if look == "clear":
        screen.until_release_free()
    if look in ("stale", "stale_alarm", "stale_order", "lost"):
        fixture.silent = True
        screen.until("document.querySelector('.band')")
    if look in ("stale_order", "lost"):  # the longest sentences of the band
        screen.until("/try|intento/.test(document.querySelector('.band').innerText)")
    # Whatever else is on the screen, an alarm of the first rank has a band of its own.
    first = any(alarm.priority == 1 for alarm in view.alarms)
    assert (
        screen.js("document.querySelector('.alarm')?.getBoundingClientRect().height > 100 || false") == first
    )


def to_view(screen: Screen, look: str) -> None:
    """Open what the look shows: the lane, the large radiograph or the menu."""
    screen.page.keyboard.press("Escape")
    screen.until("!document.querySelector('.tools, .choices')")
    if look.startswith("viewer"):
        screen.tap(".picture")
        screen.until("document.querySelector('.tools')")
    elif look.startswith(("menu", "trend")):
        screen.tap(MENU)
        screen.until("document.querySelector('.choices')")
    if look.startswith("trend"):
        screen.tap(TREND)
        screen.until("/40|57/.test(document.querySelector('.plots .told')?.innerText)")


def dress(screen: Screen, language: str, night: bool, size: tuple[int, int], look: str = "") -> None:
    """Choose language, light and size as a person would."""
    if screen.js("document.documentElement.lang") != language:
        screen.tap(".header .buttons button:nth-child(1)")
        screen.until(f"document.documentElement.lang === '{language}'")
    screen.page.set_viewport_size({"width": size[0], "height": size[1]})
    if (screen.js("document.documentElement.dataset.theme") == "night") != night:
        to_view(screen, "menu")
        screen.tap(NIGHT)
        screen.until(f"document.documentElement.dataset.theme === '{'night' if night else 'day'}'")
        to_view(screen, look)
    rested(screen)


def rested(screen: Screen) -> None:
    """Wait until what was just shown is measured and painted."""
    screen.js(
        "new Promise((done) => { let n = 4; (function next() { n-- ? requestAnimationFrame(next) : done(true); })(); })"
    )


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_is_readable_and_whole(look: str, page: Screen, fixture: Fixture) -> None:
    """Axe finds nothing, nothing scrolls, no number stands on two lines."""
    to_look(page, fixture, look)
    faults = []
    lights = (False,) if look in ALWAYS_DAY else (False, True)
    for night in lights:
        for size in SIZES[:1] if night else SIZES:  # the night has other colours, and no other places
            for language in ("en", "es"):
                dress(page, language, night, size, look)
                # Names, roles and order are the same in every light and size; colours and places are not.
                rules = "{}" if (night, size) == (lights[0], SIZES[0]) else "{runOnly: ['color-contrast']}"
                axe = CHECK_AXE.replace("WHICH", rules)
                found = page.js(axe) + page.js(CHECK_SCROLL) + page.js(CHECK_NUMBERS)
                faults += [f"{language} {'night' if night else 'day'} {size[0]}: {each}" for each in found]
    dress(page, "en", False, SIZES[0])
    assert faults == [], "\n".join(faults)


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_word_of_the_station_has_room(language: str, page: Screen, fixture: Fixture) -> None:
    """Each cause, reason and lock, on the lane and beside an alarm: nothing is cut."""
    to_look(page, fixture, "clear")
    dress(page, language, False, SIZES[0])
    faults = []
    locks, codes = itertools.cycle(words("lock")), itertools.cycle(PRIORITY)
    for why in words("why"):
        failed = Check(state=CoverageState.FAILED, reason=why)
        missing = ("rpm_missing", "scan_missing", "ident_missing")
        reasons = tuple(
            Reason(rule="R5", code=code, args={"reason": why, "device": "rpm1"}) for code in missing
        )
        truck = vehicle(
            Level.SECONDARY,
            (next(locks),),
            reasons=reasons,
            coverage=coverage(rpm=failed, scanner=failed, lpr=failed, ocr=failed),
            scan=scan(state="incomplete", cause=why, col_tail=None, calibration="none", starved_m2=11.25),
        )
        one = alarm(next(codes), truck, state="rtn_unack", device=None, values={})
        for alarms in ((), (one.model_copy(update={"priority": 1}),)):
            fixture.show(lane(truck, *alarms))
            page.until_shows(truck.inspection_id)
            page.until(f"!!document.querySelector('.alarm') === {str(bool(alarms)).lower()}")
            rested(page)
            faults += [f"{why}: {each}" for each in page.js(CHECK_SCROLL)]
    dress(page, "en", False, SIZES[0])
    assert faults == [], "\n".join(faults)


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_refusal_is_said_in_words_that_have_room(language: str, page: Screen, fixture: Fixture) -> None:
    to_look(page, fixture, "clear")
    dress(page, language, False, SIZES[0])
    said = json.loads((WEB / "i18n" / f"{language}.json").read_text(encoding="utf-8"))
    faults = []
    try:
        for code in ("version-conflict", "release-locked", "not-found", "key-reused", "never-heard-of"):
            fixture.refusal = code
            page.tap(".bar .hold")
            expected = said.get(f"note.{code}", said["note.other"].replace("{code}", code))
            page.until(f"document.querySelector('.slot').innerText === {json.dumps(expected)}")
            faults += page.js(CHECK_SCROLL)
    finally:
        fixture.refusal = None
        dress(page, "en", False, SIZES[0])
    assert faults == []


def words(group: str) -> list[str]:
    """Return the codes of a group that the screen has words for."""
    keys = json.loads((WEB / "i18n" / "en.json").read_text(encoding="utf-8"))
    return [key.removeprefix(f"{group}.") for key in keys if key.startswith(f"{group}.")]


def test_an_alarm_that_waits_ends_the_night_and_says_so(page: Screen, fixture: Fixture) -> None:
    to_look(page, fixture, "clear")
    dress(page, "en", True, SIZES[0])
    to_look(page, fixture, "alarm_neutron")
    page.until("document.documentElement.dataset.theme === 'day'")
    assert page.js("document.body.dataset.sound") == "p1"
    to_view(page, "menu")
    assert page.js(f"document.querySelector('{NIGHT}').getAttribute('aria-disabled')") == "true"
    assert "not while an alarm waits" in page.js(f"document.querySelector('{NIGHT}').innerText")
    page.tap(NIGHT)
    to_look(page, fixture, "clear")
    page.until("document.documentElement.dataset.theme === 'night'")
    dress(page, "en", False, SIZES[0])


def test_the_calibration_is_told_when_the_scan_is_over(page: Screen, fixture: Fixture) -> None:
    """The station knows it then; before, it would say of each scan that it is not calibrated."""
    to_look(page, fixture, "scanning")
    assert "alibrat" not in page.text()
    for calibration, words in (("provisional", "Provisional calibration"), ("none", "Not calibrated")):
        truck = vehicle(scan=scan(calibration=calibration))
        fixture.show(lane(truck))
        page.until(f"document.querySelector('.rail').innerText.includes('{words}')")


def test_no_data_looks_like_no_data(page: Screen, fixture: Fixture) -> None:
    """Yellow where too little came through; dark stripes where a scan broke off."""
    to_look(page, fixture, "clear")
    colours = """
    (() => {
      const canvas = document.querySelector(".picture canvas");
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      let [yellow, stripes] = [0, 0];
      for (let i = 0; i < pixels.length; i += 4) {
        const [r, g, b] = pixels.slice(i, i + 3);
        if (r > 200 && g > 170 && b < 120) yellow += 1;
        if (r === 0x15 && g === 0x18 && b === 0x1a) stripes += 1;
      }
      return [yellow, stripes];
    })()
    """
    page.until(f"({colours})[0] > 40")
    assert page.js(colours)[1] == 0, "a whole scan has no gap"
    to_look(page, fixture, "secondary")
    page.until(f"({colours})[1] > 2000")


def test_the_screen_says_which_vehicle_and_what_is_left_to_do(page: Screen, fixture: Fixture) -> None:
    """An alarm of another vehicle names it; a lost device is lost at once, not waited for; a read image is read."""
    to_look(page, fixture, "alarm_left")
    page.until("document.querySelector('.alarm').innerText.includes('Left: MR 3917 T')")
    assert page.js("document.querySelector('.alarm .photo')") is None
    assert "no alarm for this vehicle" in page.js("document.querySelector('.advice').innerText")
    to_look(page, fixture, "scanner_lost")
    assert "link lost" in page.js("document.querySelector('.checked li:nth-child(2)').innerText")
    gamma, neutron = page.js("[...document.querySelectorAll('.value')].map((value) => value.innerText)")
    assert "1,204" in gamma
    assert "not complete" in gamma
    assert "not measured" in neutron
    to_look(page, fixture, "image_read")
    assert "Image was read" in page.js("document.querySelector('.advice').innerText")


def test_what_waits_for_the_centre_is_told_without_a_record(page: Screen, fixture: Fixture) -> None:
    to_look(page, fixture, "free")
    page.until("document.querySelector('.header').innerText.includes('12 waiting')")
    fixture.view = lane(
        centre=CentreView(state="silent", waiting=0)
    )  # shown to nobody: only the heartbeat tells
    page.until("/Centre silent\\s+0 waiting/.test(document.querySelector('.header').innerText)")


def test_the_look_check_sees_what_it_must(page: Screen, fixture: Fixture) -> None:
    """Grey on grey, a box too small and a number on two lines are found."""
    to_look(page, fixture, "free")
    page.js(
        "document.body.insertAdjacentHTML('beforeend', `<div id='bad'><p>grey</p><b>1 250</b></div>`);"
        "document.querySelector('#bad').style.cssText = 'position:fixed;left:0;top:0;width:9px;height:9px;"
        "overflow:hidden;background:#888;color:#999';"
    )
    try:
        assert any("#bad" in each for each in page.js(CHECK_AXE.replace("WHICH", "{}")))
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


def test_the_screen_has_words_for_the_codes_of_the_station() -> None:
    """A code without words is shown raw: it must not happen with one that the station knows."""
    rules = (DIST.parents[1] / "domain" / "rules.py").read_text(encoding="utf-8")
    known: dict[str, Iterable[str]] = {
        "alarm": PRIORITY,
        "level": [level.value for level in Level],
        "state": [state.value for state in CoverageState],
        "verdict": [verdict.value for verdict in Verdict],
        "device": get_args(DeviceView.model_fields["state"].annotation),
        "mode": get_args(LaneView.model_fields["mode"].annotation),
        "reason": re.findall(r'code="(\w+)"', rules),
    }
    missing = [
        f"{group}.{code}" for group, codes in known.items() for code in codes if code not in words(group)
    ]
    assert known["reason"]
    assert missing == []

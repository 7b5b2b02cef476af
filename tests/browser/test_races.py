"""Taps against changes: what the officer did not see is never decided."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from station.domain.values import Lock
from station.domain.view import ReleaseView
from tests.browser.fixture_server import Fixture
from tests.browser.screen import Screen
from tests.browser.snapshots import alarm, clear, decided, lane, review, vehicle

pytestmark = pytest.mark.timeout(600)  # rounds are taken again on a busy machine

ALARMS, SOAK_ALARMS, ROUNDS = 10, 100, 4
ALARM_LIMIT_S = 0.25
SCREENS, CHANGES, SOAK_CHANGES = 3, 16, 68
HELD_S = (0.1, 0.5, 1.0, 2.0, 5.0)
DEAD_MS = 800
CONFIRM_S = 2.0
LIVE_LIMIT_S = 6.0

PAINTED = """
window.painted = {};
(function look() {
  const band = document.querySelector(".alarm");
  const id = window.heard.at(-1)?.alarms[0];
  const box = band?.getBoundingClientRect();
  if (id && box && box.height > 40 && box.top >= 0 && box.bottom <= innerHeight && !(id in window.painted)) {
    const release = document.querySelector(".bar .release");
    const locked = release.getAttribute("aria-disabled") === "true";
    // This frame is on the glass when the next one begins.
    requestAnimationFrame(() => {
      window.painted[id] = { at: performance.timeOrigin + performance.now(), locked };
    });
  }
  requestAnimationFrame(look);
})();
"""

TAP_IN_THE_FRAME = """
window.tapped = [];
window.onHeard = (name, event) => {
  const vehicle = JSON.parse(event.data).lane?.inspection?.inspection_id ?? null;
  if (name !== "lane" || vehicle === window.vehicle) return;
  window.vehicle = vehicle;
  const heard = window.heard.at(-1).at;
  const when = window.taps_when[window.changes++ % window.taps_when.length];
  const tap = () => {
    const button = document.querySelector(".bar .release");
    const box = button.getBoundingClientRect();
    const at = { bubbles: true, cancelable: true, pointerId: 1, pointerType: "mouse", button: 0, isPrimary: true,
      clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
    button.dispatchEvent(new PointerEvent("pointerdown", at));
    button.dispatchEvent(new PointerEvent("pointerup", at));
    window.tapped.push([vehicle, performance.now() - heard]);
  };
  if (when === "task") tap();
  else if (when === "microtask") queueMicrotask(tap);
  else if (when === "frame") requestAnimationFrame(tap);
  else setTimeout(tap, when);
};
"""


def test_an_alarm_is_on_the_glass_within_a_quarter_second(opened: Any, fixture: Fixture, soak: bool) -> None:
    """Each alarm, from sending to painted; in the frame of the band, Release is locked already.

    Asserted: of up to four rounds one has its p95 within the limit, and all alarms of all rounds have their
    median within it. `make test` takes 10 alarms a round, `make soak` 100. Rounds beyond the first are for
    those that other programs of the machine disturbed: a slow screen fails every round, and the median.
    """
    # Release is free on the server's word, so that the band alone must bring the lock.
    truck = vehicle()
    fixture.show(lane(truck))
    screen = opened(fixture.url)
    screen.until_release_free()
    screen.js(PAINTED)
    rounds: list[list[float]] = []
    while not rounds or p95(rounds[-1]) > ALARM_LIMIT_S:
        assert len(rounds) < ROUNDS, f"p95 {[round(p95(each) * 1000) for each in rounds]} ms"
        rounds.append([alarm_delay_s(screen, fixture, truck) for _ in range(SOAK_ALARMS if soak else ALARMS)])
    median_s = statistics.median(delay_s for each in rounds for delay_s in each)
    assert median_s <= ALARM_LIMIT_S, f"median {median_s * 1000:.0f} ms of {len(rounds)} rounds"


def p95(delays_s: list[float]) -> float:
    """Return what 95 of 100 stay below."""
    return sorted(delays_s)[round(0.95 * len(delays_s)) - 1]


def alarm_delay_s(screen: Screen, fixture: Fixture, truck: Any) -> float:
    """Raise one alarm; return the seconds until it was painted. Then end it."""
    raised = alarm("neutron_alarm", truck)
    sent_s = fixture.show(lane(truck, raised))
    painted = screen.until(f"window.painted['{raised.alarm_id}']")
    assert painted["locked"], "the band was painted with Release free"
    fixture.show(lane(truck))
    screen.until("!document.querySelector('.alarm')")
    screen.until_release_free()
    return float(painted["at"]) / 1000 - sent_s


def test_a_tap_in_the_frame_of_the_change_decides_nothing(opened: Any, fixture: Fixture, soak: bool) -> None:
    """Taps on Release while a clear vehicle becomes another clear vehicle: no order leaves the screen."""
    changes = SOAK_CHANGES if soak else CHANGES
    fixture.show(clear())
    screens: list[Screen] = [opened(fixture.url) for _ in range(SCREENS)]
    spread = (
        "['task', 'microtask', 'frame']",
        "[1, 20, 100]",
        "[250, 400, 600]",
    )
    for screen, when in zip(screens, spread, strict=True):
        x, y = screen.middle(".bar .release")
        screen.page.mouse.move(x, y)
        screen.js(f"window.taps_when = {when}; window.changes = 0; window.vehicle = undefined;")
        screen.js(TAP_IN_THE_FRAME)
    fixture.orders.clear()
    for change in range(changes):
        truck = vehicle()
        fixture.show(lane(truck))
        for screen in screens:
            screen.until(f"window.tapped.length === {change + 1}")
            screen.until_release_free()
    taps = [(vehicle_id, ms) for screen in screens for vehicle_id, ms in screen.js("window.tapped")]
    assert len(taps) == SCREENS * changes
    # On a busy machine a tap may come later than it was asked to, when the screen has rested: that is a tap
    # like any other, and must be rare.
    rested = [vehicle_id for vehicle_id, ms in taps if ms >= DEAD_MS]
    assert len(rested) <= len(taps) / 4, f"the machine is too busy to tap in time: {taps}"
    assert [order for order in fixture.orders if order["inspection_id"] not in rested] == []
    fixture.orders.clear()
    # The same tap, when the screen has rested: it does decide. Without this the test would prove nothing.
    screens[0].tap(".bar .release")
    screens[0].until("window.taps.length > 0")
    for _ in range(100):
        if fixture.orders:
            break
        screens[0].page.wait_for_timeout(20)
    assert [order["inspection_id"] for order in fixture.orders] == [truck.inspection_id]


@pytest.mark.parametrize("held_s", HELD_S)
def test_a_press_held_across_the_change_decides_nothing(opened: Any, fixture: Fixture, held_s: float) -> None:
    """The finger came down on one vehicle and leaves on another, however late."""
    fixture.show(clear())
    screen = opened(fixture.url)
    fixture.orders.clear()
    for verdict in ("release", "secondary"):
        screen.until_release_free()
        screen.page.mouse.move(*screen.middle(f".bar .{verdict}"))
        screen.page.mouse.down()
        truck = vehicle()
        fixture.show(lane(truck))
        screen.until_shows(truck.inspection_id)
        screen.js(f"new Promise((done) => setTimeout(done, {held_s * 1000}))")
        screen.page.mouse.up()
    screen.until_release_free()
    assert fixture.orders == []


def test_an_order_names_the_vehicle_that_was_on_the_glass(opened: Any, fixture: Fixture) -> None:
    """A tap races the change: an order that leaves was lifted before the new vehicle was heard of."""
    fixture.show(clear())
    screen = opened(fixture.url)
    for offset_ms in range(0, 30, 3):
        screen.until_release_free()
        before = fixture.view.inspection
        assert before is not None
        fixture.orders.clear()
        x, y = screen.middle(".bar .release")
        screen.page.mouse.move(x, y)
        screen.js("window.taps.length = 0; window.heard.length = 0;")
        truck = vehicle()
        screen.page.mouse.down()
        fixture.show(lane(truck))
        screen.js(f"new Promise((done) => setTimeout(done, {offset_ms}))")
        screen.page.mouse.up()
        screen.until_shows(truck.inspection_id)
        lifted = screen.until("window.taps.at(-1)")
        heard = screen.js("window.heard.at(-1).at")
        assert {order["inspection_id"] for order in fixture.orders} <= {before.inspection_id}
        assert not fixture.orders or lifted <= heard


def test_a_change_shows_on_the_buttons_that_they_are_dead(opened: Any, fixture: Fixture) -> None:
    """For 0.8 s after a vehicle or an alarm: Release says why, Secondary and Acknowledge are locked, Hold is not."""
    fixture.show(clear())
    screen = opened(fixture.url)
    screen.until_release_free()
    screen.js(SEE_LOCKS)
    truck = vehicle()
    fixture.show(lane(truck))
    screen.until_shows(truck.inspection_id)
    screen.until_release_free()
    assert [True, "Changed, look again"] in screen.js("window.locks.release")
    assert [True, ""] in screen.js("window.locks.secondary")
    fixture.show(lane(truck, alarm("gamma_alarm", truck)))
    screen.until(
        "window.locks.ack.some(([locked]) => locked) && window.locks.ack.some(([locked]) => !locked)"
    )
    assert screen.js("window.locks.hold.every(([locked]) => !locked)")


SEE_LOCKS = """
window.locks = { hold: [], secondary: [], release: [], ack: [] };
(function look() {
  for (const [name, seen] of Object.entries(window.locks)) {
    const button = document.querySelector(`.button.${name}`);
    const now = button && [button.getAttribute("aria-disabled") === "true", button.querySelector("small")?.innerText ?? ""];
    if (now && !seen.some((each) => String(each) === String(now))) seen.push(now);
  }
  requestAnimationFrame(look);
})();
"""


def test_no_answer_is_said_and_hold_does_not_wait_for_it(opened: Any, fixture: Fixture) -> None:
    """After two seconds the order is sent again with its own key; Hold goes out beside it and ends it."""
    fixture.show(clear())
    screen = opened(fixture.url)
    screen.until_release_free()
    fixture.orders.clear()
    fixture.mute = True
    try:
        screen.tap(".bar .release")
        screen.until(f"{RELEASE_LOCK} === 'Sending'")
        tapped_ms = screen.js("window.taps.at(-1)")
        screen.until("/Not confirmed/.test(document.querySelector('.slot').innerText)")
        said_s = (screen.js("performance.now()") - tapped_ms) / 1000
        assert said_s >= 0.9 * CONFIRM_S
        screen.until("document.querySelector('.slot').innerText.includes('Trying again')")
        until_orders(screen, fixture, 2)
        screen.tap(".bar .hold")
        until_orders(screen, fixture, 3)
        assert [order["verdict"] for order in fixture.orders] == ["release", "release", "hold"]
        assert fixture.orders[0]["key"] == fixture.orders[1]["key"] != fixture.orders[2]["key"]
        assert screen.js("document.querySelector('.bar .hold').getAttribute('aria-pressed')") == "true"
    finally:
        fixture.mute = False
    screen.until("/Held/.test(document.querySelector('.slot').innerText)")
    releases = [order for order in fixture.orders if order["verdict"] == "release"]
    assert len({order["key"] for order in releases}) == 1


RELEASE_LOCK = "document.querySelector('.bar .release small')?.innerText"


def until_orders(screen: Screen, fixture: Fixture, count: int) -> None:
    """Wait until so many orders came."""
    until(screen, lambda: len(fixture.orders) >= count, f"{count} orders come")


def until(screen: Screen, what: Callable[[], bool], sentence: str) -> None:
    """Ask until true, letting the browser speak meanwhile."""
    for _ in range(500):
        if what():
            return
        screen.page.wait_for_timeout(20)
    raise AssertionError(f"not within 10 s: {sentence}")


def test_an_image_that_does_not_come_is_asked_for_again(opened: Any, fixture: Fixture) -> None:
    """The link breaks under the columns when the scan has ended: no error of the screen's own, and no reading.

    Nothing is told of the scan any more; the columns come all the same, and then the image can be read.
    """
    fixture.show(lane())
    screen = opened(fixture.url)
    screen.outage = True
    asked: list[str] = []

    def cut(route: Any) -> None:
        asked.append(route.request.url)
        route.abort()

    screen.page.route("**/columns?*", cut)
    fixture.show(review())
    until(screen, lambda: len(asked) >= 2, "both kinds of columns are asked for")
    screen.tap(".picture")
    screen.until(f"{READ} === 'Image read\\nImage not complete yet'")
    assert screen.errors == []
    screen.page.unroute("**/columns?*")
    screen.until(f"{READ} === 'Image read'")
    screen.outage = False


READ = "document.querySelector('.bar button:nth-child(3)')?.innerText"


def test_a_photo_and_strips_that_do_not_come_are_asked_for_again(opened: Any, fixture: Fixture) -> None:
    """One request of each fails, and nothing is told meanwhile: the next one brings them, and it is the last."""
    fixture.show(clear())
    asked = {"profile": 0, "blobs": 0}

    def first_cut(route: Any) -> None:
        what = "profile" if "profile" in route.request.url else "blobs"
        asked[what] += 1
        (route.abort if asked[what] == 1 else route.continue_)()

    def before(page: Any) -> None:
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.route("**/profile", first_cut)
        page.route("**/v1/blobs/aaa*", first_cut)

    errors: list[str] = []
    screen = opened(fixture.url, before=before)
    screen.until("document.querySelector('.lane .photo img')?.naturalWidth > 0")
    until(screen, lambda: asked["profile"] == 2, "the strips are asked for again")
    screen.page.wait_for_timeout(1500)
    assert asked == {"profile": 2, "blobs": 2}
    assert len(errors) == 2, errors
    screen.errors.clear()


def test_an_unstored_alarm_ends_when_the_station_has_no_word_of_it(opened: Any, fixture: Fixture) -> None:
    """Told before it was stored, then stored, acknowledged and ended while the screen was not connected.

    A new connection alone does not end it: its snapshot may be older than the alarm. The station's answer does.
    """
    truck = vehicle()
    fixture.show(lane(truck))
    screen = opened(fixture.url)
    screen.until_release_free()
    fixture.tell_unstored(alarm("gamma_alarm", truck))
    screen.until("document.querySelector('.alarm')?.innerText.includes('NOT STORED')")
    fixture.silent = True
    try:
        screen.until("/try/.test(document.querySelector('.band')?.innerText)")
    finally:
        fixture.silent = False
    screen.until("!document.querySelector('.band')", LIVE_LIMIT_S)
    assert screen.js(RELEASE_LOCK) == "Alarm not stored"
    fixture.show(lane(truck))
    screen.page.wait_for_timeout(1000)
    assert screen.js(RELEASE_LOCK) == "Alarm not stored"
    screen.outage = True  # the answer is 404
    screen.tap(".alarm .ack")
    screen.until("!document.querySelector('.alarm')")
    screen.until("document.querySelector('.slot').innerText === 'This alarm is over.'")
    screen.until_release_free()


def test_an_order_that_was_taken_back_is_not_shown_as_recorded(opened: Any, fixture: Fixture) -> None:
    """After Hold the vehicle waits again: no receipt, Release locked, Secondary free; whatever the state says."""
    fixture.show(decided())
    screen = opened(fixture.url)
    before = fixture.view.inspection
    assert before is not None
    screen.until("document.querySelector('.receipt')?.innerText.includes('Released')")
    lock = ReleaseView(allowed=False, locks=(Lock(code="needs_supervisor"),))
    for state, decision in (("awaiting_decision", None), ("decided", before.decision)):
        back = {"state": state, "decision": decision, "release": lock, "flags": ("held",), "version": 8}
        fixture.show(lane(before.model_copy(update=back)))
        screen.until(f"{RELEASE_LOCK} === 'Needs supervisor'")
        assert screen.js("document.querySelector('.receipt')") is None
        screen.until("document.querySelector('.bar .secondary').getAttribute('aria-disabled') === 'false'")
        fixture.show(lane(before))
        screen.until("document.querySelector('.receipt')")


def test_a_key_held_across_the_change_decides_nothing(opened: Any, fixture: Fixture) -> None:
    """The space bar acts when it comes up; for what was on the glass when it went down."""
    fixture.show(clear())
    screen = opened(fixture.url)
    fixture.orders.clear()
    screen.until_release_free()
    screen.page.locator(".bar .release").focus()
    screen.page.keyboard.down(" ")
    truck = vehicle()
    fixture.show(lane(truck))
    screen.until_shows(truck.inspection_id)
    screen.until_release_free()
    screen.page.keyboard.up(" ")
    screen.page.wait_for_timeout(300)
    assert fixture.orders == []
    screen.page.keyboard.press(" ")  # and a whole press does decide
    until_orders(screen, fixture, 1)
    assert fixture.orders[0]["inspection_id"] == truck.inspection_id


def test_a_new_build_waits_for_the_answer_to_hold(opened: Any, fixture: Fixture) -> None:
    """A page that is loaded anew forgets what it repeats; also if Hold comes while it asks for the new one."""
    fixture.show(clear())
    screen = opened(fixture.url)
    screen.js("window.sameDocument = true")
    fixture.orders.clear()
    fixture.mute = True
    asked: list[Any] = []
    screen.page.route(screen.origin + "/", lambda route: asked.append(route))  # no method will do
    screen.until(
        "document.querySelector('.time b').innerText !== '–'"
    )  # the first heartbeat names this build
    try:
        fixture.web = "2"
        until(screen, lambda: bool(asked), "the new page is asked for")
        screen.tap(".bar .hold")
        until_orders(screen, fixture, 1)
        for route in asked:
            route.continue_()
        screen.page.unroute(screen.origin + "/")
        screen.page.wait_for_timeout(2500)  # two heartbeats
        assert screen.js("window.sameDocument") is True
        until_orders(screen, fixture, 2)
        assert len({order["key"] for order in fixture.orders}) == 1
    finally:
        fixture.mute = False
    screen.until("window.sameDocument !== true && document.body?.dataset.ready === '1'")


def test_a_slow_station_is_found_again_after_a_long_silence(opened: Any, fixture: Fixture) -> None:
    """A new stream has its own time to speak: it is not given up because the silence before it was long."""
    fixture.show(clear())
    screen = opened(fixture.url)
    fixture.silent = True
    try:
        screen.until("/try/.test(document.querySelector('.band')?.innerText)")
        fixture.slow_s = 1.0
        fixture.silent = False
        screen.until("!document.querySelector('.band')", LIVE_LIMIT_S)
    finally:
        fixture.silent, fixture.slow_s = False, 0.0

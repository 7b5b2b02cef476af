"""The officer's screen and a real lane with a signed hold: taken over or left in peace, received with one tap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from station.domain.directives import Notes
from station.domain.values import Level
from tests.browser.fixture_server import Fixture
from tests.browser.orders import order, order_hold_long, order_long, ordered
from tests.browser.screen import Screen
from tests.support.directives import OF_NOW, public_text, signed, terms
from tests.support.station import Station, running_station, short_trucks

KEY = Ed25519PrivateKey.generate()
OPEN, QUIET = "LXR 4800", "LXR 4801"
STEPS = ["Keep the vehicle at the barrier.", "Call extension 41."]
BODY: dict[str, Any] = {
    "authority": "Customs",
    "action": "hold",
    "notes": {"en": "", "es": "Faltan papeles."},
    "steps": STEPS,
    "ack_within_s": 3600,
}
FREE = "document.querySelector('.order .answer')?.getAttribute('aria-disabled') === 'false'"

pytestmark = pytest.mark.timeout(150)  # starts a lane


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """Short trucks; the first is held for all to see, the second in silence."""
    folder = tmp_path_factory.mktemp("orders")
    issuer = f'\n[[issuer]]\nname = "central"\nkey = "{public_text(KEY)}"\nkinds = ["hold"]\n'
    with running_station(folder, rate=3.0, options=short_trucks(folder, 2), more=issuer) as running:
        for name, plate, kind in (("H-1", OPEN, "export_control"), ("H-2", QUIET, "lookout")):
            body = {**BODY, "hold_kind": kind, "keys": {"plate": plate}}
            sent = signed(name, KEY, terms("hold", body=body, **OF_NOW))
            assert running.call("PUT", f"/v1/directives/{name}", sent).status == 201
        yield running


def stopped(screen: Screen, station: Station, plate: str) -> Any:
    """Send vehicles on until the named one waits; the browser may speak meanwhile."""
    for _ in range(1500):
        seen = station.lane()["inspection"] or {}
        if seen.get("state") == "awaiting_decision":
            if (seen["identity"]["plate"] or {}).get("text") == plate:
                return seen
            station.decide("secondary", seen)
        screen.page.wait_for_timeout(40)
    raise AssertionError(f"{plate} does not come")


def received(screen: Screen, station: Station, name: str) -> None:
    """Tap *Received* once and see it recorded, then shown."""
    screen.until(FREE)
    screen.tap(".order .answer")
    screen.until("document.querySelector('.order .answered')?.innerText.includes('DEMO')")
    (record,) = station.records("directive.acknowledged", directive_id=name)
    assert record["directive_version"] == 1


def test_a_hold_takes_the_screen_and_a_discreet_one_stays_grey_and_silent(
    opened: Any, station: Station
) -> None:
    screen = opened(f"http://127.0.0.1:{station.port}/")
    bar = "JSON.stringify(document.querySelector('.bar').getBoundingClientRect())"
    with station.officer_away():
        before = screen.js(bar)
        seen = stopped(screen, station, OPEN)
        screen.until("document.querySelector('.takeover .order.tiles')")
        assert "HOLD ORDER" in screen.js("document.querySelector('.alarm').innerText")
        assert screen.js("document.body.dataset.sound") == "p1"
        said = screen.js("document.querySelector('.order').innerText")
        assert all(words in said for words in ("Customs", "plate, accepted", "Faltan papeles.", *STEPS)), said
        left = "parseInt(document.querySelector('.order small').innerText.replace(/\\D/g, ''))"
        first = screen.until(left)
        screen.until(f"{left} < {first}")
        assert screen.js(bar) == before, "the decision keys stay where they are"
        received(screen, station, "H-1")
        screen.until("document.querySelector('.alarm').classList.contains('ack')")
        assert screen.js("document.body.dataset.sound") == ""
        station.send_on(seen["inspection_id"])

        seen = stopped(screen, station, QUIET)
        screen.until("document.querySelector('.lane') && document.querySelector('.order.flow')")
        said = screen.js("document.querySelector('.order').innerText")
        assert all(words in said for words in ("Code 7", *STEPS)), said
        shown = screen.text()
        assert not any(word in shown for word in ("Customs", "HOLD ORDER", "Faltan", "H-2", "Instruction")), (
            shown
        )
        assert (
            screen.js("document.querySelector('.alarm, .badge.red, .order .badge, .advice .badge')") is None
        )
        assert screen.js("document.body.dataset.sound") == ""
        assert screen.js(bar) == before
        received(screen, station, "H-2")
        assert [a for a in station.lane()["alarms"] if a["inspection_id"] == seen["inspection_id"]] == []
    screen.page.context.close()  # before its station goes


def test_every_word_of_an_order_can_be_read(opened: Any, fixture: Fixture) -> None:
    """However long: the pages together say the note and all steps, then the next order."""
    screen = opened(fixture.url)
    for look in (order_long, order_hold_long):
        view = look()
        fixture.show(view)
        assert view.inspection is not None
        screen.until_shows(view.inspection.inspection_id)
        screen.until("document.querySelector('.order .turn')")
        pages = int(screen.js("document.querySelector('.order .turn').innerText.split('/')[1]"))
        told = []
        for _ in range(pages):
            told += screen.js("[...document.querySelectorAll('.order .words span')].map((e) => e.innerText)")
            screen.tap(".order .turn")
        told_whole = " ".join(" ".join(told).split())
        for each in view.inspection.directives:
            for words in (each.notes.en, *each.steps):
                assert " ".join(words.split()) in told_whole


def test_an_order_speaks_to_those_who_hear_and_says_what_its_keys_do(opened: Any, fixture: Fixture) -> None:
    """Words in a live region, the seconds outside it; the other language is better than none."""
    screen = opened(fixture.url)
    for view, live, name in (
        (ordered(Level.SECONDARY, order(notes=Notes(es="Sin papeles."))), "assertive", "SECONDARY ORDER"),
        (ordered(Level.HOLD, order("hold", discreet=True)), "polite", "Code 7"),
    ):
        fixture.show(view)
        screen.until(f"document.querySelector('.order')?.getAttribute('aria-label') === '{name}'")
        told = screen.js("document.querySelector('.order [aria-live]').getAttribute('aria-live')")
        assert told == live
        assert ("Sin papeles." in screen.text()) == (live == "assertive")
        assert screen.js("document.querySelector('.order [aria-live] small')") is None
        height = screen.js("document.querySelector('.order .answer').getBoundingClientRect().height")
        assert height >= 74, "a glove needs 15 mm"
        assert "Received" in screen.js("document.querySelector('.order .answer').innerText")

"""Seals and placards on the officer's screen: declared, looked at, recorded, and held against the papers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.browser.screen import Screen
from tests.support.directives import OF_NOW, public_text, signed, terms
from tests.support.station import Station, running_station, short_trucks

KEY = Ed25519PrivateKey.generate()
MENU, SHEET = ".header .buttons button:nth-child(2)", ".choices button:nth-child(3)"
PAPERS: dict[str, Any] = {
    "source": "ace_truck",
    "mode": "truck",
    "direction": "in",
    "port": "2304",
    "accepted_at": "2026-01-01T00:00:00Z",
    "conveyance": {"plate": "LXR 4800"},
    "equipment": [{"no": "CSQU3054383", "seals": [{"no": "MX-0042", "class": "H"}, {"no": "MX-0043"}]}],
    "shipments": [{"hazmat": [{"un": "1789", "class": "8"}]}],
}

pytestmark = pytest.mark.timeout(150)  # starts a lane


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A lane that knows what its one truck declared."""
    folder = tmp_path_factory.mktemp("closures")
    issuer = f'\n[[issuer]]\nname = "central"\nkey = "{public_text(KEY)}"\nkinds = ["manifest"]\n'
    with running_station(folder, rate=3.0, options=short_trucks(folder, 1), more=issuer) as running:
        sent = signed("M-1", KEY, terms("manifest", body=PAPERS, **OF_NOW))
        assert running.call("PUT", "/v1/directives/M-1", sent).status == 201
        yield running


def press(screen: Screen, words: str, within: str = ".closures") -> None:
    """Tap the button that says this."""
    button = screen.page.locator(f"{within} button", has_text=words).first
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    screen.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def typed(screen: Screen, number: str, then: str) -> None:
    """Type another number on the keys of the screen."""
    press(screen, "Another number")
    for key in number:
        press(screen, key, ".keypad .keys")
    screen.until(f"document.querySelector('.keypad output').innerText === '{number}'")
    press(screen, then, ".keypad")
    screen.until("document.querySelector('.closures')")


def marked(screen: Screen, name: str, state: str) -> None:
    """Tap what one seal or placard is, and see it stand."""
    group = screen.page.locator(f'.closures [role="group"][aria-label="{name}"]')
    group.locator("button", has_text=state).first.click()
    screen.until(
        f'[...document.querySelectorAll(\'[aria-label="{name}"] button[aria-pressed="true"]\')]'
        f".some((each) => each.innerText.trim() === '{state}')"
    )


def test_a_broken_seal_is_two_taps_and_asks_for_secondary(opened: Any, station: Station) -> None:
    screen = opened(f"http://127.0.0.1:{station.port}/")
    with station.officer_away():

        def matched() -> Any:
            seen = station.lane()["inspection"] or {}
            return seen if seen.get("state") == "awaiting_decision" and seen.get("manifest") else None

        def all_reasons() -> Any:
            seen = station.lane()["inspection"]
            return seen if sum(reason["rule"] == "R10" for reason in seen["reasons"]) == 4 else None

        seen = station.until(matched, "the vehicle waits with its papers", 60)
        assert seen["manifest"]["seals"] == ["MX-0042", "MX-0043"]
        bar = "JSON.stringify(document.querySelector('.bar').getBoundingClientRect())"
        before = screen.js(bar)
        screen.tap(MENU)
        screen.until("document.querySelector('.choices')")
        screen.tap(SHEET)
        screen.until("document.querySelector('.closures')")
        assert screen.js(bar) == before
        assert "2 not marked yet" in screen.text()
        marked(screen, "MX-0042", "Broken")
        marked(screen, "MX-0043", "Intact")
        typed(screen, "7Q", "Add seal")
        screen.until("document.querySelector('[aria-label=\"7Q\"]')")
        press(screen, "Record seals")
        (told,) = station.until(lambda: station.records("inspection.observed"), "the seals are on the record")
        assert [(each["no"], each["state"]) for each in told["seals"]] == [
            ("MX-0042", "broken"),
            ("MX-0043", "intact"),
            ("7Q", "intact"),
        ]
        assert (told["placards"], told["inspection_id"]) == (None, seen["inspection_id"])

        marked(screen, "UN 1789 (8)", "Not there")
        typed(screen, "1203", "Add placard")
        press(screen, "Record placards")
        station.until(lambda: len(station.records("inspection.observed")) == 2, "and the placards")
        seen = station.until(all_reasons, "each is a reason")
        assert seen["level"] == "secondary"
        assert {
            (r["code"], r["args"]["name"], r["args"]["why"]) for r in seen["reasons"] if r["rule"] == "R10"
        } == {
            ("seal", "MX-0042", "broken"),
            ("seal", "7Q", "different"),
            ("placard", "UN 1203", "undeclared"),
            ("placard", "UN 1789 class 8", "missing"),
        }
        press(screen, "Lane")
        screen.until("document.querySelector('.advice')")
        screen.until("/Seal MX-0042: broken/.test(document.querySelector('.advice').innerText)")
    screen.page.context.close()  # before its station goes

"""A Chromium for the module, and screens in it; a screen that logs an error fails its test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.fixture_server import DIST, Fixture, fixture_lane
from tests.browser.screen import Screen, open_screen
from tests.browser.snapshots import free

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in this folder: ``-m 'not browser'`` leaves it out."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)


def _without(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


# One browser a module, never one a session: while Playwright runs in a thread, no other test of that
# thread could run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """The machine's own Chromium, headless."""
    if not CHROMIUM.is_file():
        _without(f"no browser: {CHROMIUM} is not installed")
    if not (DIST / "index.html").is_file():
        _without("the screen is not built: run `make web`")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _without("playwright is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def fixture() -> Iterator[Fixture]:
    """A lane that shows what it is told."""
    with fixture_lane(free()) as lane:
        yield lane


@pytest.fixture
def opened(browser: object) -> Iterator[Callable[..., Screen]]:
    """Open a screen: ``opened(url, width=1280, height=800)``; at the end, it had no error."""
    screens: list[Screen] = []

    def one(url: str, width: int = 1280, height: int = 800, **options: object) -> Screen:
        screen = open_screen(browser, url, width, height, **options)
        screens.append(screen)
        return screen

    yield one
    for screen in screens:
        screen.page.context.close()
    assert [error for screen in screens for error in screen.errors] == []

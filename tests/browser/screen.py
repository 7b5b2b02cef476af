"""One open screen: what it heard, when it was painted, what stands on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LIMIT_S = 15.0

WATCH = """
// Notes every message of the stream before the screen hears of it, and offers `window.onHeard` after it did.
window.heard = [];
window.streams = 0;
window.taps = [];
addEventListener("pointerup", (event) => window.taps.push(performance.now()), true);
const Original = window.EventSource;
window.EventSource = class extends Original {
  constructor(url, options) {
    super(url, options);
    window.streams += 1;
    const stream = window.streams;
    const after = decodeURIComponent(url.split("after=")[1] ?? "");
    for (const name of ["record", "lane", "alarm_raw", "bye", "reset"]) {
      super.addEventListener(name, (event) => {
        const data = JSON.parse(event.data);
        window.heard.push({ stream, after, name, id: event.lastEventId, at: performance.now(),
          vehicle: data.lane?.inspection?.inspection_id ?? null,
          alarms: (data.lane?.alarms ?? []).map((alarm) => alarm.alarm_id) });
      });
    }
  }
  addEventListener(name, take, options) {
    super.addEventListener(name, (event) => {
      take(event);
      window.onHeard?.(name, event);
    }, options);
  }
};
"""


@dataclass(slots=True)
class Screen:
    """A page of the browser that shows a lane."""

    page: Any
    cdp: Any
    origin: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    policies: list[str | None] = field(default_factory=list)
    """Content-Security-Policy of every answer for the page itself."""
    outage: bool = False
    """Whether refused connections are expected now."""

    def js(self, expression: str) -> Any:
        """Evaluate in the page; the content policy does not bind the debugger. Awaits promises."""
        arguments = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.cdp.send("Runtime.evaluate", arguments)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str, limit_s: float = LIMIT_S) -> Any:
        """Ask the page again until the answer is true; return it."""
        ends_s = time.monotonic() + limit_s
        wrapped = f"((found) => found instanceof Element || found)({expression})"
        while not (answer := self.js(wrapped)):
            assert time.monotonic() < ends_s, f"not within {limit_s} s: {expression}\n{self.text()[:600]}"
            self.page.wait_for_timeout(20)
        return answer

    def text(self) -> str:
        """Return what can be read on the screen."""
        return str(self.js("document.body.innerText"))

    def until_shows(self, vehicle_id: str | None) -> None:
        """Wait until the last snapshot that the page heard is of this vehicle."""
        wanted = "null" if vehicle_id is None else f"'{vehicle_id}'"
        self.until(f"window.heard.length > 0 && window.heard.at(-1).vehicle === {wanted}")

    @property
    def release_free(self) -> bool:
        """Whether Release may be tapped."""
        return bool(
            self.js("document.querySelector('.bar .release')?.getAttribute('aria-disabled') === 'false'")
        )

    def until_release_free(self, limit_s: float = LIMIT_S) -> None:
        """Wait until Release may be tapped."""
        self.until(
            "document.querySelector('.bar .release')?.getAttribute('aria-disabled') === 'false'", limit_s
        )

    def middle(self, selector: str) -> tuple[float, float]:
        """Return the middle of an element, CSS pixels."""
        box = self.page.locator(selector).bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def tap(self, selector: str) -> None:
        """Press and let go in the middle of an element."""
        self.page.mouse.click(*self.middle(selector))

    def finger(self, kind: str, at: tuple[float, float], number: int = 1) -> None:
        """Let one finger come down (``Start``), ``Move`` or lift (``End``) there, CSS pixels."""
        point = {"x": at[0], "y": at[1], "id": number}
        self.cdp.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": [point]})

    def touch(self, selector: str) -> None:
        """Tap the middle of an element with a finger."""
        at = self.middle(selector)
        self.finger("Start", at)
        self.finger("End", at)


def open_screen(
    browser: Any, url: str, width: int, height: int, before: Callable[[Any], None] | None = None
) -> Screen:
    """Open a page of its own and wait until it shows the lane."""
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=True)
    context.add_init_script(WATCH)
    page = context.new_page()
    screen = Screen(page, context.new_cdp_session(page), url.rstrip("/"))

    def said(message: Any) -> None:
        lost = screen.outage and "Failed to load resource" in message.text
        refused = "409 (Conflict)" in message.text  # a refusal that the test asked for
        if message.type == "error" and not (lost or refused):
            screen.errors.append(f"{message.text} {message.location.get('url', '')}")

    page.on("console", said)
    page.on("pageerror", lambda error: screen.errors.append(f"exception: {error}"))
    page.on("request", lambda request: screen.requests.append(request.url))

    def answered(response: Any) -> None:
        if response.request.resource_type == "document":
            screen.policies.append(response.headers.get("content-security-policy"))

    page.on("response", answered)
    if before is not None:
        before(page)
    page.goto(url)
    screen.until("document.body.dataset.ready === '1'")
    return screen

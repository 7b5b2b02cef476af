"""Health of one device: one table, one writer; pure, so that every path of it can be tested.

What happens to a device is boiled down to eight kinds of news, and the table says where each leads. A
retry is no news: a device that is lost stays in backoff until readings come again, so that it is logged
and recorded once when lost and once when back. Time alone makes nothing better: only a reading does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from drivers.api import Role
from drivers.readings import OccupancyEnd, Reading
from station.runtime.signs import Frames, Frozen, activity, device_faults

FAULT_S = 60.0
"""How long one fault that the driver raised keeps its device degraded."""
POLLS_MISSED = 3
POLL_LEAST_S = 0.5
"""Shorter silence of a polled board may be our own: the loop may lag by 0.1 s, a busy computer by more."""
BUSY_KEPT_S = 120.0
"""How long a scan stays open without its link; until then the link is reopened with haste."""


class Health(StrEnum):
    """State of a device."""

    STARTING = "starting"
    ONLINE = "online"
    DEGRADED = "degraded"
    STALE = "stale"
    BACKOFF = "backoff"
    FAULTED = "faulted"
    DISABLED = "disabled"


class News(StrEnum):
    """What can happen to a device."""

    LIVE = "live"
    """Fresh readings, and nothing is wrong with them."""
    SUSPECT = "suspect"
    """Fresh readings, and something is wrong with them."""
    SILENT = "silent"
    """The link is open, and no reading has come for longer than the limit."""
    LOST = "lost"
    """The link could not be opened, or is gone."""
    EXHAUSTED = "exhausted"
    """The driver crashed too often."""
    REFUSED = "refused"
    """The options cannot work; a retry would not help."""
    DISABLED = "disabled"
    ENABLED = "enabled"


_FROM_ANY = {
    News.LIVE: Health.ONLINE,
    News.SUSPECT: Health.DEGRADED,
    News.SILENT: Health.STALE,
    News.LOST: Health.BACKOFF,
    News.EXHAUSTED: Health.FAULTED,
    News.REFUSED: Health.FAULTED,
    News.DISABLED: Health.DISABLED,
}
TABLE: Mapping[Health, Mapping[News, Health]] = {
    Health.STARTING: _FROM_ANY,
    Health.ONLINE: _FROM_ANY,
    Health.DEGRADED: _FROM_ANY,
    Health.STALE: _FROM_ANY,
    # Lost already: a link that opens and stays silent is no better than none.
    Health.BACKOFF: _FROM_ANY | {News.SILENT: Health.BACKOFF},
    # A failed try a minute is no news either.
    Health.FAULTED: _FROM_ANY | {News.SILENT: Health.FAULTED, News.LOST: Health.FAULTED},
    # Only the person who disabled it, or another, enables it.
    Health.DISABLED: {News.ENABLED: Health.STARTING},
}
"""Where each news leads; what is not named changes nothing."""


@dataclass(frozen=True, slots=True)
class HealthChange:
    """A device's health changed: ``cause`` is a code for the screen, ``detail`` a sentence for the log."""

    before: Health
    to: Health
    cause: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What silence means for a device; ``busy`` = vehicle in the portal, scan open. ``None``: nothing."""

    stale_s: float | None
    reopen_s: float | None
    busy_stale_s: float | None = None
    busy_reopen_s: float | None = None
    backoff_s: tuple[float, float] = (0.5, 30.0)
    """First and longest pause before a link is opened again."""
    busy_backoff_s: tuple[float, float] = (0.5, 30.0)
    live_on_open: bool = False
    """It is online as soon as its link is open: it speaks only when there is something to say."""


def limits_for(
    role: Role, stale_after_s: float | None = None, poll_s: float | None = None, *, quiet: bool = False
) -> Limits:
    """Return the limits of a role; ``stale_after_s`` comes from the lane file, the others from the driver."""
    if quiet:
        return Limits(stale_after_s, 3 * stale_after_s if stale_after_s else None, live_on_open=True)
    if role == Role.LINE_SCANNER:
        stale_s = stale_after_s or 3.0
        return Limits(stale_s, 3 * stale_s, min(2.5, stale_s), 5.0, busy_backoff_s=(0.1, 2.0))
    if role == Role.PORTAL_MONITOR:  # background comes every 5 s, occupied every 0.2 s
        stale_s = stale_after_s or 12.0
        return Limits(stale_s, 3 * stale_s, min(2.0, stale_s), min(6.0, 3 * stale_s))
    if role == Role.DIGITAL_IO:
        stale_s = stale_after_s or max(POLLS_MISSED * (poll_s or 0.0), POLL_LEAST_S)
        return Limits(stale_s, 3 * stale_s)
    # Cameras that push and text readers are silent while nothing passes.
    return limits_for(role, stale_after_s, quiet=True)


def _rest(reading: Reading) -> int:
    """Return the activity of a device at rest: after an end marker a first scan record proves nothing."""
    return 0 if isinstance(reading, OccupancyEnd) else 1


class HealthMachine:
    """Health of one device. Times are monotonic seconds; each method returns the change, if there is one."""

    def __init__(self, limits: Limits) -> None:
        """Begin in ``starting``."""
        self.limits = limits
        self.state = Health.STARTING
        self.cause: str | None = None
        self.detail = ""
        self.last_reading_s: float | None = None
        self._opened_s: float | None = None
        self._heard = False
        """Whether the device has said anything since its link was opened."""
        self._suspicions: dict[str, float] = {}
        """Until when each code is suspected, by what this link has said."""
        self._told: set[str] = set()
        """What only the lane can know: it holds over broken links, until the lane withdraws it."""
        self._frames = Frames()
        self._activity = 0
        self._frozen = Frozen()

    # --- what happens ---------------------------------------------------------------------------

    def opened(self, now_s: float) -> HealthChange | None:
        """Take note that the link is open and the device has said who it is."""
        self._opened_s = now_s
        self._heard = self.limits.live_on_open
        self._activity = 0
        self._frozen = Frozen()
        self._suspicions.clear()
        return self._judge(now_s)

    def reading(self, now_s: float, reading: Reading) -> HealthChange | None:
        """Take note of a fresh reading."""
        self.last_reading_s = now_s
        self._heard = True
        self._frames.add(now_s, bad=False)
        gained = activity(reading)
        if gained is not None:
            self._activity = self._activity + gained if gained else _rest(reading)
        if (frozen := self._frozen.repeats(reading)) is not None:
            self._suspect("frozen", on=frozen)
        for code, on in device_faults(reading).items():
            self._suspect(code, on=on)
        self._forgive(now_s)
        return self._judge(now_s)

    def bad_frame(self, now_s: float) -> HealthChange | None:
        """Take note of bytes that were no record; they are no sign of life."""
        self._frames.add(now_s, bad=True)
        return self._judge(now_s)

    def fault(self, now_s: float, detail: str) -> HealthChange | None:
        """Take note that the device itself reports a fault, through its driver."""
        self._heard = True
        self._suspicions["device_fault"] = now_s + FAULT_S
        return self._judge(now_s, detail)

    def suspect(self, now_s: float, code: str, *, on: bool) -> HealthChange | None:
        """Take note of what only the lane can know, e.g. vehicles that a camera never saw."""
        (self._told.add if on else self._told.discard)(code)
        return self._judge(now_s)

    def tick(self, now_s: float) -> HealthChange | None:
        """Let time pass."""
        return self._judge(now_s)

    def lost(self, cause: str, detail: str) -> HealthChange | None:
        """Take note that the link is gone or could not be opened."""
        self._opened_s = None
        return self._step(News.LOST, cause, detail)

    def exhausted(self, cause: str, detail: str) -> HealthChange | None:
        """Take note that the restart budget is spent."""
        self._opened_s = None
        return self._step(News.EXHAUSTED, cause, detail)

    def refused(self, detail: str) -> HealthChange | None:
        """Take note that the options cannot work."""
        self._opened_s = None
        return self._step(News.REFUSED, "config", detail)

    def disabled(self, detail: str) -> HealthChange | None:
        """Take note that a person does without this device."""
        self._opened_s = None
        return self._step(News.DISABLED, "disabled", detail)

    def enabled(self) -> HealthChange | None:
        """Take note that a person wants this device again."""
        return self._step(News.ENABLED, None, "")

    # --- what follows ---------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a vehicle is in the portal or a scan is open, as far as the readings say.

        One scan record after an end marker may be the tail of that occupancy; two are not.
        """
        return self._activity >= 2

    def age_s(self, now_s: float) -> float | None:
        """Return the age of the last reading; ``None`` before the first one."""
        return None if self.last_reading_s is None else now_s - self.last_reading_s

    def reopen_due(self, now_s: float) -> bool:
        """Whether an open link has been silent for so long that it must be opened anew."""
        limits = self.limits
        limit_s = limits.busy_reopen_s if self.busy and limits.busy_reopen_s else limits.reopen_s
        return self._opened_s is not None and limit_s is not None and self._silence_s(now_s) > limit_s

    def backoff_s(self, now_s: float) -> tuple[float, float]:
        """Return the first and the longest pause before the next try."""
        age_s = self.age_s(now_s)
        hurry = self.busy and age_s is not None and age_s <= BUSY_KEPT_S
        return self.limits.busy_backoff_s if hurry else self.limits.backoff_s

    def _silence_s(self, now_s: float) -> float:
        since = [at_s for at_s in (self._opened_s, self.last_reading_s) if at_s is not None]
        return now_s - max(since)

    def _suspect(self, code: str, *, on: bool) -> None:
        if on:
            self._suspicions[code] = math.inf
        else:
            self._suspicions.pop(code, None)

    def _judge(self, now_s: float, detail: str = "") -> HealthChange | None:
        """Say what the open link amounts to now."""
        if self._opened_s is None:
            return None
        limits = self.limits
        limit_s = limits.busy_stale_s if self.busy and limits.busy_stale_s else limits.stale_s
        silence_s = self._silence_s(now_s)
        if limit_s is not None and silence_s > limit_s:
            return self._step(
                News.SILENT, "silence", f"no reading for {silence_s:.1f} s, limit {limit_s:g} s"
            )
        if not self._heard:
            return None
        if self._frames.too_bad(now_s):
            self._suspicions["bad_frames"] = math.inf
        if suspected := self._suspicions.keys() | self._told:
            return self._step(News.SUSPECT, ",".join(sorted(suspected)), detail)
        return self._step(News.LIVE, None, "")

    def _forgive(self, now_s: float) -> None:
        """Drop what a fresh reading disproves: time alone does not."""
        if not self._frames.too_bad(now_s):
            self._suspicions.pop("bad_frames", None)
        for code in [code for code, until_s in self._suspicions.items() if until_s <= now_s]:
            del self._suspicions[code]

    def _step(self, news: News, cause: str | None, detail: str) -> HealthChange | None:
        """The one writer: change the state by the table, and the cause of a degraded device."""
        before, to = self.state, TABLE[self.state].get(news, self.state)
        if to == before and not (to == Health.DEGRADED and cause != self.cause):
            return None
        self.state, self.cause, self.detail = to, cause, detail
        return HealthChange(before, to, cause, detail)

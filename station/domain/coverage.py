"""Coverage truth: which checks of one vehicle were done, which failed, and why.

Missing data is never done. A check is done only when every measurement of it was whole; a failure that was
only presumed, because nothing had come, is mended by a whole measurement that comes late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from station.domain.values import Check, Coverage, CoverageState

REQUIRABLE = ("rpm", "scanner", "lpr", "ocr", "manifest")
"""Names of the checks, in the order of the coverage record."""


@dataclass(slots=True)
class Checks:
    """The checks of one vehicle as far as they are known."""

    fitted: frozenset[str]
    required: frozenset[str]
    known: dict[str, Check] = field(default_factory=dict)
    running: Counter[str] = field(default_factory=Counter)
    """Measurements that have begun and not ended: two portals may measure one vehicle."""
    doubted: dict[str, str] = field(default_factory=dict)
    """Checks that stay failed, and why: vehicles were missed, a device says the same again and again."""
    presumed: set[str] = field(default_factory=set)
    """Checks that failed because nothing came."""
    begun_s: float = 0.0
    """When the last measurement began."""

    def __post_init__(self) -> None:
        """Begin with every fitted check waiting and every other one not fitted."""
        for name in REQUIRABLE:
            state = CoverageState.WAITING if name in self.fitted else CoverageState.NOT_FITTED
            self.known.setdefault(name, Check(state=state))

    def __getitem__(self, check: str) -> Check:
        """Return one check."""
        return self.known[check]

    @property
    def coverage(self) -> Coverage:
        """Return the record of all checks."""
        return Coverage.model_validate(self.known)

    @property
    def measuring(self) -> bool:
        """Whether a portal or a scanner measures the vehicle now."""
        return self.running["rpm"] + self.running["scanner"] > 0

    @property
    def unfinished(self) -> bool:
        """Whether a measurement runs or a required check is still waited for."""
        waiting = any(self.known[check].state == CoverageState.WAITING for check in self.required)
        return waiting or any(self.running.values())

    def waiting(self) -> Iterator[str]:
        """Yield the checks of which nothing is known yet."""
        return (check for check, known in list(self.known.items()) if known.state == CoverageState.WAITING)

    def begun(self, check: str, now_s: float, *, settled: bool) -> str | None:
        """A measurement began; for a vehicle that is past all devices (``settled``) it mends nothing.

        Returns why the check is doubted from now on, if it is: that must be recorded.
        """
        self.running[check] += 1
        self.begun_s = now_s
        if not settled or check not in self.presumed:
            return None
        self.doubt(check, self.known[check].reason or "timeout")
        return self.doubted[check]

    def give_up(self, before_s: float) -> None:
        """Fail measurements that began before and have not ended: nobody waits for them any longer."""
        if self.begun_s <= before_s:
            for check, count in self.running.items():
                if count > 0:
                    self.presume(check, "timeout")
            self.running.clear()

    def ended(self, check: str, reason: str | None, fraction: float) -> None:
        """One measurement is whole (no ``reason``) or failed."""
        self.running[check] = max(0, self.running[check] - 1)
        failed = self.known[check].state == CoverageState.FAILED and check not in self.presumed
        if reason is not None or not failed:
            self.set(check, reason, fraction)

    def doubt(self, check: str, reason: str) -> None:
        """Not to be trusted for this vehicle, whatever its device says before or after."""
        self.doubted[check] = reason
        self.set(check, reason)

    def presume(self, check: str, reason: str) -> None:
        """Nothing came, and nothing is expected any more."""
        self.set(check, reason)
        self.presumed.add(check)

    def set(self, check: str, reason: str | None, fraction: float = 0.0) -> None:
        """Write a check down: done without a ``reason``, else failed."""
        reason = self.doubted.get(check, reason)
        state = CoverageState.DONE if reason is None else CoverageState.FAILED
        self.known[check] = Check(state=state, reason=reason, fraction=fraction)
        self.presumed.discard(check)

    def close(self) -> None:
        """The vehicle is gone: what is still waited for will not come."""
        for check in self.waiting():
            self.presume(check, "partial" if self.running[check] else "timeout")

"""What an alarm algorithm answers: value types shared by every algorithm on counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

REPLICA = "gross_ksigma_replica"
"""The device's own rule, repeated: where it disagrees with the device, one of them is not well."""


class Outcome(StrEnum):
    """The station's opinion; only ``NO_ALARM`` says that nothing was found."""

    ALARM = "alarm"
    NO_ALARM = "no_alarm"
    LOW_CONFIDENCE = "low_confidence"
    NOT_POSSIBLE = "not_possible"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One algorithm's answer about one occupancy, with all that is needed to repeat it.

    ``statistic`` is the largest test value and ``threshold`` the value that it had to exceed.
    ``t_first_s`` is the first crossing in seconds after the occupancy's first scan record. ``reason`` is
    a code (several: separated by blanks) for ``LOW_CONFIDENCE`` and ``NOT_POSSIBLE``.
    """

    algo: str
    version: int
    channel: str = "gamma"
    params: Mapping[str, float | int | str] = field(default_factory=dict)
    statistic: float | None = None
    threshold: float | None = None
    t_first_s: float | None = None
    outcome: Outcome = Outcome.NOT_POSSIBLE
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BackgroundEstimate:
    """Background of one channel before a vehicle came.

    ``cps`` per detector in the lane's detector order; ``counting_s`` is the time really counted, never
    wall time; ``records`` the records in it; ``newest_ns`` the monotonic arrival of the newest one.
    """

    cps: tuple[float, ...]
    counting_s: float
    records: int
    newest_ns: int

    @property
    def total_cps(self) -> float:
        """Rate of all detectors together, counts per second."""
        return sum(self.cps)


@dataclass(frozen=True, slots=True)
class OpinionResult:
    """What the second opinion says when an occupancy closes: verdicts and the background that they used."""

    verdicts: tuple[Verdict, ...]
    """Of each channel the calibrated test first."""
    gamma_background: BackgroundEstimate | None
    neutron_background: BackgroundEstimate | None
    gamma_limit: int | None
    neutron_limit: int | None
    suppression: float | None = None
    """Largest fraction of the gamma background that the vehicle kept from the panels."""
    suppression_limit: float | None = None
    """What an empty portal shows once in a thousand occupancies of this length."""
    s50: float | None = None
    """Net counts in a window of a source that is found in half of all cases behind this suppression."""


def relation(device_alarm: bool, outcomes: Iterable[Outcome]) -> str:
    """Return how the station's tests of one channel stand to the device's own word.

    ``agree_alarm``, ``agree_none``, ``device_only``, ``station_only``, or ``undecided`` where a test that
    could have contradicted was not possible or is not sure.
    """
    found = set(outcomes)
    if Outcome.ALARM in found:
        return "agree_alarm" if device_alarm else "station_only"
    if found != {Outcome.NO_ALARM}:
        return "undecided"
    return "device_only" if device_alarm else "agree_none"

"""What every test of one occupancy shares: an alarm stays, and missing data make no plain "no alarm"."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from imaging.radiation.verdict import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Figures:
    """What a test has found so far; ``tested``: how many windows or records were judged."""

    params: Mapping[str, float | int | str]
    statistic: float | None
    threshold: float
    tested: int
    notes: tuple[str, ...] = ()


class Run(ABC):
    """One test of one occupancy."""

    CHANNEL: ClassVar[str]
    VERSION: ClassVar[int] = 1

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._broken = False
        self._first_s: float | None = None

    @property
    def alarmed(self) -> bool:
        """Whether it has alarmed: nothing that comes later takes that back."""
        return self._first_s is not None

    def gap(self) -> None:
        """Records are missing: "no alarm" is not plain any more."""
        self._broken = True

    def _cross(self, t_s: float) -> bool:
        """Note an alarm, in seconds after the first scan record; return whether it is the first."""
        if self._first_s is not None:
            return False
        self._first_s = t_s
        return True

    @abstractmethod
    def _figures(self) -> Figures:
        """Return what has been found so far."""

    def verdict(self, doubts: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> Verdict:
        """Return the answer so far; ``doubts`` lower a "no alarm" to low confidence, ``notes`` do not."""
        found = self._figures()
        doubts = (*doubts, "data_missing") if self._broken else doubts
        if self.alarmed:
            outcome = Outcome.ALARM
        elif found.tested == 0:
            outcome, doubts = Outcome.NOT_POSSIBLE, ("too_short",)
        else:
            outcome = Outcome.LOW_CONFIDENCE if doubts else Outcome.NO_ALARM
        return Verdict(
            algo=self._algorithm,
            version=self.VERSION,
            channel=self.CHANNEL,
            params={**found.params, "notes": " ".join((*notes, *found.notes))},
            statistic=found.statistic,
            threshold=found.threshold,
            t_first_s=self._first_s,
            outcome=outcome,
            reason=" ".join(doubts) or None,
        )

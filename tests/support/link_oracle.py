"""What a story says of the link by itself, beside the machine: was it up throughout an occupancy?"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from station.domain.occupancy_record import Occupancy


class Said(Enum):
    """What one input says of where a vehicle begins and ends."""

    VACANT = auto()
    """A leading background, or a poll of an empty portal."""
    END = auto()
    PRESENT = auto()
    OTHER = auto()


@dataclass
class LinkOracle:
    """Every input of a story in order; ``began`` is where the open occupancy was told."""

    said: list[Said] = field(default_factory=list)
    down: list[bool] = field(default_factory=list)
    """Whether the link was said to be down, after each input."""
    began: int = 0
    counted: bool = False
    """It began with a step of the counter, right after a poll of the vehicle before it."""

    def note(self, said: Said, *, up: bool | None = None) -> None:
        """Take an input before the machine does; ``up`` if it is the link's."""
        before = bool(self.down) and self.down[-1]
        self.said.append(said)
        self.down.append(before if up is None else not up)

    def begin(self, *, counted: bool = False) -> None:
        """The machine has opened an occupancy with the last input."""
        self.began, self.counted = len(self.said) - 1, counted

    def up_throughout(self, occupancy: Occupancy) -> bool:
        """Whether the link was up from the last word that nobody is there to the end of the vehicle."""
        last, reason = len(self.said) - 1, occupancy.close_reason
        anchors = (Said.VACANT, Said.END, Said.PRESENT) if self.counted else (Said.VACANT, Said.END)
        first = self._next(range(self.began - 1, -1, -1), *anchors)
        if first is None:
            return False
        if reason == "gx":
            end = self._next(range(self.began, last + 1), Said.END)
        elif reason == "cleared":
            present = self._next(range(last - 1, self.began - 1, -1), Said.PRESENT)
            end = self._next(range(self.began if present is None else present, last + 1), Said.VACANT)
        else:
            end = last - 1  # the last input is only what let the time pass
        return not any(self.down[first : (last if end is None else end) + 1])

    def _next(self, where: range, *kinds: Said) -> int | None:
        return next((i for i in where if self.said[i] in kinds), None)

"""What a step is, what it may use, and the library of all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hil.measure import Measured, Strict
from station.lanefile import LaneFile

PartT = TypeVar("PartT")
ArgsT = TypeVar("ArgsT", bound=Strict)


class StepError(Exception):
    """The step could not be carried out; the sentence says what was met and what to do."""


@dataclass(slots=True)
class Bench:
    """What the phases of one run share; closing ``stack`` undoes whatever a step opened."""

    lane_file: LaneFile
    out: Path
    """Where the run's reports and logs are written."""
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    parts: dict[type, Any] = field(default_factory=dict)

    def part(self, kind: type[PartT]) -> PartT:
        """Return what an earlier phase set up; raises ``StepError``."""
        found = self.parts.get(kind)
        if not isinstance(found, kind):
            raise StepError(f"no {kind.__name__} was set up; put its opening step into [[setup]]")
        return found


Put = Callable[[str, Measured], None]
"""How a step tells a value as soon as it has it: what was measured before an error is kept."""


@dataclass(frozen=True, slots=True)
class Gives:
    """One measurement of a step: its unit, and what to tell a person when it is outside its limits."""

    unit: str
    cause: str
    advice: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its arguments' model, its measurements, and the function that does it."""

    args: type[Strict]
    gives: Mapping[str, Gives]
    do: Callable[[Bench, Any, Put], Awaitable[None]]


class NoArgs(Strict):
    """A step without arguments."""


@cache
def library() -> Mapping[str, Step]:
    """Return every step by its name."""
    from hil.steps import io, lane  # here, because they are written with what stands above

    return {**io.STEPS, **lane.STEPS}

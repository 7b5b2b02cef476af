"""One measurement: a value with a unit against a limit, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Measured = bool | int | float | str
"""What a step may measure."""


class Strict(BaseModel):
    """Base of everything in a plan file: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Outcome(StrEnum):
    """What became of a measurement."""

    PASS = "PASS"  # noqa: S105 - a verdict, no password
    FAIL = "FAIL"
    UNSET = "UNSET"
    """The step never gave the value: counts as a failure unless the plan allows it."""
    SKIPPED = "SKIPPED"
    """The phase did not run."""


class Limits(Strict):
    """``[[main.measure]]``: what is measured, in which unit, and the one rule that it must keep.

    ``min`` and ``max`` are inclusive. ``marginal_min`` and ``marginal_max`` lie inside them: a value between
    limit and band passes, and is counted apart because the next one may not.
    """

    name: Annotated[str, Field(min_length=1)]
    unit: Annotated[str, Field(min_length=1)]
    """``"1"`` for a plain number, a yes or no, or a text."""
    min: float | None = None
    max: float | None = None
    marginal_min: float | None = None
    marginal_max: float | None = None
    equals: Measured | None = None
    one_of: Annotated[tuple[Measured, ...], Field(min_length=1, strict=False)] | None = None
    allow_unset: bool = False

    @model_validator(mode="after")
    def _one_rule(self) -> Limits:
        between = self.min is not None or self.max is not None
        if sum((between, self.equals is not None, self.one_of is not None)) != 1:
            raise ValueError("give exactly one rule: min and/or max, equals, or one_of")
        band = [v for v in (self.min, self.marginal_min, self.marginal_max, self.max) if v is not None]
        if not all(map(math.isfinite, band)) or band != sorted(band):
            raise ValueError("limits must be finite and in the order min, marginal_min, marginal_max, max")
        for name in ("min", "max"):
            if getattr(self, f"marginal_{name}") is not None and getattr(self, name) is None:
                raise ValueError(f"marginal_{name} without {name}: a band lies inside a limit")
        return self

    def text(self) -> str:
        """Return the rule as a person reads it."""
        if self.equals is not None:
            return f"= {show(self.equals)}"
        if self.one_of is not None:
            return "one of " + ", ".join(map(show, self.one_of))
        low = [] if self.min is None else [f"≥ {show(self.min)}"]
        return " and ".join(low + ([] if self.max is None else [f"≤ {show(self.max)}"]))


@dataclass(frozen=True, slots=True)
class Measurement:
    """A judged value; ``value`` is ``None`` when unset or skipped."""

    limits: Limits
    value: Measured | None
    outcome: Outcome
    marginal: bool = False

    @property
    def ok(self) -> bool:
        """Whether this lets its phase pass."""
        return self.outcome is Outcome.PASS or (self.outcome is Outcome.UNSET and self.limits.allow_unset)


def judge(limits: Limits, value: Measured | None) -> Measurement:
    """Hold a value against its limits; NaN and values of another kind fail, they are never compared."""
    if value is None:
        return Measurement(limits, None, Outcome.UNSET)
    if limits.equals is not None or limits.one_of is not None:
        allowed = limits.one_of if limits.one_of is not None else (limits.equals,)
        inside, marginal = any(_same(value, one) for one in allowed), False
    elif isinstance(value, bool) or not isinstance(value, int | float):
        inside, marginal = False, False
    else:
        inside = _between(value, limits.min, limits.max)
        marginal = inside and not _between(value, limits.marginal_min, limits.marginal_max)
    return Measurement(limits, value, Outcome.PASS if inside else Outcome.FAIL, marginal)


def _same(value: Measured, wanted: Measured | None) -> bool:
    """Compare without Python's ``True == 1``: a yes is no count."""
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _between(value: float, low: float | None, high: float | None) -> bool:
    return (
        (isinstance(value, int) or math.isfinite(value))
        and (low is None or value >= low)
        and (high is None or value <= high)
    )


def show(value: Measured | None) -> str:
    """Return a value as text: numbers with at most six digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)

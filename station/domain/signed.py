"""The pieces that every signed body is made of: strict, bounded, times in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

from station.domain.values import Value

DirectiveId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=64)]
_T = TypeVar("_T")
ListOf = Annotated[tuple[_T, ...], Field(strict=False, max_length=64)]
"""JSON has lists alone."""


class Strict(Value):
    """Base of what a central system sends: a number is no text, and ``true`` is no number."""

    model_config = ConfigDict(strict=True)


def _moment(text: str) -> str:
    """Check that this is RFC 3339 in UTC, as all times of the feed."""
    if not text.endswith("Z"):
        raise ValueError("must end with Z: times are UTC")
    datetime.fromisoformat(text)
    return text


Moment = Annotated[str, Field(max_length=32), AfterValidator(_moment)]


def moment_us(moment: str) -> int:
    """Return UTC in microseconds."""
    return round(datetime.fromisoformat(moment).timestamp() * 1e6)

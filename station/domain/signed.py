"""The pieces that every signed body is made of: strict, bounded, times in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from station.domain.values import Value

DIRECTIVE_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
DirectiveId = Annotated[str, Field(pattern=DIRECTIVE_ID)]
Text = Annotated[str, Field(min_length=1, max_length=64)]
Amount = Annotated[float, Field(ge=0, le=2**53 - 1)]
"""As far as JSON's numbers are exact."""
SPARE_MEMBERS = 16
"""More members than a body can have and still be told each one that is unknown."""
_T = TypeVar("_T")
ListOf = Annotated[tuple[_T, ...], Field(strict=False, max_length=64)]
"""JSON has lists alone."""


class Strict(Value):
    """Base of what programs send: a number is no text, ``true`` is no number, and 3.0 is the integer 3.

    The last is what JSON Schema 2020-12 says, which describes these bodies, and RFC 8785, in whose form they
    are signed, writes both the same.
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if len(given) > len(cls.model_fields) + SPARE_MEMBERS:  # else telling them all would hold up the lane
            known = ", ".join(field.alias or name for name, field in cls.model_fields.items())
            raise ValueError(f"has {len(given)} members; known are {known}")
        return {name: _without_point(value) for name, value in given.items()}


def _without_point(value: Any) -> Any:
    """Return a whole number as an integer, also one in a list or a table of numbers.

    Above 2^53 a float does not say which one it is.
    """
    if isinstance(value, list):
        return [_number(item) for item in value]
    if isinstance(value, dict):
        return {name: _number(item) for name, item in value.items()}
    return _number(value)


def _number(value: Any) -> Any:
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if whole else value


def _moment(text: str) -> str:
    """Check that this is a day and a time that exist."""
    datetime.fromisoformat(text)
    return text


Moment = Annotated[
    str,
    Field(max_length=32, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"),
    AfterValidator(_moment),
]
"""RFC 3339 in UTC, as all times of the feed."""


def moment_us(moment: str) -> int:
    """Return UTC in microseconds.

    The feed's integers reach from 1684 to 2255: what lies beyond counts as their end.
    """
    return min(max(round(datetime.fromisoformat(moment).timestamp() * 1e6), 1 - 2**53), 2**53 - 1)

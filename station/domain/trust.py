"""Trusted-trader lists as a central system sends them: kept, and looked at by no rule of this version."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from station.domain.signed import Moment, Strict, Text

MOST_PARTIES = 5_000
"""More come in parts; the bytes of one record are the nearer limit."""
MOST_PARTS = 64


class Party(Strict):
    """One certified party, or one that is not any more; only ``certified`` and in date benefits."""

    ref: Text
    role: Literal["carrier", "driver", "importer", "manufacturer"]
    status: Literal["applicant", "certified", "suspended", "rejected", "expelled"]
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment | None = None


class TrustBody(Strict):
    """A whole list, or what changed since the last one; a long list comes in parts under ids of their own."""

    program: Text
    list_version: int = Field(ge=1, le=2**31)
    as_of: Moment
    full: bool
    max_age_s: int = Field(default=86_400, ge=60, le=31_536_000)
    parties: Annotated[tuple[Party, ...], Field(strict=False, max_length=MOST_PARTIES)]
    part: int | None = Field(default=None, ge=1, le=MOST_PARTS)
    parts: int | None = Field(default=None, ge=1, le=MOST_PARTS)

    @model_validator(mode="after")
    def _parts(self) -> Self:
        if (self.part is None) != (self.parts is None):
            raise ValueError("part and parts come together")
        if self.part is not None and self.parts is not None and self.part > self.parts:
            raise ValueError("part must not be above parts")
        return self

"""Every fact that the journal records about itself, beside what the lane records."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from station.domain.events import LaneEvent, Prio


class RecordSalvaged(LaneEvent):
    """A record of an earlier epoch, taken over from quarantine; its priority and flags are the original's.

    ``original`` is the whole event as it was first recorded: one that is salvaged again is never nested.
    """

    original: dict[str, Any]


class RecordsLost(LaneEvent):
    """Records of an earlier epoch, from the first to the last, that nothing readable holds any more."""

    PRIO: ClassVar[Prio] = Prio.ALARM
    epoch: str | None
    first: int = Field(alias="from")
    to: int


class EpochSalvaged(LaneEvent):
    """An earlier epoch is accounted for, from the first to the last record: ``gaps`` of them are lost."""

    epoch: str | None
    first: int = Field(alias="from")
    to: int
    salvaged: int
    gaps: int


class ConsumerAhead(LaneEvent):
    """A consumer named a record that was never written: it, or the station, has lost data."""

    consumer: str
    seq: int
    head: int


class RecordsRefused(LaneEvent):
    """A consumer has refused more records than a person would overlook; ``refused`` counts up to 10,001."""

    consumer: str
    refused: int


class ConsumerDropped(LaneEvent):
    """Two persons gave up a consumer that the lane file no longer names: nothing is kept for it any longer.

    ``authenticated`` says whether the persons had signed in; ``acked`` is how far the consumer had come.
    """

    consumer: str
    acked: int
    persons: tuple[str, ...]
    reason: str
    authenticated: bool


class NackCleared(LaneEvent):
    """Two persons gave up a record that a consumer had refused; it is not kept for that any longer.

    ``why`` is what the consumer had said, ``tries`` how often.
    """

    consumer: str
    refused_seq: int
    why: str
    tries: int
    persons: tuple[str, ...]
    reason: str
    authenticated: bool


class BlobDamaged(LaneEvent):
    """Bytes of a blob are no longer those of its name, or are gone: told once for each run of the station."""

    sha256: str


class RecordReoffered(LaneEvent):
    """A record that a consumer had refused is offered to it anew, with the priority and flags of that record.

    ``original`` is the whole event of record ``refused_seq``, or the one that it wraps: never nested.
    """

    consumer: str
    refused_seq: int
    original: dict[str, Any]

"""What the journal notices about itself and its readers that a person must see: told once, and bounded."""

from __future__ import annotations

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from station.store import nacks
from station.store.place import Journal

MANY_REFUSED = 1000
"""So many open nacks of one consumer are more than a person overlooks."""
COUNT_EACH_S = 10.0
MOST_BLOBS = 1000
"""Damaged blobs that are remembered as told: more are no better news."""
MOST_AHEAD = 64


@dataclass(frozen=True, slots=True)
class Ahead:
    """A consumer named record ``seq``, which is beyond ``head``: somebody has lost data."""

    consumer: str
    seq: int
    head: int


@dataclass(frozen=True, slots=True)
class News:
    """What happened since it was asked last, and what stands now."""

    ahead: tuple[Ahead, ...]
    blobs: tuple[str, ...]
    """SHA-256, in hex, of blobs that were found damaged."""
    refused: Mapping[str, int]
    """Consumers with more than ``MANY_REFUSED`` open nacks, and how many those are."""


@dataclass(slots=True)
class Troubles:
    """What waits to be told. ``refused`` is written by the journal's thread, all else by the loop's."""

    refused: Mapping[str, int] = field(default_factory=dict)
    _ahead: OrderedDict[str, Ahead] = field(default_factory=OrderedDict)
    _blobs: OrderedDict[str, bool] = field(default_factory=OrderedDict)
    """SHA-256, and whether it was told."""
    _told: Mapping[str, int] = field(default_factory=dict)

    def is_ahead(self, consumer: str, seq: int, head: int) -> None:
        """Note that a consumer named a record that was never written; its newest word counts."""
        self._ahead[consumer] = Ahead(consumer, seq, head)
        while len(self._ahead) > MOST_AHEAD:
            self._ahead.popitem(last=False)

    def is_damaged(self, sha256: str) -> None:
        """Note a damaged blob, each once."""
        self._blobs.setdefault(sha256, False)
        while len(self._blobs) > MOST_BLOBS:
            self._blobs.popitem(last=False)

    def take(self) -> News | None:
        """Return what nobody was told yet; ``None`` if there is nothing new."""
        blobs = tuple(name for name, told in self._blobs.items() if not told)
        refused = self.refused
        if not (self._ahead or blobs or refused.keys() != self._told.keys()):
            return None
        news = News(tuple(self._ahead.values()), blobs, refused)
        self._ahead.clear()
        self._blobs |= dict.fromkeys(blobs, True)
        self._told = refused
        return news


class CountRefused:
    """The chore that counts open nacks."""

    def __init__(self, troubles: Troubles) -> None:
        """``troubles`` is where it says so."""
        self._troubles = troubles
        self._next_s = 0.0

    def next(self, journal: Journal, *, idle: bool) -> None:
        """Count at most every ten seconds."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + COUNT_EACH_S
        self._troubles.refused = dict(_many(journal.connection, journal.acked))

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Nothing to tidy."""


def _many(connection: sqlite3.Connection, consumers: Iterable[str]) -> Iterable[tuple[str, int]]:
    for name in consumers:
        if (count := nacks.count(connection, name)) > MANY_REFUSED:
            yield name, count

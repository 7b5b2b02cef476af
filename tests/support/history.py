"""Three witnesses of one run, held against each other: devices, the station's confirmations, a consumer.

What a device emitted is known from its own wire, read by a second listener (``PortalTap``), never from the
station. What the station confirmed is what it answered (201, a receipt). What a consumer received is every
item of every page, with the cursor that it asked with. ``faults`` names each promise that they break:

* nothing that was confirmed is missing at the consumer, and it is the same record;
* after dropping by ``id`` what it has already, the consumer has each sequence number once, without a gap;
* one ``id`` never is two different records;
* cursors, asked or acknowledged, go forward within an epoch, never beyond what was received;
* every alarm that a device emitted is in the records, and no record has an alarm that none emitted.

What a device emitted in the last moments before a kill may never have reached the station: that is said with
``certain=False``, and then the alarm may be there or not.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Record = dict[str, Any]


class Alarm(NamedTuple):
    """An alarm on a device's wire: what the record must say in the same numbers."""

    device: str
    channel: str
    counts: tuple[int, ...]
    certain: bool = True


class Confirmed(NamedTuple):
    """What the station said is stored: where, and of which type."""

    id: str
    type: str


class Page(NamedTuple):
    """One answer of the feed to the cursor ``after``; events with their ``seq``, stubs without an ``id``."""

    epoch: str
    after: int
    next: int
    items: tuple[Record, ...]


@dataclass
class History:
    """What the three witnesses say, each in its own order."""

    emitted: list[Alarm] = field(default_factory=list)
    confirmed: list[Confirmed] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    acked: list[tuple[str, int]] = field(default_factory=list)
    """Epoch and cursor of each acknowledgement that was answered with success."""

    def received(self) -> dict[str, Record]:
        """Return the records in the order of their coming, dropping by ``id`` what was there already."""
        found: dict[str, Record] = {}
        for page in self.pages:
            for item in page.items:
                found.setdefault(item["id"], item)
        return found


def faults(history: History) -> list[str]:
    """Return every broken promise as a sentence; an empty list is a sound history."""
    return [
        *_confirmed_and_missing(history),
        *_doubled_or_missing(history),
        *_changed(history),
        *_cursors(history),
        *_alarms(history),
    ]


def _confirmed_and_missing(history: History) -> Iterator[str]:
    received = history.received()
    for confirmed in history.confirmed:
        if confirmed.id not in received:
            yield f"{confirmed.id} ({confirmed.type}) was confirmed and never received"
        elif received[confirmed.id]["type"] != confirmed.type:
            yield f"{confirmed.id} was confirmed as {confirmed.type}, not {received[confirmed.id]['type']}"


def _doubled_or_missing(history: History) -> Iterator[str]:
    by_epoch: dict[str, list[int]] = {}
    for id_, item in history.received().items():
        epoch, _, seq = id_.rpartition(":")
        if int(seq) != item["seq"]:
            yield f"{id_} came as number {item['seq']}"
        by_epoch.setdefault(epoch, []).append(item["seq"])
    for epoch, seqs in by_epoch.items():
        twice = [seq for seq, count in Counter(seqs).items() if count > 1]
        lacking = sorted(set(range(min(seqs), max(seqs) + 1)) - set(seqs))
        if twice or lacking:
            yield f"epoch {epoch}: twice {twice}, missing {lacking}"
        if seqs != sorted(seqs):
            yield f"epoch {epoch}: first comings are out of order"


def _changed(history: History) -> Iterator[str]:
    first = history.received()
    for page in history.pages:
        yield from (f"{i['id']} came in two forms" for i in page.items if i != first[i["id"]])


def _cursors(history: History) -> Iterator[str]:
    reached: dict[str, int] = {}
    for page in history.pages:
        seqs = [item["seq"] for item in page.items]
        if seqs != list(range(page.after + 1, page.after + 1 + len(seqs))):
            yield f"the page after {page.after} has {seqs}"
        if page.next != page.after + len(seqs):
            yield f"the page after {page.after} with {len(seqs)} items goes on at {page.next}"
        if page.after > reached.setdefault(page.epoch, page.after):
            yield f"the consumer asked after {page.after} and had come to {reached[page.epoch]}"
        reached[page.epoch] = max(reached[page.epoch], page.next)
    acked: dict[str, int] = {}
    for epoch, seq in history.acked:
        if seq < acked.get(epoch, 0):
            yield f"the acknowledged cursor went back from {acked[epoch]} to {seq}"
        if seq > reached.get(epoch, 0):
            yield f"{seq} was acknowledged, {reached.get(epoch, 0)} was the last that came"
        acked[epoch] = seq


def _alarms(history: History) -> Iterator[str]:
    recorded = Counter(
        Alarm(data["device"], data["channel"], tuple(data["counts"]))
        for data in (item.get("data", {}) for item in history.received().values())
        if {"device", "channel", "counts"} <= data.keys()
    )
    certain = Counter(alarm for alarm in history.emitted if alarm.certain)
    emitted = Counter(alarm._replace(certain=True) for alarm in history.emitted)
    yield from (f"no record of {alarm}" for alarm in (certain - recorded))
    yield from (f"a record of {alarm}, which no device emitted" for alarm in (recorded - emitted))


@dataclass
class PortalTap:
    """Listens to a portal beside the station: its lines as they came, with this computer's time."""

    port: int
    heard: list[tuple[float, str]] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen until the portal ends."""
        link = socket.create_connection(("127.0.0.1", self.port), 5)
        link.settimeout(None)
        self._thread = threading.Thread(target=self._listen, args=(link,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait until the portal has ended."""
        if self._thread is not None:
            self._thread.join(10)

    def _listen(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as lines:
            try:
                for line in lines:
                    if line.endswith(b"\n"):
                        self.heard.append((time.monotonic(), line.decode("ascii").strip()))
            except OSError:
                return

    def alarms(self, device: str, certain_until_s: float) -> list[Alarm]:
        """Return every alarm line; the first one of each channel and occupancy must be in the records.

        The others may be: a station that lost count for a moment raises the alarm anew. What came later than
        ``certain_until_s`` may not have reached the station any more.
        """
        found, said = [], set[str]()
        for at_s, line in self.heard:
            tag, _, rest = line.partition(",")
            if tag in ("GX", "GB"):  # the end of an occupancy, or nobody there
                said.clear()
            channel = {"GA": "gamma", "NA": "neutron"}.get(tag)
            if channel:
                counts = tuple(int(column) for column in rest.split(",")[:4])
                certain = channel not in said and at_s <= certain_until_s
                found.append(Alarm(device, channel, counts, certain))
                said.add(channel)
        return found

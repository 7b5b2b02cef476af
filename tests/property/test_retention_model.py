"""Any order of appends, acknowledgements, refusals, holds, receipts, restarts: nothing needed is removed.

New epochs come between, and the store makes room all the time, as if it were always full. A plain model
knows what somebody still needs; after each step that must be there, the feed must be dense above the anchor,
and the chain whole.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from station.store import orphans, retention
from station.store.chain import SALVAGED, Row
from station.store.draft import BlobRef
from station.store.feed import Trimmed, read_after
from station.store.nacks import BadNack, Nack
from station.store.ops import Ack
from station.store.own import OPENED, SEALED
from station.store.place import Consumer
from station.store.receipts import UnknownBlob
from station.store.verify import verify
from tests.support.epochs import distrusted, salvage_ends
from tests.support.journal import MEMORY, of_inspection, open_small
from tests.support.trimming import anchor, blob_bytes, hold, page, receive, stored

CONSUMERS = [
    Consumer("central", required=True, blobs=True),
    Consumer("port", required=True),
    Consumer("guest", required=False),
]
KINDS = ["carril.occupancy.started", OPENED, SEALED]
SUBJECTS = st.sampled_from(["i1", "i2", "i3", "lane"])
PHOTOS = st.sampled_from([b"a" * 100, b"b" * 200, b"c" * 300, b"d" * 400])


def own(rows: list[Row]) -> set[int]:
    """What earlier epochs had told of themselves, by the numbers of those records."""
    told = [row.told() for row in rows if row.type == SALVAGED]
    return {first for first, kind, _ in told if kind.startswith(("carril.epoch.", "carril.records."))}


class RetentionMachine(RuleBasedStateMachine):
    """The store beside what somebody still needs."""

    @initialize()
    def begin(self) -> None:
        self.patches = [
            patch.object(retention, name, value)
            for name, value in {
                "TRIM_FROM": 0.0,
                "TRIM_TO": 0.0,
                "AGAIN_S": 0.0,
                "LOOK_EACH": 1,
                "STEP_RECORDS": 3,
            }.items()
        ] + [patch.object(orphans, "SCAN_EACH_S", 0.0), patch.object(orphans, "STEP_EACH_S", 0.0)]
        for each in self.patches:
            each.start()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.subjects: dict[int, str] = {}
        self.first: dict[int, int] = {}
        """The number that each record had when it was written first."""
        self.blobs: dict[int, set[str]] = {}
        self.sizes: dict[str, int] = {}
        self.open: dict[str, int] = {}
        self.held: set[str] = set()
        self.gone: set[int] = set()
        self.lost: set[str] = set()
        self.refused: set[tuple[str, int]] = set()
        self.acked = dict.fromkeys(("central", "port", "guest"), 0)
        self.received: set[str] = set()
        self.start()

    def start(self) -> None:
        self.store = open_small(self.folder / "state", consumers=CONSUMERS, blob_quota_bytes=10**9)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            for each in self.patches:
                each.stop()
            report = verify(self.folder / "state")
            shutil.rmtree(self.folder)
            assert report.ok, report.faults

    # --- what happens ---------------------------------------------------------------------------

    @rule(subject=SUBJECTS, photos=st.lists(PHOTOS, max_size=2), kind=st.sampled_from(KINDS))
    def append(self, subject: str, photos: list[bytes], kind: str) -> None:
        names = [self.store.keep_blob(data, "image/jpeg") for data in photos]
        refs = tuple({BlobRef(f"photo{n}", name) for n, name in enumerate(names)})
        done = self.store.append_soon([replace(of_inspection(subject, kind), blobs=refs)]).result(10)
        self.subjects[done.last], self.blobs[done.last] = subject, set(names)
        self.first[done.last] = done.last
        self.sizes |= {name: len(data) for name, data in zip(names, photos, strict=True)}
        self.lost -= set(names)
        if kind == OPENED:
            self.open.setdefault(subject, done.last)
        if kind == SEALED:
            self.open.pop(subject, None)

    @rule(count=st.integers(1, 12), subject=SUBJECTS)
    def append_many(self, count: int, subject: str) -> None:
        for _ in range(count):
            self.append(subject, [], KINDS[0])

    @rule(who=st.sampled_from(["central", "port", "guest"]), back=st.integers(0, 6), refuses=st.booleans())
    def ack(self, who: str, back: int, refuses: bool) -> None:
        seq = max(self.store.published - back, 0)
        if seq == 0:
            return
        nacks = [Nack(seq, "schema")] if refuses and seq > anchor(self.store) else []
        before = self.needed_photos()
        try:
            self.store._submitted(lambda: Ack(who, self.store.epoch, seq, nacks)).result(10)
        except BadNack:  # it was acknowledged, and was removed just now
            return
        self.acked[who] = max(self.acked[who], seq)
        self.refused |= {(who, nack.seq) for nack in nacks}
        if nacks:
            self.lost |= {name for name in self.sizes if not self.path(name).exists()} - before

    @rule()
    def everybody_acks(self) -> None:
        for who in ("central", "port"):
            self.ack(who, 0, refuses=False)

    @rule(subject=SUBJECTS, on=st.booleans())
    def hold(self, subject: str, on: bool) -> None:
        before, records = self.needed_photos(), self.needed()
        hold(self.store, subject, on=on)
        (self.held.add if on else self.held.discard)(subject)
        self.gone |= set(self.subjects) - set(stored(self.store)) - records  # before it was held
        self.lost |= {name for name in self.sizes if not self.path(name).exists()} - before

    def needed_photos(self) -> set[str]:
        """Blobs that somebody still needs; a hold or a refusal that came late found some gone."""
        named = {name for seq in self.needed() for name in self.blobs[seq]}
        return (named | (set(self.sizes) - self.received)) - self.lost

    def path(self, name: str) -> Path:
        return self.store._blobs.path(bytes.fromhex(name))

    @rule(number=st.integers(0, 3))
    def receive(self, number: int) -> None:
        name = next(iter(sorted(self.sizes)[number:]), None)  # what is there is the trimming's to say
        if name is None:
            return
        with contextlib.suppress(UnknownBlob):  # it was received, and went with its last record
            receive(self.store, name, size=self.sizes[name])
            self.received.add(name)

    @rule()
    def restart(self) -> None:
        epoch, published = self.store.epoch, self.store.published
        self.store.close()
        report = verify(self.folder / "state")
        assert report.ok, report.faults
        self.start()
        assert (self.store.epoch, self.store.published) == (epoch, published)
        assert self.store.damaged == ()

    @rule()
    def new_epoch(self) -> None:
        """Behind a journal that cannot be trusted what was needed comes, and what was removed does not."""
        if not self.subjects:
            return
        needed = {self.first[seq] for seq in self.needed()}
        photos, there = self.needed_photos(), stored(self.store)
        self.store.close()
        distrusted(self.folder / "state")
        self.start()
        salvage_ends(self.store, len(list((self.folder / "state" / "quarantine").glob("????-*"))))
        rows = self.store._readers.look(lambda view: read_after(view, 0, 10_000))
        came = {row.told()[0]: row.seq for row in rows if row.type == SALVAGED}
        assert needed <= came.keys() - own(rows) <= {self.first[seq] for seq in there if seq in self.first}
        now = {seq: came[first] for seq, first in self.first.items() if first in came}
        self.first = {now[seq]: self.first[seq] for seq in now}
        self.subjects = {now[seq]: self.subjects[seq] for seq in now}
        self.blobs = {now[seq]: self.blobs[seq] for seq in now}
        self.open = {subject: now[seq] for subject, seq in self.open.items()}
        self.gone, self.refused, self.received = set(), set(), set()
        self.acked = dict.fromkeys(self.acked, self.store.first_seq - 1)
        assert {name for name in photos if not self.path(name).exists()} == set()
        named = set().union(*self.blobs.values())
        self.sizes = {name: size for name, size in self.sizes.items() if name in named}
        self.lost = {name for name in self.sizes if not self.path(name).exists()}

    # --- what must hold -------------------------------------------------------------------------

    def needed(self) -> set[int]:
        """Records that somebody still needs."""
        limit = min(self.acked["central"], self.acked["port"], *(seq - 1 for seq in self.open.values()))
        refused = {seq for _, seq in self.refused}
        return {
            seq
            for seq, subject in self.subjects.items()
            if seq > limit or (subject in self.held and seq not in self.gone) or seq in refused
        }

    @invariant()
    def what_is_needed_is_there(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.needed() <= set(stored(self.store))
        for name in self.needed_photos():
            assert self.path(name).stat().st_size == self.sizes[name]
        counted, summed = blob_bytes(self.store)
        assert counted == summed

    @invariant()
    def the_feed_is_dense(self) -> None:
        if not hasattr(self, "store"):
            return
        while True:
            after = anchor(self.store)
            with contextlib.suppress(Trimmed):  # just now
                found = page(self.store, after)
                break
        assert b"damaged" not in b"".join(found.items)
        assert after + len(found.items) == self.store.published


TestRetention = RetentionMachine.TestCase
TestRetention.settings = settings(
    max_examples=50 if settings().max_examples < 1000 else 500, stateful_step_count=30, deadline=None
)

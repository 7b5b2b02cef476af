"""Any order of appends, repeats, acknowledgements, restarts and crashes: the journal equals a plain list."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from station.store.draft import BlobRef, Draft, Idem, Receipt
from station.store.errors import BeyondHead, RecordRejected, Repeated, WrongEpoch
from station.store.feed import read_after, read_open_subjects
from station.store.ops import Ack
from station.store.verify import verify
from tests.support.journal import MEMORY, draft, left_by_a_kill, open_small

SUBJECTS = st.sampled_from(["i1", "i2", "i3", "rpm1"])
DRAFTS = st.builds(
    draft,
    SUBJECTS,
    prio=st.integers(0, 3),
    simulated=st.booleans(),
    opens=st.booleans(),
    seals=st.booleans(),
    text=st.text(max_size=30),
    value=st.floats(-1e15, 1e15) | st.integers(-(2**53) + 1, 2**53 - 1),
)
BAD_DRAFTS = st.sampled_from(
    [
        draft("bad", n=2**53),
        draft("bad", n=float("inf")),
        draft("bad", prio=7),
        draft("bad", blobs=(BlobRef("photo", "ab" * 32),)),
        draft("x" * 201),
    ]
)


class JournalMachine(RuleBasedStateMachine):
    """The store beside a list."""

    def __init__(self) -> None:
        super().__init__()
        # In memory: it syncs at each step, and on a busy disk that became the time-out of the whole test,
        # which Hypothesis then called flaky.
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.crashes = 0
        self.state = self.folder / "state0"
        self.store = open_small(self.state)
        self.epoch = self.store.epoch
        self.records: list[Draft] = []
        self.open: dict[str, int] = {}
        self.keys: dict[str, str] = {}
        self.acked = 0

    def teardown(self) -> None:
        self.store.close()
        report = verify(self.state)
        shutil.rmtree(self.folder)
        assert report.ok, report.faults

    def remember(self, drafts: list[Draft]) -> None:
        for each in drafts:
            self.records.append(each)
            if each.opens:
                self.open.setdefault(each.subject, len(self.records))
            if each.seals:
                self.open.pop(each.subject, None)

    def outcome(self, drafts: list[Draft], idem: Idem | None = None) -> Any:
        future = self.store.append_soon(drafts, idem)
        return future.exception(10) or future.result()

    @rule(drafts=st.lists(DRAFTS, min_size=1, max_size=5))
    def append(self, drafts: list[Draft]) -> None:
        first = len(self.records) + 1
        assert self.outcome(drafts) == Receipt(self.epoch, first, first + len(drafts) - 1, stored_us=0)
        self.remember(drafts)

    @rule(groups=st.lists(st.lists(DRAFTS | BAD_DRAFTS, min_size=1, max_size=3), min_size=1, max_size=6))
    def append_together(self, groups: list[list[Draft]]) -> None:
        futures = [self.store.append_soon(group) for group in groups]
        for group, future in zip(groups, futures, strict=True):
            error = future.exception(10)
            bad = any(each.subject[0] in "bx" for each in group)
            assert isinstance(error, RecordRejected) if bad else error is None
            if not bad:
                assert future.result().first == len(self.records) + 1
                self.remember(group)

    @rule(key=st.sampled_from("abc"), each=DRAFTS)
    def append_once(self, key: str, each: Draft) -> None:
        idem = Idem("screen", key, key.encode(), 201, lambda receipt: str(receipt.first))
        outcome = self.outcome([each], idem)
        if key in self.keys:
            assert isinstance(outcome, Repeated)
            assert outcome.stored.response == self.keys[key]
        else:
            self.keys[key] = str(len(self.records) + 1)
            assert str(outcome.first) == self.keys[key]
            self.remember([each])

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        seq = data.draw(st.integers(0, len(self.records) + 2))
        future = self.store._submitted(lambda: Ack("central", self.epoch, seq))
        if seq > len(self.records):
            assert isinstance(future.exception(10), BeyondHead)
            return
        assert future.result(10).moved == (seq > self.acked)
        self.acked = max(self.acked, seq)

    @rule()
    def acknowledge_another_epoch(self) -> None:
        future = self.store._submitted(lambda: Ack("central", "0" * 32, 0))
        assert isinstance(future.exception(10), WrongEpoch)

    @rule(content=st.binary(max_size=50), each=DRAFTS)
    def append_with_blob(self, content: bytes, each: Draft) -> None:
        name = self.store.keep_blob(content, "image/jpeg")
        with_blob = draft(each.subject, blobs=(BlobRef("photo", name),))
        assert self.outcome([with_blob]).last == len(self.records) + 1
        self.remember([with_blob])

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = open_small(self.state)

    @rule()
    def crash(self) -> None:
        """Go on with the files as a killed process leaves them."""
        self.crashes += 1
        self.state = left_by_a_kill(self.store, self.state, self.folder / f"state{self.crashes}")
        self.store = open_small(self.state)

    @invariant()
    def the_journal_is_the_list(self) -> None:
        store = self.store
        assert (store.epoch, store.published, store.damaged) == (self.epoch, len(self.records), ())
        assert store.acked == {"central": self.acked}
        rows = store._readers.look(lambda view: read_after(view, 0, 100_000))
        assert [row.seq for row in rows] == list(range(1, len(self.records) + 1))
        for row, each in zip(rows, self.records, strict=True):
            event = row.event()
            assert event["data"] == each.data
            assert (row.subject, row.prio, row.flags, row.type) == (
                each.subject,
                each.prio,
                each.flags,
                each.type,
            )
        opened = store._readers.look(read_open_subjects)
        assert {each.subject: each.first_seq for each in opened} == self.open


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=settings().max_examples // 2, stateful_step_count=30)

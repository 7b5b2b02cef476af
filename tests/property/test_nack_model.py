"""Any order of acknowledgements, refusals, retries, crashes, new epochs: quarantine equals a dictionary."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from station.store.chain import REOFFERED
from station.store.feed import read_page, read_record
from station.store.nacks import BadNack, Nack, NotRefused, page
from station.store.ops import Ack, Op
from station.store.reoffer import Reoffer
from station.store.verify import verify
from tests.support.epochs import distrusted, salvage_ends
from tests.support.journal import MEMORY, draft, left_by_a_kill, open_small

CONSUMERS = [("central", True), ("port", False)]
NAMES = st.sampled_from(["central", "port"])


@dataclass
class Known:
    """What the model knows of one refused record."""

    reason: str
    tries: int = 1
    offered: int | None = None


class NackMachine(RuleBasedStateMachine):
    """The store beside two dictionaries; the feed beside a list of what each record is."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.crashes = 0
        self.state = self.folder / "state0"
        self.store = open_small(self.state, consumers=CONSUMERS)
        self.epoch = self.store.epoch
        self.before = 0
        """The last number before this epoch."""
        self.feed: list[tuple[str, int] | None] = []
        """Of each record of it: nothing, or for whom it is offered anew, and which one."""
        self.acked = {"central": 0, "port": 0}
        self.open: dict[str, dict[int, Known]] = {"central": {}, "port": {}}
        self.reasons = 0

    def teardown(self) -> None:
        self.everybody_gets_all_but_what_they_refuse()
        self.store.close()
        report = verify(self.state)
        shutil.rmtree(self.folder)
        assert report.ok, report.faults

    def run(self, op: Callable[[], Op]) -> Any:
        future = self.store._submitted(op)
        error = future.exception(10)
        return error or future.result()

    @property
    def last(self) -> int:
        return self.before + len(self.feed)

    def first(self, who: str, seq: int) -> int:
        offer = self.feed[seq - self.before - 1]
        return offer[1] if offer is not None and offer[0] == who else seq

    @rule(count=st.integers(1, 5), simulated=st.booleans())
    def append(self, count: int, simulated: bool) -> None:
        self.store.append_soon([draft(f"s{n}", simulated=simulated) for n in range(count)]).result(10)
        self.feed += [None] * count

    @rule(who=NAMES, data=st.data())
    def acknowledge(self, who: str, data: st.DataObject) -> None:
        upto = data.draw(st.integers(self.before, self.last))
        oldest = self.before + 1
        recent = st.integers(max(oldest, upto - 6), max(oldest, upto)) | st.integers(
            oldest, max(oldest, upto)
        )
        refused = data.draw(st.lists(recent, max_size=4, unique=True)) if upto > self.before else []
        for _ in range(data.draw(st.integers(1, 2))):  # a repeat changes nothing
            self.reasons += 1
            self.refuse(who, upto, refused)

    def refuse(self, who: str, upto: int, refused: list[int]) -> None:
        reason = f"reason {self.reasons}"
        result = self.run(lambda: Ack(who, self.epoch, upto, [Nack(seq, reason) for seq in refused]))
        known = self.open[who]
        for seq in (self.first(who, each) for each in refused):
            if seq not in known:
                known[seq] = Known(reason)
            elif (offered := known[seq].offered) is not None and offered <= upto:
                known[seq] = Known(reason, known[seq].tries + 1)
        moved = upto > self.acked[who]
        if moved:
            self.acked[who] = upto
            taken = [seq for seq, each in known.items() if each.offered is not None and each.offered <= upto]
            for seq in taken:
                del known[seq]
        assert (result.acked, result.moved) == (self.acked[who], moved)

    @rule(who=NAMES, data=st.data())
    def refuse_what_was_not_taken(self, who: str, data: st.DataObject) -> None:
        upto = data.draw(st.integers(self.before, self.last))
        found = self.run(lambda: Ack(who, self.epoch, upto, [Nack(upto + 1, "x")]))
        assert isinstance(found, BadNack)

    @rule(who=NAMES, data=st.data())
    def retry(self, who: str, data: st.DataObject) -> None:
        known = self.open[who]
        seq = data.draw(st.sampled_from(sorted(known)) if known else st.integers(1, self.last + 20))
        self.offer(who, seq)

    def offer(self, who: str, seq: int) -> None:
        found = self.run(lambda: Reoffer(self.store._place, who, seq))
        if seq not in self.open[who]:
            assert isinstance(found, NotRefused)
            return
        known = self.open[who][seq]
        new = known.offered is None
        if new:
            self.feed.append((who, seq))
            known.offered = self.last
        assert (found.seq, found.offered_seq, found.new) == (seq, known.offered, new)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = open_small(self.state, consumers=CONSUMERS)

    @rule()
    def crash(self) -> None:
        """Go on with the files as a killed process leaves them."""
        self.crashes += 1
        self.state = left_by_a_kill(self.store, self.state, self.folder / f"state{self.crashes}")
        self.store = open_small(self.state, consumers=CONSUMERS)

    @rule()
    def new_epoch(self) -> None:
        """Begin one behind a journal that cannot be trusted: what was refused is offered there."""
        if not self.feed:
            return
        refused = {who: {self.origin(seq): known[seq] for seq in known} for who, known in self.open.items()}
        self.store.close()
        distrusted(self.state)
        self.store = open_small(self.state, consumers=CONSUMERS)
        salvage_ends(self.store, len(list(self.state.glob("quarantine/????-*"))))
        self.epoch, self.before = self.store.epoch, self.store.first_seq - 1
        self.feed = [None] * (self.store.published - self.before)
        self.acked = dict.fromkeys(self.acked, self.before)
        now = {self.origin(seq): seq for seq in range(self.before + 1, self.last + 1)}
        self.open = {
            who: {now[first]: Known(each.reason, each.tries, now[first]) for first, each in known.items()}
            for who, known in refused.items()
        }

    def origin(self, seq: int) -> int:
        """The number that a record had when it was written first."""
        row, _ = self.store._readers.look(lambda view: read_record(view, seq))
        return int(row.told()[0])

    @invariant()
    def the_quarantine_is_the_dictionary_and_the_feed_is_dense(self) -> None:
        assert (self.store.epoch, self.store.published) == (self.epoch, self.last)
        assert self.store.acked == self.acked
        for who, known in self.open.items():
            found = self.store._readers.look(lambda view, who=who: page(view.connection, who, 0, 10_000))
            assert {each.seq: Known(each.reason, each.tries, each.offered_seq) for each in found} == known
        for event, offer in zip(self.events(), self.feed, strict=True):
            assert (event["type"] == REOFFERED) == (offer is not None)
            if offer is not None:
                data = event["data"]
                assert (data["consumer"], data["refused_seq"]) == offer
                original = data["original"]
                assert original["type"] != REOFFERED, "never an offer of an offer"
                assert data["simulated"] == original["data"]["simulated"]

    def events(self) -> list[dict[str, Any]]:
        found = self.store._readers.look(
            lambda view: read_page(view, self.epoch, self.before, 10_000, simulated=True).items
        )
        items = [json.loads(item) for item in found]
        assert [item["seq"] for item in items] == list(range(self.before + 1, self.last + 1))
        return [item["event"] for item in items]

    def everybody_gets_all_but_what_they_refuse(self) -> None:
        """Refuse one record for ever, ask for every other one again: those all arrive."""
        if not self.feed:
            return
        one = self.before + 1
        for who in self.open:
            self.reasons += 1
            self.refuse(who, self.last, [one])
            for _ in range(3):
                for seq in sorted(self.open[who]):
                    self.offer(who, seq)
                mine = [n for n, offer in enumerate(self.feed, one) if offer == (who, one)]
                self.refuse(who, self.last, [one, *mine[-1:]])
            assert sorted(self.open[who]) == [one]
            assert self.open[who][one].tries > 3
        self.the_quarantine_is_the_dictionary_and_the_feed_is_dense()


@pytest.mark.timeout(300)
class TestNacks(NackMachine.TestCase):
    """Run the machine."""

    settings = settings(max_examples=settings().max_examples // 4, stateful_step_count=25)

"""Random histories of one vehicle: never clear without data, never two standing orders, never a permit
without a stored order."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from station.domain.decision import Refused
from station.domain.identity import PlateEvidence
from station.domain.inspection import Inspection
from station.domain.restart import resume
from station.domain.rules import Alarm, Opinion
from station.domain.values import CoverageState, Decision, Level, Verdict

REQUIRED = frozenset({"rpm", "scanner", "lpr"})
VERDICTS = st.sampled_from([Verdict.RELEASE, Verdict.SECONDARY, Verdict.HOLD])


@dataclass
class Model:
    """What is true, kept as plainly as possible."""

    whole: set[str] = field(default_factory=set)
    """Checks whose last measurement was whole, with no failure that counts before it."""
    doubted: set[str] = field(default_factory=set)
    device_alarm: bool = False
    writing: Decision | None = None
    stored: list[tuple[int, Verdict]] = field(default_factory=list)


class Vehicle(RuleBasedStateMachine):
    """One inspection driven by everything at once, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.seq = 0
        self.model = Model()
        self.inspection = Inspection("i-1", "entry_loop", 0, self.now_s, REQUIRED, REQUIRED)
        self.versions: list[int] = [self.inspection.version]
        self.was_permitted = False

    @rule(check=st.sampled_from(["rpm", "scanner"]))
    def begins(self, check: str) -> None:
        self.inspection.begin(check, self.now_s)

    @rule(check=st.sampled_from(["rpm", "scanner"]), reason=st.sampled_from([None, None, "partial", "link"]))
    def ends(self, check: str, reason: str | None) -> None:
        self.inspection.finish(check, self.now_s, reason)
        if reason is None:
            self.model.whole.add(check)
        else:
            self.model.whole.discard(check)

    @rule(confidence=st.sampled_from([None, 0.3, 0.95]), text=st.sampled_from(["", "ABC1234", "XYZ9876"]))
    def reads(self, confidence: float | None, text: str) -> None:
        self.inspection.read(PlateEvidence("lpr1", text, "US-TX", confidence), self.now_s)
        if text and confidence == 0.95:
            self.model.whole.add("lpr")

    @rule()
    def drives_up_measured(self) -> None:
        """What happens to most vehicles; histories without it hardly ever reach a free Release."""
        for check in ("rpm", "scanner"):
            self.begins(check)
            self.ends(check, None)
        self.reads(0.95, "ABC1234")
        self.inspection.booth(True, self.now_s)

    @rule(channel=st.sampled_from(["gamma", "neutron"]))
    def alarms(self, channel: str) -> None:
        self.inspection.alarm(channel, Alarm("rpm1", 5000, 2700.0))
        self.model.device_alarm = True

    @rule(outcome=st.sampled_from(["alarm", "no_alarm", "low_confidence", "not_possible"]))
    def opines(self, outcome: str) -> None:
        self.inspection.opine(Opinion("rpm1", outcome))

    @rule(occupied=st.booleans(), passing=st.booleans())
    def booth(self, occupied: bool, passing: bool) -> None:
        self.inspection.booth(occupied, self.now_s, passing=passing)

    @rule(at_booth=st.booleans(), seconds=st.sampled_from([1.0, 5.0]))
    def board_lost_and_found(self, at_booth: bool, seconds: float) -> None:
        self.inspection.out_of_sight(self.now_s)
        assert not self.inspection.permit or self.inspection.left_barrier
        self.now_s += seconds
        self.inspection.in_sight(at_booth, self.now_s)
        if seconds > 2 and at_booth:
            assert not self.inspection.permit, "an order of before was taken for this vehicle"

    @rule()
    @precondition(lambda self: self.inspection.left_barrier)
    def tailgated(self) -> None:
        self.inspection.withdraw()
        assert not self.inspection.permit

    @rule(check=st.sampled_from(["rpm", "scanner", "lpr"]))
    def doubted(self, check: str) -> None:
        self.inspection.doubt(check, "fault")
        self.model.doubted.add(check)

    @rule(seconds=st.sampled_from([0.1, 0.6, 6.0, 31.0, 70.0]))
    def waits(self, seconds: float) -> None:
        self.now_s += seconds
        self.inspection.tick(self.now_s)

    @rule(checks=st.frozensets(st.sampled_from(["rpm", "scanner", "lpr"])))
    def links(self, checks: frozenset[str]) -> None:
        self.inspection.links_lost(checks, self.now_s)

    @rule(verdict=VERDICTS, stale=st.booleans())
    @precondition(lambda self: self.model.writing is None)
    def orders(self, verdict: Verdict, stale: bool) -> None:
        before = self.inspection.order
        self.withdrawn_before = self.inspection.withdrawn
        decision = Decision(verdict=verdict, officer="O-1", at_utc_us=0)
        locked = bool(self.inspection.locks)
        version = self.inspection.version - 1 if stale else self.inspection.version
        try:
            self.inspection.give_order(decision, version, self.now_s)
        except Refused:
            assert self.inspection.order == before
            return
        assert verdict == Verdict.HOLD or not stale, "an order for another version was taken"
        assert verdict != Verdict.RELEASE or not locked, "a locked release was taken"
        assert verdict == Verdict.HOLD or not self.inspection.left_barrier, (
            "a second order after the first was executed"
        )
        standing = before is not None and not self.withdrawn_before
        assert verdict == Verdict.HOLD or not standing, "a second order beside the one that stands"
        self.model.writing = decision

    @rule(works=st.booleans())
    @precondition(lambda self: self.model.writing is not None)
    def journal(self, works: bool) -> None:
        decision, self.model.writing = self.model.writing, None
        assert decision is not None
        if not works:
            self.inspection.order_lost()
            return
        self.seq += 1
        self.inspection.order_stored(decision.model_copy(update={"seq": self.seq}))
        self.model.stored.append((self.seq, decision.verdict))

    @rule()
    def reads_image(self) -> None:
        self.inspection.image_was_read()

    @rule(on=st.booleans())
    def emergency(self, on: bool) -> None:
        self.inspection.set_lane(emergency=on)

    @rule(on=st.booleans())
    def service(self, on: bool) -> None:
        self.inspection.set_lane(in_service=on)

    @rule()
    def restart(self) -> None:
        self.model.writing = None
        before = self.inspection.version
        self.inspection.order_lost()
        self.inspection = resume(self.inspection, self.now_s)
        assert self.inspection.version > before
        assert not self.inspection.permit, "something opened by itself after a restart"
        assert "restarted" in self.inspection.flags

    # --- what must hold at every moment -----------------------------------------------------------

    @invariant()
    def never_clear_without_data(self) -> None:
        done = {name for name in REQUIRED if self.inspection.checks[name].state == CoverageState.DONE}
        if self.inspection.recommendation.level == Level.CLEAR:
            assert done == REQUIRED
            assert self.model.whole >= REQUIRED
            assert not self.model.doubted
            assert not self.model.device_alarm

    @invariant()
    def device_alarm_is_never_suppressed(self) -> None:
        if self.model.device_alarm:
            codes = {reason.code for reason in self.inspection.recommendation.reasons}
            assert codes & {"gamma_alarm", "neutron_alarm"}

    @invariant()
    def permit_needs_a_stored_order(self) -> None:
        permit = self.inspection.permit
        order = self.inspection.order
        if permit:
            assert order is not None
            assert (order.seq, order.verdict) in self.model.stored
            if not self.was_permitted:
                assert self.inspection.at_barrier, "permission began without a vehicle at the barrier"
            assert not self.inspection.emergency
        self.was_permitted = permit

    @invariant()
    def a_vehicle_only_leaves_under_an_order(self) -> None:
        if self.inspection.left_barrier:
            assert self.inspection.order is not None

    @invariant()
    def release_is_free_only_when_all_is_well(self) -> None:
        if not self.inspection.locks:
            assert self.inspection.state == "awaiting_decision"
            assert self.inspection.recommendation.level in (Level.CLEAR, Level.REVIEW_IMAGE)
            assert self.inspection.at_barrier

    @invariant()
    def version_never_falls(self) -> None:
        assert self.inspection.version >= self.versions[-1]
        self.versions.append(self.inspection.version)


TestVehicle = Vehicle.TestCase
TestVehicle.settings = settings(max_examples=settings().max_examples, stateful_step_count=50, deadline=None)

"""Whatever happened to a vehicle: a restart makes nothing clear, opens nothing and forgets no alarm."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from station.domain.decision import Refused
from station.domain.directives import Known
from station.domain.rules import ORDER
from station.domain.values import CoverageState
from station.lane.commands import AckAlarm, ReadImage
from tests.support.lane_facts import ISSUER
from tests.support.lane_rig import Rig
from tests.unit.test_directives import envelope, put


class Restarts(RuleBasedStateMachine):
    """A vehicle at the portal, the scanner and the booth, in any order, and a station that is killed."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.rig.background()
        self.versions = 0

    @rule(name=st.sampled_from(["entry_loop", "booth_loop", "exit_loop", "cabinet_closed", "estop_ok"]))
    def an_input_changes(self, name: str) -> None:
        self.rig.board(**{name: not self.rig.inputs[name]})

    @initialize(missed=st.sampled_from(["nothing", "rpm", "scanner", "lpr"]))
    def comes_to_the_booth(self, missed: str) -> None:
        self.rig.board(entry_loop=True)
        self.rig.board(entry_loop=False)
        measures = {"rpm": self.rig.occupancy, "scanner": self.rig.scan, "lpr": self.rig.plate}
        for check, measure in measures.items():
            if check != missed:
                measure()
        self.rig.board(booth_loop=True)
        self.rig.wait(6.0)

    @rule(
        gamma=st.sampled_from(["none", "none", "alarm"]),
        neutron=st.sampled_from(["none", "none", "alarm"]),
        end=st.booleans(),
    )
    def passes_the_portal(self, gamma: str, neutron: str, end: bool) -> None:
        self.rig.occupancy(gamma, neutron, end)

    @rule(end=st.booleans(), aborted=st.sampled_from([None, None, "fault"]), resent=st.booleans())
    def is_scanned(self, end: bool, aborted: str | None, resent: bool) -> None:
        self.rig.scan(end=end, aborted=aborted, resent=resent)

    @rule(text=st.sampled_from(["R4K7719", "R4K7719", "", "X1"]))
    def is_read(self, text: str) -> None:
        self.rig.plate(text)

    @rule(device=st.sampled_from(["rpm1", "scanner1", "lpr1", "io1"]), cause=st.sampled_from(["frozen", ""]))
    def a_device_falls_and_comes_back(self, device: str, cause: str) -> None:
        self.rig.health(device, "degraded" if cause else "backoff", cause or "link")
        self.rig.wait(0.5)
        self.rig.health(device, "online")

    @rule(seconds=st.sampled_from([0.3, 6.0, 65.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.wait(seconds)

    @precondition(lambda self: self.rig.lane.core.inspection is not None)
    @rule(verdict=st.sampled_from(["release", "secondary", "hold"]))
    def an_order_is_given(self, verdict: str) -> None:
        with suppress(Refused):
            self.rig.decide(verdict)

    @precondition(lambda self: self.rig.lane.core.inspection is not None)
    @rule()
    def the_image_is_read(self) -> None:
        with suppress(Refused):
            self.rig.order(ReadImage(self.rig.seen.inspection_id, self.rig.seen.version, "O-1", 900, 1.0))

    @precondition(lambda self: list(self.rig.lane.core.book))
    @rule(data=st.data())
    def an_alarm_is_seen(self, data: st.DataObject) -> None:
        alarm = data.draw(st.sampled_from(list(self.rig.lane.core.book)))
        self.rig.order(AckAlarm(alarm.alarm_id, "O-1"))

    @rule(action=st.sampled_from(["hold", "secondary", "scan", "notify"]))
    def the_centre_asks_for_it(self, action: str) -> None:
        self.versions += 1
        known = None if self.versions == 1 else Known(self.versions - 1, "", ISSUER, "hold")
        put(self.rig, envelope(self.versions, body={"action": action}), known)

    @rule()
    def is_killed_and_started(self) -> None:
        core = self.rig.lane.core
        standing = {alarm.alarm_id: alarm.code for alarm in core.book if alarm.active}
        before = core.inspection
        if before is not None:
            subject, level = before.inspection_id, ORDER.index(before.recommendation.level)
            locked = before.advised and any(lock.code == "needs_supervisor" for lock in before.locks)
            done = {
                name
                for name in before.required
                if before.checks[name].state == CoverageState.DONE and not before.checks.running[name]
            }
            flags = set(before.flags) - {"restarted"}
            hits = before.directed.hits
        self.rig.restart()
        core = self.rig.lane.core
        kept = {alarm.alarm_id for alarm in core.book if alarm.active}
        ended = {e.alarm_id for e in self.rig.events if e.type_name() == "carril.alarm.ended"}  # type: ignore[attr-defined]
        assert set(standing) - ended <= kept, standing
        assert not self.rig.outputs.get("raise_permit")
        after = core.inspection
        if before is None or after is None or after.inspection_id != subject:
            return
        if before.advised:
            assert ORDER.index(after.recommendation.level) >= level
        assert after.recommendation.level != "clear" or done == set(after.required)
        assert not locked or any(lock.code in ("needs_supervisor", "decided") for lock in after.locks)
        assert flags <= set(after.flags)
        assert set(hits) <= set(after.directed.hits)

    @invariant()
    def an_unmeasured_vehicle_is_never_clear(self) -> None:
        inspection = self.rig.lane.core.inspection
        if inspection is not None and inspection.advised and inspection.recommendation.level == "clear":
            states = {inspection.checks[name].state for name in inspection.required}
            assert states == {CoverageState.DONE}
            assert {hit.action for hit in inspection.directed.hits} <= {"notify"}


@pytest.mark.timeout(300)
class TestRestarts(Restarts.TestCase):
    """Run the machine."""

    settings = settings(max_examples=60, stateful_step_count=12, deadline=None)

"""Laws of a portal that is polled, under any order of polls, ticks and changes of the link."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.readings import Channel, PortalStatus
from station.domain.occupancy_effects import AlarmRaised, Closed, Effect, Started
from tests.support.link_oracle import LinkOracle, Said
from tests.support.portal_lines import Portal, stamp

STEPS = st.sampled_from([0.2, 0.2, 0.2, 0.2, 0.6, 1.0, 1.3, 4.0, 31.0])
polls = st.tuples(
    st.sampled_from([True, True, False, False, None]),
    st.sampled_from([True, False, False, None]),
    st.sampled_from([True, False, False, None]),
    st.sampled_from([0, 0, 0, 1, 2]),
)
actions = st.one_of(polls, polls, st.booleans(), st.none())
stories = st.lists(st.tuples(STEPS, actions), max_size=120)


class Watch:
    """Holds what the machine says against what the polls and the link said by themselves."""

    def __init__(self) -> None:
        self.portal = Portal(fitted=frozenset())
        self.link = LinkOracle()
        self.open_id: str | None = None
        self.heard: set[Channel] = set()
        """Channels whose alarm was raised on the open occupancy since the link was last lost."""

    def take(self, effects: list[Effect], high: frozenset[Channel] = frozenset()) -> None:
        counted = False
        for effect in effects:
            if isinstance(effect, Started):
                assert self.open_id is None, "two occupancies open at once"
                self.open_id = effect.occupancy.occupancy_id
                self.link.begin(counted=counted)
                self.heard.clear()
            elif isinstance(effect, Closed):
                occupancy = effect.occupancy
                assert occupancy.occupancy_id == self.open_id
                self.open_id = None
                self.heard.clear()
                counted = occupancy.close_reason == "counter_changed"
                if not occupancy.missing(frozenset()):
                    assert occupancy.start_known
                    assert self.link.up_throughout(occupancy)
            elif isinstance(effect, AlarmRaised):
                assert effect.occupancy_id == self.open_id
                self.heard.add(effect.channel)
        assert (self.portal.machine.open is None) == (self.open_id is None)
        if self.open_id is not None:
            assert high <= self.heard, "an alarm stands that was never raised for whoever is there"


@given(story=stories)
@settings(max_examples=300)
def test_any_story_of_polls_keeps_every_alarm_and_claims_no_more_than_the_link_heard(
    story: list[tuple[float, object]],
) -> None:
    watch, t_s, count = Watch(), 100.0, 7
    for step_s, action in story:
        t_s = round(t_s + step_s, 3)
        if isinstance(action, tuple):
            occupied, gamma, neutron, more = action
            count += more
            status = PortalStatus(
                stamp(t_s), occupied, gamma_alarm=gamma, neutron_alarm=neutron, occupancy_count=count
            )
            high = frozenset(c for c, level in zip(Channel, (gamma, neutron), strict=True) if level)
            present = bool(high) if occupied is None else occupied
            watch.link.note(Said.PRESENT if present else Said.VACANT)
            watch.take(list(watch.portal.take(status)), high)
        elif isinstance(action, bool):
            watch.link.note(Said.OTHER, up=action)
            watch.take(list(watch.portal.link(action, t_s)))
            if not action:
                watch.heard.clear()
        else:
            watch.link.note(Said.OTHER)
            watch.take(list(watch.portal.tick(t_s)))

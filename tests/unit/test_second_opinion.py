"""The station's opinion in the lane: told where it contradicts the device, never in its place."""

from __future__ import annotations

import pytest

from drivers.readings import Channel, OccupancyEnd, Phase, PortalSetup
from station.domain.rules import Opinion
from station.domain.second_opinion import opinions
from station.domain.values import AlgorithmVerdict, OccupancySummary
from tests.support.lane_rig import Rig


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


def passes(rig: Rig, *, panel: int = 120, neutrons: int = 1) -> None:
    """Let a vehicle pass the portal, and no other device."""
    rig.board(entry_loop=True)
    for _ in range(4):
        for _ in range(5):
            rig.counts(Channel.GAMMA, Phase.SCAN, (panel,) * 4)
            rig.wait(0.2)
        rig.counts(Channel.NEUTRON, Phase.SCAN, (neutrons, 0, 1, 1))
    rig.device_count += 1
    rig.read("rpm1", OccupancyEnd(rig.stamp(), rig.device_count))
    rig.wait(1.4)


@pytest.mark.parametrize("channel", ["gamma", "neutron"])
def test_an_alarm_that_the_station_does_not_share_stands_and_is_told(rig: Rig, channel: str) -> None:
    rig.arrive(**{channel: "alarm"})
    told = rig.last("radiation_opinion.disagreed")
    assert (told.device, told.channel, told.relation) == ("rpm1", channel, "device_only")
    assert rig.seen.level == ("hold" if channel == "neutron" else "secondary")


def test_what_the_station_alone_sees_is_told_and_asks_for_a_look(rig: Rig) -> None:
    passes(rig, panel=170)
    told = rig.last("radiation_opinion.disagreed")
    assert (told.channel, told.relation) == ("gamma", "station_only")
    assert rig.last("lane_alarm.raised").code == "station_only"
    rig.plate()
    rig.scan()
    rig.board(booth_loop=True)
    rig.wait(2.0)
    (reason,) = [reason for reason in rig.seen.reasons if reason.rule == "R6"]
    assert (reason.args["channel"], reason.args["outcome"]) == ("gamma", "alarm")
    before = rig.seen.reasons
    rig.restart()
    assert [reason for reason in rig.seen.reasons if reason.rule == "R6"] == [
        reason for reason in before if reason.rule == "R6"
    ]


def test_neutrons_that_the_station_alone_sees_are_told(rig: Rig) -> None:
    passes(rig, neutrons=40)
    told = rig.last("radiation_opinion.disagreed")
    assert (told.channel, told.relation) == ("neutron", "station_only")


def test_where_both_say_the_same_nothing_is_told(rig: Rig) -> None:
    rig.arrive()
    assert rig.last("occupancy.ended").suppression == 0, "a background of 600 a panel, and 120 in each fifth"
    assert "radiation_opinion.disagreed" not in rig.types()


def test_the_set_up_is_put_together_from_all_its_records(rig: Rig) -> None:
    for part, values in (("SG1", {"nsigma": 6.5, "intervals": 5.0}), ("SG2", {"algorithm": "SUM"})):
        rig.read("rpm1", PortalSetup(rig.stamp(), part, values, "hash"))
    rig.background()  # what was learnt before the device told its set-up is forgotten
    rig.arrive()
    verdicts = {verdict.algo: verdict for verdict in rig.last("occupancy.ended").verdicts}
    replica = verdicts["gross_ksigma_replica"]
    assert (replica.outcome, replica.params["k"], replica.threshold) == ("no_alarm", 6.5, 2718)
    rig.read("rpm1", PortalSetup(rig.stamp(), "SG2", {"algorithm": "SINGLE"}, "other"))
    rig.decide()
    rig.leave()
    rig.arrive()
    verdicts = {verdict.algo: verdict for verdict in rig.last("occupancy.ended").verdicts}
    assert verdicts["gross_ksigma_replica"].reason == "algorithm"


def test_another_set_up_or_a_new_beginning_of_the_device_forgets_the_background(rig: Rig) -> None:
    def gamma() -> str | None:
        rig.arrive()
        first = rig.last("occupancy.ended").verdicts[0]
        rig.decide()
        rig.leave()
        return first.reason

    assert gamma() is None
    rig.read("rpm1", PortalSetup(rig.stamp(), "SG2", {"master_LLD": 9.0}, "other"))
    assert gamma() == "no_background"
    rig.background()
    assert gamma() is None
    rig.board(entry_loop=True)
    rig.counts(Channel.GAMMA, Phase.SCAN, (120,) * 4)
    rig.wait(1.5)
    rig.read("rpm1", PortalSetup(rig.stamp(), "SG2", {"master_LLD": 9.0}, "other"))
    assert rig.last("occupancy.ended").close_reason == "device_restart"
    passes(rig)
    assert rig.last("occupancy.ended").close_reason == "gx"
    assert rig.last("occupancy.ended").verdicts[0].reason == "no_background"


def of(outcome: str, channel: str = "gamma", algo: str = "a") -> AlgorithmVerdict:
    return AlgorithmVerdict(
        algo=algo,
        version=1,
        channel=channel,
        params={},
        statistic=5,
        threshold=4,
        t_first_s=None,
        outcome=outcome,
    )


def test_of_several_tests_the_gravest_answer_counts(rig: Rig) -> None:
    rig.arrive()
    summary = OccupancySummary.model_validate(
        {
            name: value
            for name, value in rig.last("occupancy.ended").model_dump().items()
            if name in OccupancySummary.model_fields
        }
    )
    verdicts = (
        of("no_alarm"),
        of("alarm", algo="gross_ksigma_replica"),
        of("no_alarm", "neutron"),
        of("low_confidence", "neutron"),
    )
    assert list(opinions(summary.model_copy(update={"verdicts": verdicts}))) == [
        (Opinion("rpm1", "no_alarm", 5, 4, "gamma"), "agree_none"),
        (Opinion("rpm1", "low_confidence", 5, 4, "neutron"), "undecided"),
    ]
    assert list(opinions(summary.model_copy(update={"verdicts": ()}))) == []


def test_that_no_second_opinion_was_possible_is_told_and_changes_no_level() -> None:
    rig = Rig()
    rig.background(1)  # the portal is vacant, and that is all that is known
    rig.arrive()
    told = {reason.args["channel"]: reason for reason in rig.seen.reasons if reason.rule == "R6"}
    assert set(told) == {"gamma", "neutron"}
    for reason in told.values():
        assert (reason.code, reason.args["lack"]) == ("second_opinion_not_possible", "no_background")
    assert (rig.seen.level, rig.seen.reasons[-1].code) == ("clear", "clear")


def test_the_record_says_what_the_doubts_about_a_shielding_vehicle_rest_on(rig: Rig) -> None:
    passes(rig, panel=70)
    told = rig.last("occupancy.ended")
    assert told.suppression > 0.3 > told.suppression_limit > 0
    (test,) = [verdict for verdict in told.verdicts if verdict.algo == "gross_ksigma_calibrated"]
    assert test.reason == "suppression"
    assert told.s50 == pytest.approx(test.threshold - 2400 * (1 - told.suppression), rel=0.05)

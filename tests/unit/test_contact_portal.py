"""A portal without a data line, its relays on the I/O board: the shipped lane in virtual time."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.io.modbus.sim import Plc
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Source, Vehicle
from drivers.plant.world import Plant
from drivers.readings import Channel
from station import plugins
from station.cli.facts import lane_facts
from station.cli.main import main
from station.cli.report import LaneReport
from station.domain.second_opinion import opinions
from station.lane.contacts import Contact
from station.lanefile import LaneFileError, load_lane, shipped
from station.runtime.health import Health
from station.runtime.supervisor import Supervisor
from tests.support.drive import STEP_S, Drive
from tests.support.lane_rig import Rig

FACTS = lane_facts(load_lane(shipped("lanes", "contacts"), plugins.find))
QUIET = Vehicle(name="quiet", plate="R4K7719", length_m=12)
HOT = QUIET.model_copy(update={"sources": (Source(at_m=6, gamma_cps=3000, neutron_cps=100),)})


class Wired(Plc):
    """The cabinet with a portal on its contacts; ``bent`` is what wires say instead."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(plant, ["rpm1"])
        self.bent: dict[str, bool] = {}

    def step(self, now_s: float, coils: MutableMapping[str, bool]) -> dict[str, bool]:
        return {**super().step(now_s, coils), **self.bent}


class Lane(Drive):
    """One truck up to the booth; nobody sends it on."""

    plc: Wired

    def __init__(self, truck: Vehicle = QUIET) -> None:
        super().__init__(lambda plant: lambda at: (), truck, gap_s=600, lane_facts=FACTS, cabinet=Wired)
        self.releases = False
        self.run(1.0)

    def pass_portal(self) -> None:
        self.run(18.0)
        assert self.rig.seen.state in ("awaiting_decision", "fusing")

    @property
    def occupancy(self) -> Any:
        assert self.rig.lane.core.passage is not None
        (summary,) = self.rig.lane.core.passage.occupancies
        return summary

    @property
    def portal(self) -> Any:
        return self.rig.lane.core.devices["rpm1"]


def test_a_quiet_truck_is_measured_without_counts_and_may_go() -> None:
    drive = Lane()
    assert (drive.portal.role, drive.portal.state, drive.portal.required) == ("PortalMonitor", "online", True)
    drive.pass_portal()
    summary = drive.occupancy
    assert (summary.close_reason, summary.complete, summary.profile) == ("cleared", True, None)
    assert (summary.gamma_max_1s, summary.neutron_max, summary.gamma_background) == (None, None, None)
    assert [(v.channel, v.outcome, v.reason) for v in summary.verdicts] == [
        ("gamma", "not_possible", "no_counts"),
        ("neutron", "not_possible", "no_counts"),
    ]
    assert [relation for _, relation in opinions(summary)] == ["undecided", "undecided"]
    seen = drive.rig.seen
    assert (seen.coverage.rpm.state, seen.level, seen.release.allowed) == ("done", "clear", True)
    for channel in (seen.radiation.gamma, seen.radiation.neutron):
        assert (channel.state, channel.counted, channel.max_cps, channel.alarm) == (
            "done",
            False,
            None,
            False,
        )


def test_an_alarm_of_its_contacts_is_an_alarm() -> None:
    drive = Lane(HOT)
    drive.pass_portal()
    raised = [event for event in drive.rig.events if event.type_name() == "carril.radiation_alarm.raised"]
    assert {(e.device, e.channel, e.counts, e.counts_1s) for e in raised} == {  # type: ignore[attr-defined]
        ("rpm1", "gamma", (), None),
        ("rpm1", "neutron", (), None),
    }
    assert (drive.occupancy.gamma_alarm, drive.occupancy.neutron_alarm) == (True, True)
    assert drive.rig.seen.level == "hold"
    assert not drive.rig.seen.release.allowed


def test_a_lost_board_is_a_lost_portal_and_radiation_is_not_measured() -> None:
    drive = Lane()
    drive.rig.health("io1", "stale", "silence")
    assert (drive.portal.state, drive.portal.cause) == ("stale", "silence")
    assert "rpm" in drive.rig.lane.core.lost_checks()
    drive.rig.health("io1", "backoff", "refused")
    told = [event for event in drive.rig.events if getattr(event, "code", "") == "required_device_lost"]
    assert told == [], "one cause, one alarm: that of the board, which the daemon calls required"
    drive.rig.health("io1", "online")
    assert drive.portal.state == "online"
    while not drive.plant.occupied():
        drive.run(STEP_S)
    drive.run(1.0)
    drive.rig.health("io1", "backoff", "refused")
    for _ in range(40):
        drive.rig.now_s += 1.0
        drive.rig.carry(drive.rig.lane.tick(drive.rig.stamp()))
    sealed = drive.rig.last("inspection.sealed")
    assert (sealed.coverage.rpm.reason, sealed.incomplete.rpm) == ("link", True)
    (summary,) = sealed.radiation.occupancies
    assert (summary.close_reason, summary.complete) == ("link_lost", False)


def test_a_board_that_is_back_has_no_contacts_from_before() -> None:
    drive = Lane()
    drive.plc.fault("portal_fault", on=True)
    drive.run(0.2)
    drive.rig.health("io1", "backoff", "refused")
    drive.plc.fault("portal_fault", on=False)
    drive.rig.health("io1", "online")
    drive.run(STEP_S)
    assert drive.portal.state == "online"


def test_a_fault_of_the_portal_degrades_it_and_fails_the_check() -> None:
    drive = Lane()
    drive.plc.fault("portal_fault", on=True)
    drive.run(0.2)
    assert (drive.portal.state, drive.portal.cause) == ("degraded", "device_fault")
    drive.pass_portal()
    assert "fault" in drive.occupancy.missing
    assert (drive.rig.seen.coverage.rpm.reason, drive.rig.seen.level) == ("fault", "secondary")
    drive.plc.fault("portal_fault", on=False)
    drive.run(0.2)
    assert (drive.portal.state, drive.portal.cause) == ("online", None)


def test_an_open_cabinet_of_the_portal_is_told_and_told_again_after_a_restart_until_it_is_closed() -> None:
    drive = Lane()
    drive.plc.fault("portal_open", on=True)
    drive.run(0.2)
    assert drive.rig.lane.core.book.find("tamper", "rpm1") is not None
    drive.rig.restart(away_s=0.0)
    assert drive.rig.lane.core.book.find("tamper", "rpm1") is not None
    drive.run(0.2)
    assert drive.rig.types().count("tamper.opened") == 1
    drive.plc.fault("portal_open", on=False)
    drive.run(0.2)
    assert drive.rig.types()[-2:] == ["tamper.closed", "alarm.ended"]


def test_no_truck_is_clear_by_a_portal_that_never_saw_it() -> None:
    drive = Lane()
    drive.plc.bent = {"rpm1.occupancy": False}
    drive.pass_portal()
    drive.run(10.0)
    assert drive.rig.seen.coverage.rpm.state == "failed"
    assert drive.rig.seen.level == "secondary"


def test_a_contact_that_chatters_says_nothing_and_that_is_a_fault() -> None:
    drive = Lane()
    for step in range(40):
        drive.plc.bent = {"rpm1.alarm_gamma": step % 2 == 0}
        drive.run(STEP_S)
    assert "radiation_alarm.raised" not in drive.rig.types()
    assert (drive.portal.state, drive.portal.cause) == ("degraded", "device_fault")
    drive.plc.bent = {}
    drive.run(0.2)
    assert drive.portal.state == "online"


def test_the_portal_is_of_the_lane_as_any_other() -> None:
    assert "rpm" in FACTS.fitted
    assert [device.name for device in FACTS.of_role("PortalMonitor")] == ["rpm1"]
    drive = Lane()
    assert {device.name for device in drive.rig.lane.view().devices} == {"rpm1", "scanner1", "lpr1", "io1"}
    changed = [e for e in drive.rig.events if e.type_name() == "carril.device_health.changed"]
    assert [(e.before, e.to) for e in changed if e.device == "rpm1"] == [("starting", "online")]  # type: ignore[attr-defined]


def test_a_channel_without_a_contact_is_not_fitted() -> None:
    portal = FACTS.of_role("PortalMonitor")[0]
    alone = replace(portal, portal=replace(portal.portal, alarms=frozenset({Channel.GAMMA})))
    rig = Rig(replace(FACTS, devices=(*(d for d in FACTS.devices if d != portal), alone)))
    rig.board(entry_loop=True)
    radiation = rig.seen.radiation
    assert (radiation.gamma.state, radiation.neutron.state) == ("waiting", "not_fitted")


@pytest.mark.parametrize(
    ("polls", "is_so"),
    [
        ([(0, False), (50, True)], None),
        ([(0, False), (50, False)], False),
        ([(0, False), (49, False)], None),
        ([(0, False), (50, False), (100, True)], False),
        ([(0, False), (50, False), (100, True), (140, False), (150, True), (199, True)], False),
        ([(0, False), (50, False), (100, True), (150, True)], True),
    ],
)
def test_a_contact_counts_when_it_has_stood_for_50_ms(
    polls: list[tuple[int, bool]], is_so: bool | None
) -> None:
    contact = Contact()
    for at_ms, level in polls:
        contact.see(level, at_ms * 1_000_000)
    assert contact.is_so is is_so


# --- around the lane ------------------------------------------------------------------------------

LANE = shipped("lanes", "contacts")


def checked(tmp_path: Path, *changes: tuple[str, str]) -> list[str]:
    """What is said of the shipped lane file, changed: its problems, or its warnings."""
    text = LANE.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "lane.toml"
    path.write_text(text, encoding="utf-8")
    try:
        return [str(warning) for warning in load_lane(path, plugins.find).warnings]
    except LaneFileError as error:
        return [str(problem) for problem in error.problems]


TABLE = "device.io1.options.portals.rpm1"
SECOND = (
    "[device.options.portals.rpm1]",
    "[device.options.portals.rpm2]\nalarm_gamma = 20\nfault = 21\noccupancy = 22\n"
    "[device.options.portals.rpm1]",
)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("fault = 10\n", "", f"{TABLE}: fault is missing: without it a portal that fails reads"),
        ("occupancy = 11\n", "", f"{TABLE}: occupancy is missing: without it nobody knows"),
        ("alarm_gamma = 8\nalarm_neutron = 9\n", "", f"{TABLE}: a portal needs alarm_gamma, alarm_neutron"),
        (
            "fault = 10",
            "fault = 7",
            "device.io1.options: input rpm1.fault and cabinet_closed share address 7",
        ),
        ("fault = 10", "fault = 70000", "device.io1.options: input rpm1.fault = 70000: an address lies"),
        ("tamper = 12", 'normally_open = ["tamper"]', f"{TABLE}.normally_open[1] = "),
        ("tamper = 12", "tampr = 12", f"{TABLE}.tampr: unknown key"),
        ("[device.options.portals.rpm1]", "[device.options.portals.RPM]", "device.io1.options.portals.RPM"),
        (
            "[device.options.portals.rpm1]",
            "[device.options]\npoll_s = 1\n[device.options.portals.rpm1]",
            "device.io1.options: poll_s = 1 is too slow for the contacts of rpm1",
        ),
        ("portals.rpm1", "portals.lpr1", 'device = "lpr1": stands 2 times'),
        (*SECOND, "device.io1.options.portals.rpm1: is a second PortalMonitor"),
        (
            "tamper = 12",
            'normally_open = ["alarm_gamma", "occupancy"]',
            f'{TABLE}.normally_open = "alarm_gamma": a cut wire of this alarm reads as no alarm',
        ),
    ],
)
def test_contacts_that_cannot_work_are_refused_with_a_sentence(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    (sentence,) = checked(tmp_path, (old, new))
    assert sentence.startswith(said)


def test_a_real_board_makes_its_portal_real(tmp_path: Path) -> None:
    real = (
        'name = "io1"\ndriver = "modbus_io"\nmode = "emulated"\n',
        'name = "io1"\ndriver = "modbus_io"\nmode = "real"\n'
        '[device.options]\nhost = "192.0.2.1"\nport = 502\n',
    )
    said = checked(tmp_path, real, ('required = ["rpm", "scanner", "lpr"]', 'required = ["rpm"]'))
    assert len(said) == 1
    assert "no steps of the site's radiation safety officer" in said[0]


def test_check_and_probe_know_the_portal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(LANE)]) == 0
    assert "  rpm1         PortalMonitor  contacts of io1  emulated\n" in capsys.readouterr().out
    assert main(["probe", "rpm1", "--lane", str(LANE)]) == 2
    assert "has no link of its own: probe io1" in capsys.readouterr().err


def test_the_technician_sees_the_portal_with_the_bytes_of_its_board(tmp_path: Path) -> None:
    lane = Rig(FACTS).lane
    clock = PlantClock(0)
    fitted = load_lane(LANE, plugins.find).devices
    supervisor = Supervisor(fitted, clock, lambda *_: None, lambda *_: None, tmp_path)
    unused: Any = None
    report = LaneReport(lane, supervisor, unused, unused, unused)
    status = report.device("rpm1")
    assert status is not None
    assert status.state == "online"
    assert replace(status, state=Health.STARTING) == report.device("io1")
    assert report.device("rpm2") is None
